"""Embedders of the kinds in the catalogue load as their own files say: XLM-R with CLS, Qwen3 with the last token.

The weights are random, so that the known-pair check refuses them, rightly; what is below it is tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import WeightsError
from models.embedding.sentence_transformer import SentenceTransformerEmbedder
from models.files.catalog import CatalogEntry, entry, location
from models.files.safetensors_read import require_safe_folder
from models.files.store import Wanted, import_model
from models.files.weights import resolve, weights_sha256

TEXTS = ["annual leave", "The pump must be switched off before the filter is cleaned.", "年假", "a"]
WIDTH = 32


class Unchecked(SentenceTransformerEmbedder):
    """Without the known pairs."""

    def _check(self, entry: CatalogEntry) -> None:
        pass


def tokenizer(end: str, left: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<s>", "</s>"]
    words = {word: number for number, word in enumerate([*special, *alphabet])}
    fast = Tokenizer(models.BPE(vocab=words, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    single = f"$A {end}" if left else f"<s> $A {end}"
    fast.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=256,
        padding_side="left" if left else "right",
    )  # fmt: skip


def bge_m3_like() -> tuple[Any, Any, str]:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=300, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=300, pad_token_id=0, bos_token_id=1, eos_token_id=2, type_vocab_size=1,
    )  # fmt: skip
    return XLMRobertaModel(config, add_pooling_layer=False), tokenizer("</s>", left=False), "cls"


def qwen3_like() -> tuple[Any, Any, str]:
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=300, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, intermediate_size=64, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return Qwen3Model(config), tokenizer("</s>", left=True), "lasttoken"


def write(folder: Path, kind: str, *, shards: bool) -> Path:
    """A folder as such a model is published in."""
    import torch

    torch.manual_seed(7)
    model, words, pooling = bge_m3_like() if kind == "bge-m3" else qwen3_like()
    model.save_pretrained(folder, max_shard_size="40KB" if shards else "1GB")
    words.save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": name == pooling for name in ("mean_tokens", "max_tokens", "lasttoken")}
    modes["pooling_mode_cls_token"] = pooling == "cls"
    pooled = {"word_embedding_dimension": WIDTH, **modes, "include_prompt": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooled))
    names = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
        for at, (path, name) in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256, "do_lower_case": False}))
    prompts = {"query": "Instruct: find passages\nQuery:", "document": ""} if kind != "bge-m3" else {}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def expected(folder: Path, kind: str, text: str) -> np.ndarray[Any, Any]:
    """One text through transformers alone: no padding, the pooling written out here."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    words, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = model(**words(text, return_tensors="pt")).last_hidden_state[0]
    row = (rows[0] if kind == "bge-m3" else rows[-1]).float().numpy()
    return np.asarray(row / np.linalg.norm(row))


@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
@pytest.mark.parametrize("kind", ["bge-m3", "qwen3-embedding"])
def test_a_folder_is_taken_in_and_computes_what_transformers_computes(tmp_path: Path, kind: str, shards: bool) -> None:
    source = tmp_path / "tiny"
    source.mkdir()
    write(source, kind, shards=shards)
    assert (source / "model.safetensors.index.json").exists() is shards
    home = tmp_path / "home"
    made = import_model(source, home, Wanted(id="tiny", languages=("en",)))
    assert (made.role, made.dimension, made.window) == ("embedder", WIDTH, 256)
    assert made.query_prefix == ("" if kind == "bge-m3" else "Instruct: find passages\nQuery:")
    folder, sha256 = resolve("tiny", home), weights_sha256("tiny", home)
    assert len(sha256) == 64 and folder == location(entry("tiny", home), home)

    embedder = Unchecked(folder, made, sha256, threads=1, device="cpu", dtype="float32")
    vectors = embedder.embed_documents(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert float(vector @ expected(folder, kind, text)) > 0.9999  # whatever stood beside it in the batch
    question = embedder.embed_query("年假")
    assert float(question @ expected(folder, kind, made.query_prefix + "年假")) > 0.9999


def test_random_weights_are_refused_by_the_known_pair(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    made = import_model(write(tmp_path / "tiny", "bge-m3", shards=False), tmp_path / "home", Wanted(id="tiny"))
    with pytest.raises(WeightsError, match=r"wrong embeddings.*similarity"):
        SentenceTransformerEmbedder(
            resolve("tiny", tmp_path / "home"), made, "0" * 64, threads=1, device="cpu", dtype="float32"
        )


def test_a_part_that_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    write(tmp_path / "tiny", "bge-m3", shards=True)
    require_safe_folder(tmp_path / "tiny")
    part = sorted((tmp_path / "tiny").glob("model-*.safetensors"))[1]
    part.unlink()
    with pytest.raises(WeightsError, match=f"lacks the part '{part.name}'"):
        import_model(tmp_path / "tiny", tmp_path / "home", Wanted(id="tiny"))
    (tmp_path / "tiny" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')
    with pytest.raises(WeightsError, match="lacks the part"):
        require_safe_folder(tmp_path / "tiny")
