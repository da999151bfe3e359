"""What a parser process says, checked: one that a file has taken over can say anything."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

from core.errors import UnreadableError
from core.settings import IngestSettings
from ingest.parsers.old_office import TARGETS
from ingest.wire import document_from_dict, error_from_dict

logger = logging.getLogger(__name__)


class ChildLost(Exception):
    """The child ended, or did not answer in time.

    why: completes "the parser …". told_to_end: somebody outside told it to, so what it was reading is not at fault.
    """

    def __init__(self, why: str, told_to_end: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.told_to_end = told_to_end


def decoded(line: bytes) -> dict[str, Any]:
    """Raises ChildLost when it is not what a parser says."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise senseless() from error
    if not isinstance(reply, dict):
        raise senseless()
    return reply


def checked(reply: dict[str, Any], name: str, settings: IngestSettings) -> dict[str, Any]:
    if "error" in reply:
        raise reply["error"]
    if "fault" in reply:
        raise UnreadableError(
            f"Cannot read {name!r}: parsing it needs more than the {settings.parse_memory_mb} MB limit of memory.",
            "Raise ALIOTH_INGEST__PARSE_MEMORY_MB or split the file.",
        )
    if "crash" in reply:
        logger.warning("parser fault in %r: %s", name, reply["crash"])
        raise UnreadableError(
            f"Cannot read {name!r}: the parser failed ({reply['crash'].split(':')[0]}).",
            "The file may be damaged: open it in its own program, save it again and add that.",
        )
    return reply


def understood(reply: dict[str, Any]) -> dict[str, Any]:
    """The reply with its document or error made whole; a parser that a file has taken over can say anything.

    Raises:
        ChildLost: it is no answer, so the process is not to be trusted with another document.
    """
    try:
        if "document" in reply:
            return {"document": document_from_dict(reply["document"])}
        if "error" in reply:
            return {"error": error_from_dict(reply["error"])}
        if "convert" in reply:
            return {"convert": _wish(reply["convert"])}
        if "crash" in reply or "png" in reply:
            return {key: str(reply[key]) for key in ("crash", "png") if key in reply}
        if "fault" in reply:
            return {"fault": str(reply["fault"])}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise senseless() from error
    raise senseless()


def _wish(raw: dict[str, Any]) -> dict[str, Any]:
    kind, part = str(raw["kind"]), base64.b64decode(raw["part"], validate=True)
    wish = {"name": str(raw["name"]), "digest": str(raw["digest"]), "kind": kind, "target": TARGETS[kind]}
    return {**wish, "part": part}


def pages_of(reply: dict[str, Any]) -> tuple[int, int]:
    try:
        return int(reply["pages_done"]), int(reply["pages"])
    except (KeyError, TypeError, ValueError) as error:
        raise senseless() from error


def seconds_of(said: Any) -> float:
    try:
        return float(said)
    except (TypeError, ValueError) as error:
        raise senseless() from error


def senseless() -> ChildLost:
    return ChildLost("gave an answer that makes no sense")
