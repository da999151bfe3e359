"""A second embedder in an administrator's own catalogue, made of the bundled weights."""

from __future__ import annotations

from pathlib import Path

from models.files import catalog

TWIN = """
[[model]]
id = "twin"
role = "embedder"
kind = "sentence_transformers"
source = "home:twin"
languages = ["en"]
dimension = 384
window = 256
query_prefix = "query: "
document_prefix = "passage: "
licence = "Apache-2.0"
"""


def put_twin(home: Path) -> None:
    """The bundled embedder once more, under another id and with prefixes: other vectors, so another index."""
    bundled = catalog.entry("all-minilm-l6-v2")
    folder = catalog.location(bundled, home)
    for name in bundled.files:
        (home / "models" / "twin" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "models" / "twin" / name).symlink_to(folder / name)
    pins = "".join(f'"{name}" = "{digest}"\n' for name, digest in bundled.files.items())
    (home / "models" / "catalog.toml").write_text(f"{TWIN}[model.files]\n{pins}", encoding="utf-8")
