// As much of Arduino.h as the monitor's sketch may use: what an emulated board can have as well.
#pragma once
#include <stdint.h>

class __FlashStringHelper;
#define F(text) reinterpret_cast<const __FlashStringHelper *>(text)

class SerialStub {
public:
    void begin(unsigned long baud);
    int available();
    int read();
    unsigned write(uint8_t byte);
    void print(const __FlashStringHelper *text);
    void println(const __FlashStringHelper *text);
};
extern SerialStub Serial;

unsigned long millis();
void delay(unsigned long ms);
void setup();
void loop();
