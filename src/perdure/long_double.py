"""The 80-bit floating point numbers that INCRBYFLOAT and HINCRBYFLOAT compute with: 10.5 + 0.1 is 10.6, as in Redis.

A number is `(mantissa, exponent)`, worth mantissa * 2**exponent, with a mantissa of at most 64 bits: Python's integers
do the rest exactly. Infinities have the exponent INFINITE; there is no NaN and no negative zero (Redis prints none).
"""

from __future__ import annotations

import re
from typing import Final

LongDouble = tuple[int, int]

MANTISSA_BITS: Final = 64
MAX_EXPONENT: Final = 16384
"""Magnitudes are below 2**16384."""
MIN_EXPONENT: Final = -16445
"""Of the smallest denormal number."""
INFINITE: Final = 1 << 20
MAX_CHARS: Final = 5 * 1024
DECIMALS: Final = 17
CUT_DIGITS: Final = 4000
CUT: Final = 10**CUT_DIGITS
"""Where longer numbers are cut in two: Python turns no more than 4300 digits into an integer at once, nor back."""

_NUMBER: Final = re.compile(
    rb"""(?P<sign>[+-]?) (?:
         0x (?P<hex>[0-9a-f]* (?: \.[0-9a-f]* )?) (?: p (?P<power>[+-]?[0-9]+) )?
       | (?P<decimal>[0-9]+ (?: \.[0-9]* )? | \.[0-9]+) (?: e (?P<ten>[+-]?[0-9]+) )?
       | (?P<infinite> inf (?: inity )?) )""",
    re.VERBOSE | re.IGNORECASE,
).fullmatch


def parse(raw: bytes | bytearray) -> LongDouble | None:
    """The nearest number to what C's strtold reads; None for what it does not take whole, or cannot hold."""
    match = _NUMBER(raw) if len(raw) < MAX_CHARS else None
    if match is None:
        return None
    sign, hexadecimal, power, decimal, ten, infinite = match.groups()
    if infinite:
        number = (1, INFINITE)
    else:
        base, digits = (10, decimal) if decimal else (16, hexadecimal)
        whole, _, fraction = digits.partition(b".")
        if not whole + fraction:
            return None
        mantissa = _integer(whole + fraction) if base == 10 else int(whole + fraction, 16)
        exponent = max(-INFINITE, min(int(ten or power or 0), INFINITE))
        if not mantissa:
            return 0, 0
        if base == 16:
            number = rounded(mantissa, 1, exponent - 4 * len(fraction))
        else:
            exponent -= len(fraction)
            if abs(len(whole + fraction) + exponent) > 5000 + MAX_CHARS:
                return None
            number = rounded(mantissa * 10 ** max(exponent, 0), 10 ** max(-exponent, 0), 0)
        if not number[0] or number[1] == INFINITE:
            return None
    return (-number[0], number[1]) if sign == b"-" else number


def _integer(digits: bytes) -> int:
    """Like int, which refuses more than 4300 digits."""
    if len(digits) <= CUT_DIGITS:
        return int(digits)
    return int(digits[:-CUT_DIGITS]) * CUT + int(digits[-CUT_DIGITS:])


def _digits(value: int) -> str:
    """Like str, which refuses more than 4300 digits."""
    if value < CUT:
        return str(value)
    high, low = divmod(value, CUT)
    return f"{high}{low:0{CUT_DIGITS}d}"


def rounded(numerator: int, denominator: int, exponent: int) -> LongDouble:
    """numerator / denominator * 2**exponent to the nearest number, ties to even. REQUIRES: numerator >= 0."""
    shift = numerator.bit_length() - denominator.bit_length() - MANTISSA_BITS
    shift = max(shift, MIN_EXPONENT - exponent)
    mantissa = _divided(numerator, denominator, shift)
    if mantissa.bit_length() > MANTISSA_BITS:  # the quotient had one bit more than the lengths told
        shift += 1
        mantissa = _divided(numerator, denominator, shift)
    exponent += shift
    if mantissa.bit_length() + exponent > MAX_EXPONENT:
        return 1, INFINITE
    return mantissa, exponent


def _divided(numerator: int, denominator: int, shift: int) -> int:
    """numerator / (denominator * 2**shift) to the nearest integer, ties to even."""
    if shift >= 0:
        denominator <<= shift
    else:
        numerator <<= -shift
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))


def add(first: LongDouble, second: LongDouble) -> LongDouble | None:
    """The sum; None where it is no finite number."""
    if first[1] == INFINITE or second[1] == INFINITE:
        return None
    exponent = min(first[1], second[1])
    total = (first[0] << (first[1] - exponent)) + (second[0] << (second[1] - exponent))
    mantissa, exponent = rounded(abs(total), 1, exponent)
    if exponent == INFINITE:
        return None
    return (mantissa if total >= 0 else -mantissa), exponent


def show(number: LongDouble) -> bytes:
    """The number with up to 17 decimals, trailing zeros cut, and no exponent. REQUIRES: finite."""
    mantissa, exponent = number
    scaled = _divided(abs(mantissa) * 10**DECIMALS << max(exponent, 0), 1, max(-exponent, 0))
    digits = _digits(scaled).rjust(DECIMALS + 1, "0")
    text = f"{digits[:-DECIMALS]}.{digits[-DECIMALS:]}".rstrip("0").rstrip(".")
    return f"-{text}".encode() if mantissa < 0 and scaled else text.encode()
