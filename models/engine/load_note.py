"""A sentence on how a model was loaded, which a page can say in another language."""

from __future__ import annotations

from typing import Any


class LoadNote(str):
    """The English sentence. code and values: what it says, for whoever words it anew; values are JSON."""

    code: str
    values: dict[str, Any]

    def __new__(cls, text: str, code: str, **values: Any) -> LoadNote:
        made = super().__new__(cls, text)
        made.code, made.values = code, values
        return made


def parts_of(note: str) -> dict[str, Any]:
    """`code` and `values` of a note; an empty code for a mere text."""
    return {"code": note.code, "values": note.values} if isinstance(note, LoadNote) else {"code": "", "values": {}}
