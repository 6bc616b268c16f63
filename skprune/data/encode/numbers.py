"""Read numbers in text, such as 1,234.50; 12,5 %; € 1 000; (300); or ? for missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skprune.data.encode.levels import Levels
from skprune.data.encode.reading import Reading, reading_of

_PLAIN = re.compile(r"\s*[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf(?:inity)?)\s*", re.I)

#: Also "no value", but only where numbers stand: elsewhere these may be words like others.
_MARKS = frozenset(
    ("?", "-", "--", "---", "\u2013", "\u2014", ".", "..", "*", "none", "nil", "n.a.")
)
_CURRENCY = "[$£¥¢฿\u20a0-\u20cf]"
_UNIT = rf"%|‰|°[CFK]?|{_CURRENCY}|[A-Za-zµμΩ][A-Za-z/]{{0,11}}[23²³]?|\+"
#: Sign, unit, sign, digits with their separators, unit. Letters before the digits are a unit only
#: if they are a currency: "EUR 5", "Rs. 5" and "US$5", but not "p17" or "Lot 5", which are names.
_PARTS = re.compile(
    rf"([-+]?)\s*([A-Za-z]{{0,3}}{_CURRENCY}|(?:[A-Z]{{3}}|Rs|kr|Fr)\.?(?=\s))?\s*([-+]?)"
    rf"([\d.,][\d.,\s'’_]*(?:[eE][-+]?\d+)?)\s*({_UNIT})?"
)


def _digits(decimal: str, group: str) -> re.Pattern[str]:
    """Digits with this decimal sign, in groups of three (in India of two, before that) or none."""
    groups = rf"[1-9]\d{{0,2}}([{group}\s'’_])(?:\d{{2,3}}\1)*\d{{3}}"
    return re.compile(rf"(?=[{decimal}]?\d)(?:{groups}|\d*)(?:[{decimal}]\d*)?(?:[eE][-+]?\d+)?")


#: Patterns of digits by decimal sign, the more common one first: it wins where both fit.
_NOTATIONS = {".": _digits(".", ","), ",": _digits(",", ".")}


def is_plain(value: str) -> bool:
    """Whether a text is a number as programs write it."""
    return _PLAIN.fullmatch(value) is not None


def plain_numbers(values: Sequence[str]) -> NDArray[np.float64]:
    """Texts as numbers, NaN where they are no plain ones."""
    return np.array([float(v) if is_plain(v) else np.nan for v in values], dtype=np.float64)


def read_numbers(levels: Levels) -> Reading | None:
    """Text as numbers, all in one unit and one notation; None if none of it is a number.

    The unit and the decimal sign are those with which most rows can be read. Different units, as in
    5 kg and 300 g, are not compared.
    """
    reading = reading_of("numbers", levels, plain_numbers, [], _MARKS)
    if reading.n_read and not reading.n_others:
        return reading  # by far the most frequent case, and ten times as fast as what follows
    units: Counter[str] = Counter()
    for value, count in zip(levels.values, levels.counts, strict=True):
        part = _split(value)
        if part is not None:
            units[part[1]] += int(count)
    if not units:
        return None
    ((unit, _),) = units.most_common(1)
    readings = []
    for decimal in _NOTATIONS:
        how = [f"in {unit}"] * bool(unit) + ["decimal comma"] * (decimal == ",")
        parse = partial(_noted_numbers, unit=unit, decimal=decimal)
        readings.append(reading_of("numbers", levels, parse, how, _MARKS))
    return max(readings, key=lambda reading: reading.n_read)


def _noted_numbers(values: Sequence[str], unit: str, decimal: str) -> NDArray[np.float64]:
    """Texts as numbers in one unit and one notation, NaN where they are in another."""
    parts = map(_split, values)
    digits = (part[0] if part is not None and part[1] == unit else "" for part in parts)
    return np.array([_value(text, decimal, _NOTATIONS[decimal]) for text in digits])


def _split(value: str) -> tuple[str, str] | None:
    """The signed digits and the unit."""
    value = value.strip().replace("\u2212", "-")  # the minus sign of typesetters
    value = value.replace("\x80", "€")  # that of Windows, in a file that was read as Latin-1
    in_brackets = value.startswith("(") and value.endswith(")")  # negative, to accountants
    found = _PARTS.fullmatch(value[1:-1] if in_brackets else value)
    if found is None:
        return None
    sign, before, inner, digits, after = (part or "" for part in found.groups())
    signs = (sign + inner).replace("+", "") + "-" * in_brackets
    return signs + digits.strip(), before + after


def _value(text: str, decimal: str, pattern: re.Pattern[str]) -> float:
    """The number that signed digits stand for, or NaN."""
    digits = text.removeprefix("-")
    if not pattern.fullmatch(digits):
        return np.nan
    if decimal == ",":
        digits = digits.replace(".", "").replace(",", ".")
    value = float(re.sub(r"[,\s'’_]", "", digits))
    return -value if text.startswith("-") else value
