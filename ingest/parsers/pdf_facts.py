"""What a PDF says about itself: title, author and dates."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

_DATE = re.compile(r"^(?:D:)?\s*(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?\s*([Zz+-])?(\d{2})?'?(\d{2})?")


def metadata(document: Any) -> dict[str, str]:
    """title, author, created and modified as far as the file gives them; dates in ISO 8601."""
    found = document.get_metadata_dict(skip_empty=True)
    out = {
        "title": str(found.get("Title", "")).strip(),
        "author": str(found.get("Author", "")).strip(),
        "created": iso_date(str(found.get("CreationDate", ""))),
        "modified": iso_date(str(found.get("ModDate", ""))),
    }
    return {key: value for key, value in out.items() if value}


def iso_date(value: str) -> str:
    """`D:20240131093000+01'00'` as `2024-01-31T09:30:00+01:00`; empty when it is no date."""
    match = _DATE.match(value.strip())
    if not match:
        return ""
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
    sign, hours, minutes = match.group(7), int(match.group(8) or 0), int(match.group(9) or 0)
    zone = None
    try:
        if sign:
            offset = timedelta(hours=hours, minutes=minutes)
            zone = timezone(-offset if sign == "-" else offset)
        assert year is not None
        when = datetime(year, month or 1, day or 1, hour or 0, minute or 0, min(second or 0, 59), tzinfo=zone)
    except ValueError:
        return ""
    return when.isoformat() if hour is not None else when.date().isoformat()
