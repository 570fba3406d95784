"""HTTP's dates, read strictly and written (RFC 9110, 5.6.7). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_WEEKDAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = tuple(
    re.compile(form)
    for form in (
        f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        f"{_WEEKDAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        f"{_DAY} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_PIVOT = 70
"""Two digits of a year from here on are of the last century, as POSIX has it."""


def read_date(text: bytes) -> int | None:
    """Seconds since 1970, of one of HTTP's three forms; None for all else. A leap second is the one
    before it."""
    said = text.decode("latin-1").strip(" \t")
    for form in _FORMS:
        found = form.fullmatch(said)
        if found is None:
            continue
        year = int(found["year"])
        if len(found["year"]) == 2:
            year += 2000 if year < _PIVOT else 1900
        month, day = _MONTHS.index(found["month"]) + 1, int(found["day"])
        hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
        try:
            moment = datetime(
                year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=UTC
            )
        except ValueError:
            return None
        return int(moment.timestamp())
    return None


def date_text(seconds: int) -> bytes:
    """The form that is sent: `Sun, 06 Nov 1994 08:49:37 GMT`, in no locale's words."""
    at = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year:04} {at:%H:%M:%S} GMT".encode()
