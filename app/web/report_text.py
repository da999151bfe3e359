"""The ingest report in words, for the library page and the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.web.messages import say, say_or
from ingest.report import IngestReport

MOST_PAGES = 12
_AND = {"zh": "、"}
_BRACKETS = {"zh": ("（", "）")}


def report_lines(report: IngestReport, language: str) -> Iterator[tuple[str, str, bool]]:
    """(label, text, whether it deserves a look) of everything the report has something to say about."""

    def line(key: str, text: str, worry: bool = False) -> tuple[str, str, bool]:
        return say(f"report.{key}", language), text, worry

    if report.pages > 1 or report.pages_read < report.pages:
        whole = report.pages_read == report.pages
        key = "report.pages_all" if whole else "report.pages_some"
        yield line("pages", say(key, language, read=report.pages_read, total=report.pages), not whole)
    if report.ocr_pages:
        yield line("ocr", _ocr(report, language), (report.worst_ocr_page or (0, 1.0))[1] < 0.8)
    if report.garbled_pages:
        yield line("garbled", ranges(report.garbled_pages), True)
    yield line("content", _content(report, language))
    if report.chunks_reused:
        yield line("content", say("report.reused", language, count=report.chunks_reused))
    if report.tables:
        yield line("tables", str(report.tables))
    if report.pictures:
        silent = report.pictures_without_text
        yield line("pictures", say("report.pictures_value", language, count=report.pictures, silent=silent))
    yield line("cut", *_cut(report, language))
    if report.languages:
        yield line("language", _languages(report, language))
    if report.duplicates:
        yield line("duplicates", _list(report.duplicates, language), True)
    if report.near_duplicates:
        others = [other.path + _aside(f"{other.similarity:.0%}", language) for other in report.near_duplicates]
        yield line("near", _list(others, language), True)
    for hidden in report.hidden:
        yield line("hidden", hidden_text(hidden.kind, hidden.characters, hidden.pages, hidden.sample, language), True)
    for key in ("author", "created", "modified", "encoding"):
        if value := getattr(report, key):
            yield line(key, value)
    if report.seconds:
        yield line("seconds", _seconds(report, language))


def hidden_text(kind: str, characters: int, pages: Sequence[int], sample: str, language: str) -> str:
    """Such as `white on white, characters: 23 (page 3) “Ignore …”`."""
    words = say("report.hidden_value", language, kind=say_or(f"hidden.{kind}", language, kind), characters=characters)
    if pages:
        words += _aside(say("place.page", language, page=ranges(pages)), language)
    return f"{words} “{sample}”" if sample else words


def _list(words: Sequence[str], language: str) -> str:
    return _AND.get(language, ", ").join(words)


def _aside(words: str, language: str) -> str:
    before, after = _BRACKETS.get(language, (" (", ")"))
    return f"{before}{words}{after}"


def ranges(pages: Sequence[int]) -> str:
    """`1–3, 7` of page numbers in order, MOST_PAGES of them at most."""
    groups: list[list[int]] = []
    for page in pages:
        if groups and page == groups[-1][1] + 1:
            groups[-1][1] = page
        else:
            groups.append([page, page])
    words = [str(first) if first == last else f"{first}–{last}" for first, last in groups]
    return ", ".join(words[:MOST_PAGES]) + (" …" if len(words) > MOST_PAGES else "")


def _content(report: IngestReport, language: str) -> str:
    numbers = {name: f"{getattr(report, name):,}" for name in ("characters", "chunks", "tokens")}
    return say("report.content_value", language, **numbers)


def _ocr(report: IngestReport, language: str) -> str:
    pages = ranges([page for page, _ in report.ocr_pages])
    page, worst = report.worst_ocr_page or (0, 0.0)
    mean = round(100 * (report.ocr_confidence or 0.0))
    if len(report.ocr_pages) == 1:
        return say("report.ocr_one", language, pages=pages, confidence=mean)
    return say("report.ocr_pages", language, pages=pages, confidence=mean, worst=round(100 * worst), page=page)


def _cut(report: IngestReport, language: str) -> tuple[str, bool]:
    parts = []
    if report.left_out:
        parts.append(say("report.cut_characters", language, count=f"{report.left_out:,}"))
    if report.truncations:
        parts.append(say("report.cut_chunks", language, count=report.truncations))
    return (_list(parts, language), True) if parts else (say("report.cut_nothing", language), False)


def _languages(report: IngestReport, language: str) -> str:
    def name(code: str) -> str:
        return say_or(f"tongue.{code.lower().replace('-', '_')}", language, code)

    shares = _list([f"{name(code)} {share:.0%}" for code, share in report.languages.items()], language)
    return name("mixed") + _aside(shares, language) if report.language == "mixed" else shares


def _seconds(report: IngestReport, language: str) -> str:
    parts = []
    for stage, value in report.seconds.items():
        name = say_or(f"report.stage_{stage}", language, stage)
        parts.append(say("report.seconds_value", language, stage=name, seconds=f"{value:.1f}"))
    return _list(parts, language)
