"""Options that narrow a search to some documents, the same for every command that searches."""

from __future__ import annotations

from typing import Annotated

import typer

from core.filters import TYPES, Filters, make_filters

DocumentOption = Annotated[
    list[str] | None, typer.Option("--document", metavar="PATH", help="Only this document; may be given several times.")
]
TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="KIND", help=f"Only documents of this kind: {', '.join(TYPES)}, or an extension."),
]
PathOption = Annotated[
    list[str] | None,
    typer.Option("--path", metavar="PATTERN", help="Only paths like this: a folder, or a pattern such as 'hr/*.pdf'."),
]
SinceOption = Annotated[
    str, typer.Option("--since", metavar="DATE", help="Only documents of this date or later: YYYY[-MM[-DD]].")
]
UntilOption = Annotated[str, typer.Option("--until", metavar="DATE", help="Only documents of this date or earlier.")]
AddedSinceOption = Annotated[
    str, typer.Option("--added-since", metavar="DATE", help="Only documents added on this day or later.")
]
AddedUntilOption = Annotated[
    str, typer.Option("--added-until", metavar="DATE", help="Only documents added on this day or earlier.")
]
LanguageOption = Annotated[
    list[str] | None, typer.Option("--language", metavar="zh|en", help="Only documents mainly in this language.")
]


def filters_of(
    document: list[str] | None,
    kind: list[str] | None,
    path: list[str] | None,
    since: str,
    until: str,
    added_since: str,
    added_until: str,
    language: list[str] | None,
) -> Filters:
    """The filters that these options say.

    Raises:
        InputError: a value that is none.
    """
    return make_filters(document or (), kind or (), path or (), since, until, added_since, added_until, language or ())
