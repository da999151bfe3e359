"""Originals, page images and texts: only for readers, and never as something a browser runs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

import httpx
import pytest
from PIL import Image

from core.types import Locator, NewChunk, Role

if TYPE_CHECKING:
    from conftest import World  # type: ignore[import-not-found]

T = TypeVar("T")
HTML = {"accept": "text/html"}


def run(work: Awaitable[T]) -> T:
    async def go() -> T:
        return await work

    return asyncio.run(go())


def test_the_original_comes_as_a_download_that_no_browser_opens(world: World) -> None:
    ann = world.person("ann")
    data = b"<script>alert(document.cookie)</script>" * 5000
    document = world.document(world.collection("hr", ann), "政策/evil page.html", data)
    answer = run(world.client(ann).get(f"/files/{document.id}/original"))
    assert answer.status_code == 200 and answer.content == data
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''evil%20page.html")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert int(answer.headers["content-length"]) == len(data)


def test_a_page_image_shows_the_cited_box(world: World, a_pdf: bytes) -> None:
    ann = world.person("ann")
    hr = world.collection("hr", ann)
    document = world.document(hr, "travel.pdf", a_pdf, pages=2)
    message = world.answered(ann, hr, "Yes [1].", [world.citation(document, page=1)])

    async def go() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        client = world.client(ann)
        address = f"/files/{document.version_id}/page/1.png"
        return (
            await client.get(address),
            await client.get(f"{address}?citation={message.id}:1"),
            await client.get(f"{address}?boxes=50,50,300,80"),
        )

    bare, cited, given = run(go())
    assert bare.headers["content-type"] == "image/png" and bare.headers["x-content-type-options"] == "nosniff"
    plain, marked = (Image.open(io.BytesIO(answer.content)).convert("RGB") for answer in (bare, cited))
    assert plain.size == marked.size and min(plain.size) > 500
    scale = plain.width / 595
    inside, outside = (int(200 * scale), int(75 * scale)), (int(200 * scale), int(400 * scale))
    assert plain.getpixel(inside) != marked.getpixel(inside) and plain.getpixel(outside) == marked.getpixel(outside)
    assert given.content == cited.content


@pytest.mark.parametrize(
    ("tail", "status"),
    [
        ("page/0.png", 400),
        ("page/3.png", 400),
        ("page/1.png?scale=99", 400),
        ("page/1.png?scale=nan", 400),
        ("page/1.png?boxes=1,2,3", 400),
        ("page/1.png?boxes=1,2,3,inf", 400),
        ("page/1.png?boxes=" + "1,2,3,4;" * 201, 400),
        ("page/1.png?citation=nothing", 404),
        ("page/x.png", 404),
    ],
)
def test_a_bad_page_address_is_refused_with_a_reason(world: World, a_pdf: bytes, tail: str, status: int) -> None:
    ann = world.person("ann")
    document = world.document(world.collection("hr", ann), "travel.pdf", a_pdf, pages=2)
    answer = run(world.client(ann).get(f"/files/{document.version_id}/{tail}"))
    assert answer.status_code == status and answer.json()["error"]["code"]


def test_a_document_that_is_no_pdf_has_no_page_image(world: World) -> None:
    ann = world.person("ann")
    document = world.document(world.collection("hr", ann), "note.txt", b"only text")
    answer = run(world.client(ann).get(f"/files/{document.version_id}/page/1.png"))
    assert answer.status_code == 422


def test_the_text_is_shown_escaped_with_the_cited_chunk_marked(world: World) -> None:
    ann = world.person("ann")
    chunks = [
        NewChunk(0, "<script>alert(1)</script> first", Locator(heading=("Scope", "<img src=x>"))),
        NewChunk(1, "the cited words & more", Locator(heading=("Scope",), lines=(3, 4))),
    ]
    document = world.document(world.collection("hr", ann), "</title><b>note.md", b"x", chunks)
    cited = world.alioth.chunks.of_version(document.version_id)[1].id
    answer = run(world.client(ann).get(f"/files/{document.id}/view?chunk={cited}"))
    assert answer.status_code == 200
    assert '<mark id="here">the cited words &amp; more</mark>' in answer.text
    assert "<script" not in answer.text and "<img" not in answer.text and "<b>note" not in answer.text
    assert "lines 3–4" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]


def test_overlap_between_chunks_is_shown_once(world: World) -> None:
    ann = world.person("ann")
    whole = "One two three. Four five six. Seven eight nine."
    chunks = [
        NewChunk(0, whole[:29], Locator(chars=(0, 29))),
        NewChunk(1, whole[15:], Locator(chars=(15, len(whole)))),
    ]
    document = world.document(world.collection("hr", ann), "note.md", whole.encode(), chunks)
    page = run(world.client(ann).get(f"/files/{document.id}/view")).text
    assert page.count("Four five six.") == 1 and "Seven eight nine." in page


def test_a_stranger_gets_the_answer_of_a_document_that_is_not_there(world: World, a_pdf: bytes) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    hr = world.collection("hr", ann)
    document = world.document(hr, "secret.pdf", a_pdf, pages=2)
    message = world.answered(ann, hr, "Yes [1].", [world.citation(document, page=1)])
    nothing = "0" * 32
    pairs = [
        (f"/files/{document.id}/original", f"/files/{nothing}/original"),
        (f"/files/{document.id}/view", f"/files/{nothing}/view"),
        (f"/files/{document.version_id}/page/1.png", f"/files/{nothing}/page/1.png"),
        (
            f"/files/{document.version_id}/page/1.png?citation={message.id}:1",
            f"/files/{nothing}/page/1.png?citation={message.id}:1",
        ),
    ]

    async def go() -> None:
        client = world.client(bob)
        for headers in ({}, HTML):
            for yours, absent in pairs:
                first, second = await client.get(yours, headers=headers), await client.get(absent, headers=headers)
                assert first.status_code == second.status_code == 404
                assert first.content == second.content and b"secret" not in first.content

    run(go())


def test_nobody_sees_a_box_through_another_persons_conversation(world: World, a_pdf: bytes) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    hr = world.collection("hr", ann, bob)
    document = world.document(hr, "travel.pdf", a_pdf, pages=2)
    message = world.answered(ann, hr, "Yes [1].", [world.citation(document, page=1)])
    address = f"/files/{document.version_id}/page/1.png?citation={message.id}:1"
    assert run(world.client(ann).get(address)).status_code == 200
    assert run(world.client(bob).get(address)).status_code == 404


def test_access_that_was_taken_back_is_gone_at_once(world: World) -> None:
    ann = world.person("ann")
    hr = world.collection("hr", ann, role=Role.WRITE)
    document = world.document(hr, "note.txt", b"only text")

    async def go() -> list[int]:
        client, address = world.client(ann), f"/files/{document.id}/original"
        before = (await client.get(address)).status_code
        world.alioth.accounts_store.revoke(hr.id, "user", ann.principal.user_id)
        revoked = (await client.get(address)).status_code
        world.alioth.accounts.set_disabled("ann", True)
        return [before, revoked, (await client.get(address)).status_code]

    assert run(go()) == [200, 404, 401]


def test_a_deleted_document_is_not_there_for_its_readers(world: World) -> None:
    ann = world.person("ann")
    document = world.document(world.collection("hr", ann), "note.txt", b"only text")
    world.alioth.documents.delete(document.id)
    for address in (f"/files/{document.id}/original", f"/files/{document.version_id}/page/1.png"):
        assert run(world.client(ann).get(address)).status_code == 404
