#include "Arduino.h"
#include "board.h"

SerialPort Serial;

unsigned long micros()
{
    return board_microseconds();
}

unsigned long millis()
{
    return board_milliseconds();
}

void delay(unsigned long ms)
{
    const unsigned long start = millis();
    while (millis() - start < ms) {
    }
}

int SerialPort::available()
{
    return board_available();
}

int SerialPort::read()
{
    return board_available() ? board_read() : -1;
}

size_t SerialPort::write(uint8_t byte)
{
    board_write(byte);
    return 1u;
}

size_t SerialPort::write(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0u; i < count; i++)
        write(bytes[i]);
    return count;
}

size_t SerialPort::print(const char *text)
{
    size_t n = 0u;
    while (text[n] != '\0')
        n += write(static_cast<uint8_t>(text[n]));
    return n;
}

size_t SerialPort::print(unsigned long value)
{
    char digits[12];
    size_t at = sizeof digits - 1u;
    digits[at] = '\0';
    do {
        digits[--at] = static_cast<char>('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    return print(digits + at);
}

size_t SerialPort::print(long value)
{
    if (value >= 0)
        return print(static_cast<unsigned long>(value));
    return print('-') + print(0ul - static_cast<unsigned long>(value));
}

size_t SerialPort::print(double value, int digits)
{
    double unit = 0.5;
    size_t n = 0u;
    if (value < 0.0) {
        n += print('-');
        value = -value;
    }
    for (int i = 0; i < digits; i++)
        unit /= 10.0;
    value += unit;
    n += print(static_cast<unsigned long>(value));
    n += digits > 0 ? print('.') : 0u;
    for (value -= static_cast<double>(static_cast<unsigned long>(value)); digits > 0; digits--) {
        value *= 10.0;
        n += print(static_cast<unsigned long>(value));
        value -= static_cast<double>(static_cast<unsigned long>(value));
    }
    return n;
}

int main()
{
    setup();
    for (;;)
        loop();
}
