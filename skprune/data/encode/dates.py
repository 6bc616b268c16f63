"""Read dates and times in text as points in time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skprune.data.encode.levels import Levels
from skprune.data.encode.reading import Reading, reading_of

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d+)?))?"
    r"\s*(?P<half>[AaPp])?(?(half)\.?[Mm]\.?)\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}(?::?\d{2})?)?"
)
_NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
_DAYS = [
    rf"{date}(?:(?:\s*T|[\s,]+){_TIME})?"
    for date in (
        r"(?P<a>\d{1,4})(?P<sign>[-/.])(?P<b>\d{1,2})(?P=sign)(?P<c>\d{1,4})",
        r"(?P<a>(?:19|20)\d{2})(?P<b>\d{2})(?P<c>\d{2})",
        rf"(?P<d>\d{{1,2}})\.?[-/\s]\s*{_NAME}[-/\s,]\s*(?P<y>\d{{4}}|\d{{2}})",
        rf"{_NAME}\s+(?P<d>\d{{1,2}}),?\s+(?P<y>\d{{4}})",
    )
]
_FORMS = [re.compile(form) for form in (*_DAYS, _TIME)]
#: What the three numbers of a date are, unless a year of four digits is in front.
_ORDERS = {"month first": "mdy", "day first": "dmy", "year first": "ymd"}
_ZERO = datetime(1970, 1, 1)


def read_dates(levels: Levels) -> Reading | None:
    """Text as seconds since 1970, or since midnight; None if none of it is a date or a time.

    The order of day, month and year is the one in which most rows are dates. Among equals it is
    the one with fewer different years, and then the custom: day first between dots, month first
    elsewhere.
    """
    forms = [_form(value) for value in levels.values]
    dates = [form for form in forms if form]
    if not dates:
        return None
    open_ones = [form for form in dates if "a" in form and len(form["a"]) < 4]
    orders = list(_ORDERS) if open_ones else ["year first"]
    clock_only = not any({"a", "name"} & form.keys() for form in dates)
    if any(form.get("sign") == "." for form in open_ones):
        orders.sort(key="day first".__ne__)
    readings, rank = {}, {}
    for order in orders:
        how = [order] if open_ones else ["times of day"] if clock_only else []
        parse = partial(_ordered_dates, order=_ORDERS[order])
        readings[order] = reading_of("dates", levels, parse, how)
        known = readings[order].values[np.isfinite(readings[order].values)]
        years = np.unique(known.astype("M8[s]").astype("M8[Y]"))
        rank[order] = readings[order].n_read, -len(years)
    best = max(orders, key=rank.__getitem__)
    also = [order for order in orders if order != best and rank[order] == rank[best]]
    if not also:
        return readings[best]
    return replace(readings[best], how=(f"{best}, but {also[0]} fits as well",))


def _ordered_dates(values: Sequence[str], order: str) -> NDArray[np.float64]:
    """Texts as seconds since 1970, NaN where they are no dates in this order."""
    forms = map(_form, values)
    points = [_point(form, order) if form else None for form in forms]
    return np.array([np.nan if p is None else (p - _ZERO).total_seconds() for p in points])


def may_be_days(numbers: NDArray[np.float64]) -> bool:
    """Whether numbers look like days without separators, 20240131."""
    known = numbers[np.isfinite(numbers)]
    return len(known) > 0 and known.min() >= 19_000_101 and known.max() <= 20_991_231


def _form(value: str) -> dict[str, str] | None:
    """The named parts of what looks like a date."""
    for form in _FORMS:
        found = form.fullmatch(value.strip())
        if found:
            return {name: part for name, part in found.groupdict().items() if part is not None}
    return None


def _point(form: dict[str, str], order: str) -> datetime | None:
    """The point in time, in UTC if a zone is given; None if there is no such day or hour."""
    if not {"a", "name"} & form.keys():
        day, month, year = "1", "1", "1970"  # a time of day only
    elif "name" in form:
        day, year, name = form["d"], form["y"], form["name"].lower()[:3]
        month = str(_MONTHS.index(name) + 1) if name in _MONTHS else ""
    else:
        of = dict(zip("ymd" if len(form["a"]) == 4 else order, map(form.get, "abc"), strict=True))
        day, month, year = str(of["d"]), str(of["m"]), str(of["y"])
    if not (len(year) in (2, 4) and len(month) in (1, 2) and len(day) < 3):
        return None
    century = 0 if len(year) == 4 else 1900 if int(year) >= 69 else 2000  # as POSIX has it
    hour = int(form.get("hour", 0))
    if "half" in form:
        hour = hour % 12 + 12 * (form["half"] in "Pp") if 1 <= hour <= 12 else 24
    seconds = float(form.get("second", "0").replace(",", "."))
    zone = re.fullmatch(r"([-+])(\d{2}):?(\d{2})?", form.get("zone", ""))
    try:
        point = datetime(
            century + int(year), int(month), int(day), hour, int(form.get("minute", 0))
        )
        if zone:
            east = timedelta(hours=int(zone[2]), minutes=int(zone[3] or 0))
            point -= east if zone[1] == "+" else -east
        return point + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None
