"""Hostile text to harmless HTML. Everything is escaped; only the few tags written here come out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape

from core.types import SentenceCheck, Verdict

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&])")
_LINK_START = re.compile(r"(https?|ftp)(?=://)|\bwww(?=\.)", re.IGNORECASE)
_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*|[\[【［](\d{1,3})[\]】］]")
_BULLET = re.compile(r"^\s{0,6}[-*•]\s+")
_NUMBER = re.compile(r"^\s{0,6}\d{1,3}[.)、]\s+")
_HEADING = re.compile(r"^#{1,6}\s+")

Piece = tuple[int, int, str, str]
"""start, end, CSS class, tooltip"""


def label(text: str) -> str:
    """Text for a place where Streamlit reads Markdown (labels, captions, errors): shown as it is, nothing interpreted.

    A word joiner stands inside `http://` and `www.`, since links are found after escapes are undone.
    """
    flat = _LINK_START.sub(lambda match: match.group() + "\u2060", " ".join(text.split()))
    return _MARKDOWN.sub(r"\\\1", flat)


def answer_html(
    text: str,
    checks: Sequence[SentenceCheck] = (),
    sources: Mapping[int, str] | None = None,
    explain: Callable[[SentenceCheck], str] = lambda check: check.reason,
) -> str:
    """An answer as HTML: paragraphs, lists, bold, code and citation marks; nothing else is interpreted.

    Args:
        checks: sentences that are not supported get a visible mark with `explain(check)` as tooltip.
        sources: number to tooltip of its citation mark; other numbers in brackets stay plain text.
    """
    pieces = [
        (check.start, check.end, f"al-{check.verdict.value}", explain(check))
        for check in _placed(text, checks)
        if check.verdict is not Verdict.SUPPORTED
    ]
    out: list[str] = []
    open_list, code = "", False
    offset = 0
    for line in text.split("\n"):
        start, offset = offset, offset + len(line) + 1
        if line.strip().startswith("```"):
            out.append("</pre>" if code else _close(open_list) + '<pre class="al-code">')
            open_list, code = "", not code
            continue
        if code:
            out.append(_line(text, start, start + len(line), pieces, escape) + "\n")
            continue
        wanted, skipped = _kind(line)
        if wanted != open_list:
            out.append(_close(open_list) + (f"<{wanted}>" if wanted else ""))
            open_list = wanted
        if not line.strip():
            continue
        inner = _line(text, start + skipped, start + len(line), pieces, lambda part: _inline(part, sources or {}))
        tag = "li" if wanted else "p"
        out.append(f"<{tag}><b>{inner}</b></{tag}>" if _HEADING.match(line) else f"<{tag}>{inner}</{tag}>")
    out.append("</pre>" if code else _close(open_list))
    return f'<div class="al-answer">{"".join(out)}</div>'


def unchecked_html(text: str, note: str, growing: bool = False) -> str:
    """What a model wrote and nothing has compared with its sources, set apart as a whole. note: says so."""
    css = "al-unchecked al-typing" if growing else "al-unchecked"
    return f'<div class="{css}"><div class="al-meta">{escape(note)}</div>{answer_html(text)}</div>'


def quote_html(text: str) -> str:
    """A passage of a document, as it stands."""
    return f'<blockquote class="al-quote">{escape(text.strip())}</blockquote>'


def question_html(text: str) -> str:
    """A person's own words, line breaks kept."""
    return f'<div class="al-question">{escape(text)}</div>'


def _placed(text: str, checks: Sequence[SentenceCheck]) -> list[SentenceCheck]:
    """Checks whose offsets fit the text; what a changed text no longer has at its place is not marked elsewhere."""
    return [check for check in checks if 0 <= check.start < check.end <= len(text)]


def _kind(line: str) -> tuple[str, int]:
    """List tag and how many characters of the line are its mark."""
    for tag, pattern in (("ul", _BULLET), ("ol", _NUMBER)):
        if match := pattern.match(line):
            return tag, match.end()
    heading = _HEADING.match(line)
    return "", heading.end() if heading else 0


def _close(tag: str) -> str:
    return f"</{tag}>" if tag else ""


def _line(text: str, start: int, end: int, pieces: Sequence[Piece], shown: Callable[[str], str]) -> str:
    out, at = [], start
    for first, last, css, tooltip in pieces:
        first, last = max(first, at), min(last, end)
        if first >= last:
            continue
        out.append(shown(text[at:first]))
        inner = shown(text[first:last].rstrip())
        mark = '<span class="al-mark">⚠</span>' if css == "al-unsupported" else ""
        out.append(f'<span class="{css}" title="{escape(tooltip)}">{inner}{mark}</span> ')
        at = last
    out.append(shown(text[at:end]))
    return "".join(out)


def _inline(text: str, sources: Mapping[int, str]) -> str:
    out, at = [], 0
    for match in _INLINE.finditer(text):
        out.append(escape(text[at : match.start()]))
        code, bold, number = match.groups()
        if code:
            out.append(f"<code>{escape(code)}</code>")
        elif bold:
            out.append(f"<b>{escape(bold)}</b>")
        elif int(number) in sources:
            out.append(f'<sup class="al-cite" title="{escape(sources[int(number)])}">{number}</sup>')
        else:
            out.append(escape(match.group()))
        at = match.end()
    out.append(escape(text[at:]))
    return "".join(out)
