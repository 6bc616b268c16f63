"""Numbers as people and programs write them: 1,234.50; 12,5 %; € 1 000; (300); ?."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from skprune.cli.columns import Levels
from skprune.cli.reading import Reading, reading_of

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


def read_numbers(levels: Levels) -> Reading | None:
    """Text as numbers, all in one unit and one notation; None if none of it is a number.

    The unit and the decimal sign are those with which most rows can be read: 5 kg beside 300 g are
    no numbers that can be compared.
    """
    import pandas as pd

    plain = pd.to_numeric(pd.Series(levels.values, dtype=object), errors="coerce")
    reading = reading_of("numbers", levels, np.array(plain, dtype=np.float64), [], _MARKS)
    if reading.n_read and not reading.n_others:
        return reading  # by far the most frequent case, and ten times as fast as what follows
    parts = [_split(value) for value in levels.values]
    units: Counter[str] = Counter()
    for part, count in zip(parts, levels.counts, strict=True):
        if part is not None:
            units[part[1]] += int(count)
    if not units:
        return None
    ((unit, _),) = units.most_common(1)
    digits = [part[0] if part is not None and part[1] == unit else "" for part in parts]
    readings = []
    for decimal, pattern in _NOTATIONS.items():
        each = np.array([_value(text, decimal, pattern) for text in digits])
        how = [f"in {unit}"] * bool(unit) + ["decimal comma"] * (decimal == ",")
        readings.append(reading_of("numbers", levels, each, how, _MARKS))
    return max(readings, key=lambda reading: reading.n_read)


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
