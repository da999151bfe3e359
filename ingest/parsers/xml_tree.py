"""XML read safely: no DTD is loaded, no entity is resolved, nothing is fetched, depth and size are libxml2's limits."""

from __future__ import annotations

import html
import re
from html.entities import name2codepoint
from typing import Any

from core.types import Problem
from ingest.clean import collapse
from ingest.decode import decode

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]{0,400}\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_OWN = frozenset({"lt", "gt", "amp", "quot", "apos"})


def tree_of(data: bytes, problems: list[Problem]) -> Any:
    """The root element, or None where nothing can be made of it; damage and lost characters go to `problems`."""
    from lxml import etree

    match = _ENCODING.search(data[:400])
    decoded = decode(data, match.group(1).decode("ascii") if match else "")
    problems.extend(decoded.problems)
    text = _DECLARATION.sub("", decoded.text.replace("\x00", "").lstrip("\ufeff"))
    raw = _ENTITY.sub(_known, text).encode("utf-8", "replace")
    try:
        return _without_entities(etree.fromstring(raw, _parser(recover=False)), problems)
    except etree.XMLSyntaxError as error:
        why = str(error).split(", line")[0]
        line = error.lineno or 0
    try:
        root = _without_entities(etree.fromstring(raw, _parser(recover=True)), problems)
    except etree.XMLSyntaxError:
        return None
    if root is not None:
        problems.append(
            Problem("damaged_structure", f"The XML is damaged at line {line} ({why}); it was read as far as possible.")
        )
    return root


def _without_entities(root: Any, problems: list[Problem]) -> Any:
    """The tree with what its own DTD would put in left out: such entities can point at files or grow without end."""
    from lxml import etree

    if root is not None and next(root.iter(etree.Entity), None) is not None:
        etree.strip_elements(root, etree.Entity, with_tail=False)
        problems.append(Problem("entities_left_out", "Entities that the XML defines itself were not resolved."))
    return root


def _parser(recover: bool) -> Any:
    from lxml import etree

    return etree.XMLParser(
        recover=recover,
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )


def _known(match: re.Match[str]) -> str:
    """Entities of HTML, which need no DTD to be understood."""
    name = match.group(1)
    return chr(name2codepoint[name]) if name in name2codepoint and name not in _OWN else match.group()


def name_of(element: Any) -> str:
    """Name without its namespace; empty for what is not an element, such as an entity that was not resolved."""
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def namespace_of(element: Any) -> str:
    tag = element.tag
    return tag[1:].split("}", 1)[0] if isinstance(tag, str) and tag.startswith("{") else ""


def words(element: Any) -> str:
    """All text inside an element on one line."""
    return collapse("".join(str(part) for part in element.itertext(with_tail=False)))


def first(root: Any, *names: str) -> str:
    """Words of the first element below `root`, in document order, that has one of the names."""
    for element in root.iter():
        if name_of(element) in names:
            text = words(element)
            if text:
                return text[:500]
    return ""


def child(element: Any, *names: str) -> Any:
    """The first direct child with one of the names, or None."""
    return next((inner for inner in element if name_of(inner) in names), None)


def unescaped(text: str) -> str:
    """Text that holds markup in escaped form, as feeds do."""
    return html.unescape(text)
