// The sketch as a program of this machine: Serial is standard input and output, and the end of input ends it.
#include "Arduino.h"
#include <stdio.h>
#include <stdlib.h>

SerialStub Serial;
static int next = EOF;

void SerialStub::begin(unsigned long) { next = getchar(); }
int SerialStub::available() { return next != EOF; }
int SerialStub::read()
{
    const int byte = next;
    next = getchar();
    return byte;
}
unsigned SerialStub::write(uint8_t byte) { return putchar(byte) != EOF; }
void SerialStub::print(const __FlashStringHelper *text) { fputs(reinterpret_cast<const char *>(text), stdout); }
void SerialStub::println(const __FlashStringHelper *text) { puts(reinterpret_cast<const char *>(text)); }

int main()
{
    setup();
    while (Serial.available())
        loop();
    return 0;
}
