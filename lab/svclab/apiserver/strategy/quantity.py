"""Quantities: amounts of a resource, such as `500m`, `1Gi` or `2e3`.

In: what a client wrote. Out: the canonical form that the API server prints, the exact value, sums. A text that is no
quantity raises ValueError. Source: apimachinery pkg/api/resource, v0.36.3.
"""

from __future__ import annotations

import re
from fractions import Fraction

SYNTAX = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
BINARY = {"": 0, "Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
MESSAGE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
NANO = Fraction(1, 10**9)


def parsed(text: str) -> tuple[Fraction, str]:
    """The value and its family of suffixes: "binary", "decimal" or "exponent". ValueError if it is no quantity."""
    found = SYNTAX.fullmatch(text)
    if not found:
        raise ValueError(MESSAGE)
    number, suffix = Fraction(found[1]), found[2] or ""
    if suffix in BINARY and suffix:
        value, family = number * 1024 ** BINARY[suffix], "binary"
    elif suffix in DECIMAL:
        value, family = number * Fraction(10) ** DECIMAL[suffix], "decimal"
    else:
        value, family = number * Fraction(10) ** int(suffix[1:]), "exponent"
    return _up(value, NANO), family


def value(text: str | int | float) -> Fraction:
    """The exact value. ValueError if it is no quantity."""
    return parsed(str(text))[0]


def canonical(text: str | int | float) -> str:
    """The form in which the API server prints it; a text that is no quantity stays as it is."""
    try:
        return rendered(*parsed(str(text)))
    except ValueError:
        return str(text)


def rounded_up(text: str) -> str:
    """To a thousandth, as resources of containers are."""
    try:
        amount, family = parsed(text)
    except ValueError:
        return text
    return rendered(_up(amount, Fraction(1, 1000)), family)


def rendered(amount: Fraction, family: str) -> str:
    if amount == 0:
        return "0"
    if family == "binary" and (amount.denominator != 1 or abs(amount) < 1024):
        family = "decimal"
    if family == "binary":
        number, power = int(amount), 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return f"{number}{next(suffix for suffix, exponent in BINARY.items() if exponent == power)}"
    scale = -9
    number = int(amount / NANO)
    while number % 1000 == 0 and scale < 18:
        number, scale = number // 1000, scale + 3
    if family == "exponent":
        return f"{number}e{scale}" if scale else str(number)
    return f"{number}{next(suffix for suffix, exponent in DECIMAL.items() if exponent == scale)}"


def _up(amount: Fraction, unit: Fraction) -> Fraction:
    """Away from zero."""
    units = abs(amount) / unit
    whole = -(-units.numerator // units.denominator) * unit
    return whole if amount >= 0 else -whole
