"""What makes the embedder faster changes no vector: packed weights, one mask for all layers, tokens counted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.embedding import faster
from models.embedding.sentence_transformer import BUSY_TEXTS, SentenceTransformerEmbedder
from models.embedding.tokenizer import FileTokenizer
from models.files import catalog, weights
from models.protocols import Lane

TEXTS = ["Short.", "员工每年享有二十五天带薪年假。", "The pump must be switched off before the filter is cleaned. " * 9]


def _embedder(home: Path) -> SentenceTransformerEmbedder:
    entry = catalog.entry("all-minilm-l6-v2")
    folder = weights.resolve(entry.id, home)
    return SentenceTransformerEmbedder(folder, entry, entry.sha256, threads=2, dtype="bfloat16")


def test_vectors_are_those_of_the_plain_model(models_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = _embedder(models_home)
    monkeypatch.setattr("models.embedding.sentence_transformer.faster", lambda model: False)
    monkeypatch.setattr("models.embedding.sentence_transformer.inputs_of", lambda model, tokenizer: None)
    plain = _embedder(models_home)
    assert plain._inputs is None and quick._inputs is not None
    ours, theirs = quick.embed(TEXTS, Lane.INGEST), plain.embed(TEXTS, Lane.INGEST)
    assert float((ours * theirs).sum(axis=1).min()) > 0.9995
    alone = np.concatenate([quick.embed([text], Lane.INGEST) for text in TEXTS])
    assert float((ours * alone).sum(axis=1).min()) > 0.9995  # padding beside longer texts is not read


def test_a_model_that_would_compute_something_else_stays_as_it_is(
    models_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def spoil(model: Any) -> int:
        layer = next(part for part in model.modules() if hasattr(part, "dense"))
        layer.dense = torch.nn.Identity()
        return 1

    monkeypatch.setattr(faster, "pack_linear_layers", spoil)
    embedder = _embedder(models_home)  # its own check would fail if the layer were still gone
    inner = faster._inner(embedder._model)
    assert inner.config._attn_implementation == "sdpa"
    assert all(type(part.dense) is torch.nn.Linear for part in inner.modules() if hasattr(part, "dense"))


def test_inputs_are_padded_on_the_side_that_the_model_wants() -> None:
    right = faster.Inputs(frozenset({"input_ids", "attention_mask", "token_type_ids"}), 9, left=False)
    left = faster.Inputs(frozenset({"input_ids", "attention_mask"}), 9, left=True)
    made = right.of([[1, 2, 3], [4]])
    assert made["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert made["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert made["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert left.of([[1, 2, 3], [4]])["input_ids"].tolist() == [[1, 2, 3], [9, 9, 4]]
    assert set(left.of([[1]])) == {"input_ids", "attention_mask"}


def test_a_model_that_reads_other_inputs_makes_them_itself(models_home: Path) -> None:
    tokenizer = FileTokenizer(weights.resolve("all-minilm-l6-v2", models_home) / "tokenizer.json", 256)

    class Other:
        tokenizer = None

        def preprocess(self, texts: list[str]) -> dict[str, Any]:
            import torch

            return {"pixel_values": torch.zeros(len(texts), 3)}

    assert faster.inputs_of(Other(), tokenizer) is None


def test_texts_of_a_turn_follow_from_their_tokens(models_home: Path) -> None:
    embedder = _embedder(models_home)
    assert embedder._texts_per_turn(256) == 25 and embedder._texts_per_turn(10_000) == 1
    with embedder._gate.question():
        assert embedder._texts_per_turn(8) == BUSY_TEXTS
