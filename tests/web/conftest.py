"""A small real Alioth for the web tests: SQLite, files on disk, users, documents that are ready; no models."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app import wiring
from app.web.gate import COOKIE, Gate
from app.web.routes import build_routes
from auth.passwords import hash_password
from auth.tokens import new_token, token_hash
from core.settings import Settings
from core.types import (
    Answer,
    AnswerMode,
    Box,
    Citation,
    Collection,
    DocumentRow,
    Fingerprint,
    Locator,
    NewChunk,
    Principal,
    Role,
    SentenceCheck,
)
from storage.conversations import Message

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

SCRIPT = Path(__file__).parents[2] / "app" / "web" / "main.py"
PASSWORD = "correct horse battery"
ORIGIN = "http://alioth.test"
FINGERPRINT = Fingerprint("test", "0" * 64, 8, True, "", "1")


class Person:
    """A signed-in user: the principal, the cookie value, and what the gate gives Streamlit."""

    def __init__(self, principal: Principal, token: str) -> None:
        self.principal, self.token = principal, token
        self.st_user = {"user_id": principal.user_id, "sign_in": token_hash(token)}


class World:
    """Makes people, collections, documents and answers in a real database."""

    def __init__(self, alioth: wiring.Alioth) -> None:
        self.alioth = alioth

    def person(self, name: str, *, admin: bool = False) -> Person:
        user = self.alioth.accounts_store.add_user(name, _password_hash(), admin)
        token = new_token()
        self.alioth.accounts_store.add_sign_in(token_hash(token), user.id, datetime.now(UTC) + timedelta(hours=1))
        return Person(Principal(user.id, user.name, user.is_admin), token)

    def collection(self, name: str, *readers: Person, role: Role = Role.READ) -> Collection:
        made = self.alioth.collections.create(name, FINGERPRINT)
        for reader in readers:
            self.alioth.accounts_store.grant(made.id, "user", reader.principal.user_id, role)
        return made

    def document(
        self,
        collection: Collection,
        path: str,
        data: bytes,
        chunks: Sequence[NewChunk] = (NewChunk(0, "text", Locator()),),
        pages: int = 1,
    ) -> DocumentRow:
        """A document that is ready, as the worker would leave it (without vectors)."""
        documents, worker = self.alioth.documents, "test-worker"
        content_hash, size = self.alioth.files.put(io.BytesIO(data))
        made = documents.submit(collection.id, path, content_hash, size)
        documents.claim(worker, 10, 60, [made.version_id])
        documents.describe(made.version_id, worker, media_type="", title="", pages=pages, problems=(), facts={})
        vectors = np.eye(len(chunks), 8, dtype=np.float32) if len(chunks) <= 8 else _unit(len(chunks))
        documents.store_chunks(made.version_id, worker, chunks, [chunk.text for chunk in chunks], vectors)
        assert documents.switch(made.version_id, worker)
        return documents.get(made.document_id)

    def answered(
        self,
        person: Person,
        collection: Collection,
        text: str,
        citations: Sequence[Citation] = (),
        checks: Sequence[SentenceCheck] = (),
        question: str = "What is it?",
    ) -> Message:
        """A finished answer in a conversation of this person."""
        conversations = self.alioth.conversations
        made = conversations.create(person.principal.user_id, [collection.id], title=question)
        conversations.add_message(made.id, "user", question)
        message = conversations.add_message(made.id, "assistant", "", "streaming")
        answer = Answer(
            text, "en", AnswerMode.ANSWER, citations=tuple(citations), verification=tuple(checks), notices=()
        )
        conversations.finish_message(message.id, "complete", text, answer)
        return conversations.message(message.id)

    def citation(self, document: DocumentRow, n: int = 1, quote: str = "text", page: int | None = None) -> Citation:
        """A citation of the first chunk of a document."""
        chunk = self.alioth.chunks.of_version(document.version_id)[0]
        boxes = (Box(page, 50, 50, 300, 80),) if page else ()
        return Citation(
            n=n,
            chunk_id=chunk.id,
            document_id=document.id,
            version_id=document.version_id,
            collection_id=document.collection_id,
            document=document.path,
            title="",
            locator=Locator(page=page, boxes=boxes),
            quote=quote,
        )

    @staticmethod
    def page(person: Person | None, view: str = "", **query: str) -> AppTest:
        """One run of the page for this person. view: the address of a page other than the chat."""
        from streamlit.testing.v1 import AppTest
        from streamlit.util import calc_hash

        at = AppTest.from_file(str(SCRIPT), default_timeout=120)
        at.user = dict(person.st_user) if person else {}
        for name, value in query.items():
            at.query_params[name] = value
        at.run()
        if view:  # AppTest switches to pages in files only; ours are functions, known by the hash of their address
            at._page_hash = calc_hash(view)
            at.run()
        return at

    def client(self, person: Person | None = None, **headers: str) -> httpx.AsyncClient:
        """A browser that holds this person's cookie, in front of gate and routes (without Streamlit behind)."""
        app = Starlette(
            routes=[route for route, _ in build_routes(self.alioth)],
            middleware=[Middleware(Gate, find=self.find)],
        )
        cookies = {COOKIE: person.token} if person else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url=ORIGIN, cookies=cookies, headers=headers
        )

    def find(self, token: str):  # type: ignore[no-untyped-def]
        return self.alioth.accounts.find_sign_in(token_hash(token))


@functools.cache
def _password_hash() -> str:
    return hash_password(PASSWORD)


def _unit(n: int) -> np.ndarray:  # type: ignore[type-arg]
    matrix = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def world(alioth_home: Path) -> Iterator[World]:
    alioth = wiring.Alioth(Settings(home=alioth_home))
    wiring.use(alioth)
    yield World(alioth)
    alioth.close()


def pdf_bytes(*lines: str) -> bytes:
    """A PDF of one A4 page per line, each line a picture (for rendering only, not for reading)."""
    pages = []
    for line in lines:
        page = Image.new("RGB", (595, 842), "white")
        ImageDraw.Draw(page).text((60, 60), line, fill="black")
        pages.append(page)
    out = io.BytesIO()
    pages[0].save(out, "PDF", save_all=True, append_images=pages[1:])
    return out.getvalue()


@pytest.fixture
def a_pdf() -> bytes:
    return pdf_bytes("Travel costs are paid within 30 days.", "Second page.")
