/* As much of Arduino as lnnc's sketches use, for the emulated Cortex-M4: the real core cannot be linked without a board's
 * package. What is here behaves as Arduino's reference says; what is not here does not compile. */
#ifndef LNN_ARDUINO_SHIM_H
#define LNN_ARDUINO_SHIM_H

#define ARDUINO_EMULATED_M4 /* as every core names its board */

#include <stddef.h>
#include <stdint.h>

/* Macros of the real cores that have broken code before. */
#define INPUT 0
#define OUTPUT 1
#define PI 3.1415926535897932
#define B1 1
#define bit(b) (1UL << (b))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define round(x) ((x) >= 0 ? (long)((x) + 0.5) : (long)((x)-0.5))

class __FlashStringHelper;
#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))

unsigned long millis();
unsigned long micros();
void delay(unsigned long ms);

class SerialPort {
public:
    void begin(unsigned long) {}
    int available();
    int read();
    size_t write(uint8_t byte);
    size_t write(const uint8_t *bytes, size_t count);
    void flush() {}
    explicit operator bool() const { return true; }

    size_t print(const char *text);
    size_t print(const __FlashStringHelper *text) { return print(reinterpret_cast<const char *>(text)); }
    size_t print(char letter) { return write(static_cast<uint8_t>(letter)); }
    size_t print(unsigned char value) { return print(static_cast<unsigned long>(value)); }
    size_t print(int value) { return print(static_cast<long>(value)); }
    size_t print(unsigned int value) { return print(static_cast<unsigned long>(value)); }
    size_t print(long value);
    size_t print(unsigned long value);
    size_t print(double value, int digits = 2);
    size_t println() { return print("\r\n"); }
    template <typename T> size_t println(T value) { return print(value) + println(); }
    size_t println(double value, int digits) { return print(value, digits) + println(); }
};

extern SerialPort Serial;

void setup();
void loop();

#endif
