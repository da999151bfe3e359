"""The help collection: Alioth's manual in both languages, kept as it is installed."""

from __future__ import annotations

from app.serving import HELP_COLLECTION, add_help, help_folder


def test_it_has_the_manual_and_neither_pictures_nor_decisions(world) -> None:
    made = world.collection(HELP_COLLECTION)
    world.document(made, "images/queue.png", b"old")
    world.document(made, "removed.md", b"old")
    add_help(world.alioth)
    paths = {row.path for row in world.alioth.documents.list(made.id)}
    folder = help_folder()
    assert folder is not None
    manual = {str(page.relative_to(folder)) for page in (*folder.glob("*.md"), *folder.glob("zh/*.md"))}
    assert paths == manual and {"quickstart.md", "zh/quickstart.md"} <= manual
