"""Words that cannot be names in generated C: those of C and C++, and what Arduino.h defines."""

from __future__ import annotations

import re

_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while alignas alignof and
and_eq asm atomic_cancel bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield compl
concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export false final friend import
module mutable namespace new noexcept not not_eq nullptr operator or or_eq override private protected public
reinterpret_cast requires static_assert static_cast template this thread_local throw true try typeid typename using
virtual wchar_t xor xor_eq main
"""

# Macros and functions that Arduino.h and its binary.h define: a model of this name would not compile in a sketch.
_ARDUINO = """
HIGH LOW INPUT OUTPUT INPUT_PULLUP INPUT_PULLDOWN PI HALF_PI TWO_PI DEG_TO_RAD RAD_TO_DEG EULER SERIAL DISPLAY LSBFIRST
MSBFIRST CHANGE FALLING RISING DEFAULT EXTERNAL INTERNAL INTERNAL1V1 INTERNAL2V56 LED_BUILTIN F min max abs round
constrain radians degrees sq interrupts noInterrupts lowByte highByte bitRead bitSet bitClear bitToggle bitWrite bit
word boolean byte _BV setup loop yield init map random randomSeed delay millis micros tone noTone pulseIn shiftIn
shiftOut analogRead analogWrite digitalRead digitalWrite pinMode attachInterrupt detachInterrupt Serial String
cbi sbi clockCyclesPerMicrosecond NOT_A_PIN NOT_A_PORT
"""
_BINARY = re.compile(r"B[01]{1,8}|A[0-9]{1,2}|D[0-9]{1,2}|E[A-Z0-9].*|INT[0-9]*_.*|UINT[0-9]*_.*|P[A-L][0-7]?")
_TAKEN = frozenset(_KEYWORDS.split()) | frozenset(_ARDUINO.split())


def is_reserved(name: str) -> bool:
    """Whether a structure may not have a member of this name."""
    return name in _TAKEN or _BINARY.fullmatch(name) is not None
