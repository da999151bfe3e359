"""Originals, page images and texts at their place. Each asks the permissions first: no document, no difference."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.web import pages
from app.web.messages import error_text, preferred, say
from app.web.places import place_text
from core.errors import AliothError, InputError, NotFoundError
from core.types import Box, Principal, Role, StoredChunk

if TYPE_CHECKING:
    from app.wiring import Alioth
    from auth.accounts import SignIn
    from storage.versions import StoredVersion

BLOCK = 1 << 16
AROUND = 60
"""Chunks shown on either side of the marked one."""

MAX_BOXES = 200
MAX_SCALE = 3.0


class FileRoutes:
    """Handlers of `/files/…`. A missing document and one of another's collection give the same 404."""

    def __init__(self, alioth: Alioth) -> None:
        self._alioth = alioth

    async def original(self, request: Request) -> Response:
        """The live version's bytes as a download."""
        try:
            stream, name, size = await run_in_threadpool(
                self._open_original, _principal(request), request.path_params["document_id"]
            )
        except AliothError as error:
            return _problem(request, error)
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "content-length": str(size),
            "cache-control": "private, no-store",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return StreamingResponse(_blocks(stream), media_type=kind, headers=headers)

    async def page_image(self, request: Request) -> Response:
        """A PDF page as PNG, with the boxes of `?citation=MESSAGE:N` or `?boxes=x0,y0,x1,y1;…` (points) marked."""
        try:
            png = await run_in_threadpool(self._render, _principal(request), request)
        except AliothError as error:
            return _problem(request, error)
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=600"})

    async def view(self, request: Request) -> Response:
        """The text of the live version with one chunk marked."""
        try:
            chunks, marked = await run_in_threadpool(self._text, _principal(request), request)
        except AliothError as error:
            return _problem(request, error)
        language, first = _language(request), chunks[0]
        here = next((c for c in chunks if c.id == marked), None)
        links = [(say("source.original", language), f"/files/{first.document_id}/original")]
        if here is not None:
            links.insert(0, (say("source.to_place", language), "#here"))
        place = place_text(here.locator, language) if here else ""
        return pages.text_page(language, first.title or first.path, place, _parts(chunks, marked), links)

    # -------------------------------------------------------------- in a worker thread

    def _open_original(self, principal: Principal, document_id: str) -> tuple[BinaryIO, str, int]:
        row = self._alioth.documents.get(document_id)
        self._alioth.permissions.require(principal, row.collection_id, Role.READ)
        version = self._version(row.live_version_id or row.version_id)
        return self._alioth.files.open(version.content_hash), PurePosixPath(row.path).name, version.size

    def _version(self, version_id: str) -> StoredVersion:
        from storage.versions import VersionStore

        return VersionStore(self._alioth.db).get(version_id)

    def _render(self, principal: Principal, request: Request) -> bytes:
        version = self._version(request.path_params["version_id"])
        self._alioth.permissions.require(principal, version.collection_id, Role.READ)
        page = int(request.path_params["page"])
        boxes = self._boxes(principal, request, request.path_params["version_id"], page)  # as the citation knows it
        if not 1 <= page <= max(version.pages, 1):
            raise InputError(f"There is no page {page}; the document has {version.pages}.", "Choose another page.")
        with self._alioth.files.path(version.content_hash) as path:
            png: bytes = self._alioth.parsers.render_page(path, page, _scale(request), boxes)
        return png

    def _boxes(self, principal: Principal, request: Request, version_id: str, page: int) -> list[Box]:
        mark = request.query_params.get("citation", "")
        if not mark:
            return _parse_boxes(request.query_params.get("boxes", ""), page)
        message_id, _, number = mark.partition(":")
        message = self._alioth.conversations.message(message_id)
        self._alioth.conversations.get(message.conversation_id, principal.user_id)  # only one's own conversations
        citations = message.answer.citations if message.answer else ()
        for citation in citations:
            if str(citation.n) == number and citation.version_id == version_id:
                return [box for box in citation.locator.boxes if box.page == page]
        raise NotFoundError(f"There is no citation {mark!r} of this document.", "Open the conversation again.")

    def _text(self, principal: Principal, request: Request) -> tuple[list[StoredChunk], int]:
        row = self._alioth.documents.get(request.path_params["document_id"])
        self._alioth.permissions.require(principal, row.collection_id, Role.READ)
        chunks = self._alioth.chunks.of_version(row.live_version_id) if row.live_version_id else []
        if not chunks:
            raise NotFoundError(f"The document {row.path!r} has no text yet.", "Wait until it is ready.")
        try:
            marked = int(request.query_params.get("chunk", "0"))
        except ValueError:
            raise InputError("The chunk is not a number.", "Use the link of a source.") from None
        at = next((i for i, chunk in enumerate(chunks) if chunk.id == marked), 0)
        return chunks[max(0, at - AROUND) : at + AROUND + 1], marked


def _principal(request: Request) -> Principal:
    sign_in: SignIn = request.state.sign_in
    return sign_in.principal


def _language(request: Request) -> str:
    return request.state.sign_in.language or preferred(request.headers.get("accept-language", ""))


def _problem(request: Request, error: AliothError) -> Response:
    status = {"input": 400, "not_found": 404, "permission_denied": 404, "unreadable": 422}.get(error.code, 503)
    language = _language(request)
    # One text for "not there" and "not yours", or the difference would tell.
    text = say("error.no_such_document", language) if status == 404 else error_text(error, language)
    if "text/html" in request.headers.get("accept", ""):
        return pages.problem_page(language, text, status)
    return JSONResponse({"error": {"code": "not_found" if status == 404 else error.code, "message": text}}, status)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while block := stream.read(BLOCK):
            yield block


def _scale(request: Request) -> float:
    try:
        scale = float(request.query_params.get("scale", "1.6"))
    except ValueError:
        scale = math.nan
    if not 0.2 <= scale <= MAX_SCALE:
        raise InputError(f"The scale is not a number from 0.2 to {MAX_SCALE}.", "Leave it out.")
    return scale


def _parse_boxes(text: str, page: int) -> list[Box]:
    boxes = []
    for part in filter(None, text.split(";")):
        try:
            x0, y0, x1, y1 = (float(value) for value in part.split(","))
        except ValueError:
            raise InputError(f"The box {part[:60]!r} is not four numbers.", "Write x0,y0,x1,y1 in points.") from None
        if not all(math.isfinite(value) for value in (x0, y0, x1, y1)):
            raise InputError(f"The box {part[:60]!r} is not finite.", "Write x0,y0,x1,y1 in points.")
        boxes.append(Box(page, x0, y0, x1, y1))
    if len(boxes) > MAX_BOXES:
        raise InputError(f"There are {len(boxes)} boxes; at most {MAX_BOXES} are drawn.", "Send fewer.")
    return boxes


def _parts(chunks: list[StoredChunk], marked: int) -> list[tuple[str, str, bool]]:
    """Heading, text, marked. Text the chunk before had already (overlap) is left out, but never of the marked one."""
    parts, heading, end = [], "", 0
    for chunk in chunks:
        text, head = chunk.text, " › ".join(chunk.locator.heading)
        chars = chunk.locator.chars
        if chars and chunk.id != marked and chars[0] < end and len(text) == chars[1] - chars[0]:
            text = text[min(len(text), end - chars[0]) :]
        if chars:
            end = max(end, chars[1])
        if text.strip():
            parts.append((head if head != heading else "", text, chunk.id == marked))
        heading = head
    return parts
