"""What a GGUF file says of its model: kind, size, shape, window and template. Runs nothing of it, loads nothing."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from core.errors import WeightsError
from models.files.gguf_read import Counted, RawHeader, TensorInfo, read_raw

FileRole = Literal["llm", "embedder", "reranker", "adapter", "projector"]

_POOLING_RANK: Final = 4
_LARGEST: Final = 1 << 31
_ENCODERS: Final = frozenset({"bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3",
                              "modern-bert", "eurobert", "t5encoder", "gemma-embedding"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Facts of one file.

    quantisation: type of most weights, or the file's own word for a mixture (`Q4_K_M`). weights: parameters.
    kv_heads: per layer. key_length, value_length: of one head. context: tokens the model was trained for.
    layer_bytes: weights of each layer; other_bytes: of embeddings, output and the rest. attention_compressed: width
    of a row of the cache where keys and values share one (MLA), else 0. file_role: what the file can be used for.
    embedding_bytes, output_bytes: of other_bytes; the second is 0 where one table serves as both. parts: files that
    the model is split into, this being one of them.
    """

    path: Path
    size_bytes: int
    architecture: str
    name: str
    quantisation: str
    weights: int
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    attention_compressed: int
    context: int
    vocabulary: int
    experts: int
    chat_template: str
    file_role: FileRole
    layer_bytes: tuple[int, ...]
    other_bytes: int
    embedding_bytes: int = 0
    output_bytes: int = 0
    parts: int = 1

    @property
    def tensor_bytes(self) -> int:
        return sum(self.layer_bytes) + self.other_bytes


def read_header(path: Path) -> GgufHeader:
    """The facts of a GGUF file.

    Raises:
        WeightsError: the file is missing, cut off, damaged, hostile, or of an architecture that llama.cpp does not
            know.
    """
    raw = read_raw(path)
    facts = _Facts(path, raw.pairs)
    architecture = facts.text("general.architecture")
    role = _role(architecture, facts, raw)
    if role not in ("adapter", "projector") and architecture not in known_architectures():
        raise WeightsError(
            f"'{path}' is of the architecture {architecture!r}, which this llama.cpp does not know.",
            "Take another model, or a newer Alioth.",
        )
    layers = facts.number(f"{architecture}.block_count", 0, 4096)
    heads = facts.first(f"{architecture}.attention.head_count", 0, 65_536)
    width = facts.number(f"{architecture}.embedding_length", 0)
    length = width // heads if heads else 0
    key_length = facts.number(f"{architecture}.attention.key_length", length, 65_536)
    latent = facts.number(f"{architecture}.attention.kv_lora_rank", 0, 65_536)
    rope = facts.number(f"{architecture}.rope.dimension_count", 0, 65_536)
    layer_bytes, other_bytes = _sizes(raw.tensors, layers)
    return GgufHeader(
        path=path,
        size_bytes=raw.size_bytes,
        architecture=architecture,
        name=facts.text("general.name", architecture)[:200],
        quantisation=_quantisation(facts, raw.tensors),
        weights=sum(tensor.weights for tensor in raw.tensors),
        layers=layers,
        width=width,
        feed_forward=facts.first(f"{architecture}.feed_forward_length", 0),
        heads=heads,
        kv_heads=facts.per_layer(f"{architecture}.attention.head_count_kv", heads, layers),
        key_length=key_length,
        value_length=facts.number(f"{architecture}.attention.value_length", length, 65_536),
        attention_compressed=latent + rope if latent else 0,
        context=facts.number(f"{architecture}.context_length", 0),
        vocabulary=_vocabulary(facts, raw, architecture),
        experts=facts.number(f"{architecture}.expert_count", 0, 65_536),
        chat_template=facts.text("tokenizer.chat_template", ""),
        file_role=role,
        layer_bytes=layer_bytes,
        other_bytes=other_bytes,
        embedding_bytes=sum(one.size_bytes for one in raw.tensors if one.name == "token_embd.weight"),
        output_bytes=sum(one.size_bytes for one in raw.tensors if one.name == "output.weight"),
        parts=max(1, facts.number("split.count", 1, 65_536)),
    )


def require_language_model(header: GgufHeader) -> None:
    """Nothing when the file can answer questions.

    Raises:
        WeightsError: it is an embedder, a reranker, an adapter, a projector, a part of a model, or has no vocabulary
            or window.
    """
    if header.file_role != "llm":
        kinds = {"embedder": "an embedding model", "reranker": "a reranker", "adapter": "a LoRA adapter"}
        kind = kinds.get(header.file_role, "the picture part of another model")
        raise WeightsError(
            f"'{header.path}' is {kind} ({header.architecture}), but a language model is needed here.",
            "`alioth models adapters import` takes adapters."
            if header.file_role == "adapter"
            else "Take an instruct or chat model in GGUF.",
        )
    if header.parts > 1:
        raise WeightsError(
            f"'{header.path}' is one of {header.parts} parts of a model; one whole file is needed.",
            "Join them with llama.cpp's `llama-gguf-split --merge FIRST-PART WHOLE.gguf`, or get one whole file.",
        )
    if not (header.layers and header.context and header.vocabulary and header.weights):
        raise WeightsError(
            f"'{header.path}' lacks what a language model needs: {header.layers} layers, a window of "
            f"{header.context} tokens, a vocabulary of {header.vocabulary}.",
            "It may be a part of a model or only a vocabulary; take the whole file.",
        )


@functools.cache
def known_architectures() -> frozenset[str]:
    """Names by the package `gguf`, which comes from the llama.cpp project."""
    from gguf.constants import MODEL_ARCH_NAMES

    return frozenset(MODEL_ARCH_NAMES.values())


class _Facts:
    """Reads values with the type they must have."""

    def __init__(self, path: Path, pairs: Mapping[str, Any]) -> None:
        self._path = path
        self._pairs = pairs

    def _wrong(self, key: str, value: object, rule: str) -> WeightsError:
        return WeightsError(
            f"'{self._path}' has {key} = {str(value)[:80]!r}; {rule}.",
            "The file is damaged or was made by a faulty tool.",
        )

    def text(self, key: str, default: str | None = None) -> str:
        value = self._pairs.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "it must be a text")
        return value

    def number(self, key: str, default: int, most: int = _LARGEST) -> int:
        value = self._pairs.get(key, default)
        if not isinstance(value, int) or not 0 <= value <= most:
            raise self._wrong(key, value, f"it must be a whole number from 0 to {most}")
        return int(value)

    def first(self, key: str, default: int, most: int = _LARGEST) -> int:
        """A number, or the largest where the file gives one per layer."""
        value = self._pairs.get(key, default)
        if isinstance(value, tuple) and value:
            for one in value:
                self._require(key, one, most)
            return int(max(value))
        return self.number(key, default, most)

    def per_layer(self, key: str, default: int, layers: int) -> tuple[int, ...]:
        value = self._pairs.get(key, default)
        if isinstance(value, tuple):
            if len(value) != layers:
                raise self._wrong(key, f"{len(value)} values", f"it must be one per layer, {layers}")
            for one in value:
                self._require(key, one, 65_536)
            return tuple(int(one) for one in value)
        return (self.number(key, default, 65_536),) * layers

    def length(self, key: str) -> int:
        value = self._pairs.get(key)
        return value.length if isinstance(value, Counted) else len(value) if isinstance(value, tuple) else 0

    def get(self, key: str) -> object:
        return self._pairs.get(key)

    def _require(self, key: str, one: object, most: int) -> None:
        if not isinstance(one, int) or not 0 <= one <= most:
            raise self._wrong(key, one, f"it must be a whole number from 0 to {most}")


def _role(architecture: str, facts: _Facts, raw: RawHeader) -> FileRole:
    kind = facts.get("general.type")
    if kind == "adapter" or any(tensor.name.endswith((".lora_a", ".lora_b")) for tensor in raw.tensors[:64]):
        return "adapter"
    if kind == "mmproj" or architecture in ("clip", "mmproj"):
        return "projector"
    pooling = facts.get(f"{architecture}.pooling_type")
    if pooling == _POOLING_RANK or any(tensor.name.startswith("cls.output") for tensor in raw.tensors):
        return "reranker"
    if architecture in _ENCODERS or facts.get(f"{architecture}.attention.causal") is False or pooling:
        return "embedder"
    return "llm"


def _quantisation(facts: _Facts, tensors: tuple[TensorInfo, ...]) -> str:
    from gguf.constants import LlamaFileType

    number = facts.get("general.file_type")
    try:
        return (
            LlamaFileType(number if isinstance(number, int) else -1).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        )
    except ValueError:
        by_type: Counter[str] = Counter()
        for tensor in tensors:
            by_type[tensor.type] += tensor.weights
        return by_type.most_common(1)[0][0] if by_type else "none"


def _vocabulary(facts: _Facts, raw: RawHeader, architecture: str) -> int:
    listed = facts.length("tokenizer.ggml.tokens")
    return listed or facts.number(f"{architecture}.vocab_size", 0)


def _sizes(tensors: tuple[TensorInfo, ...], layers: int) -> tuple[tuple[int, ...], int]:
    per_layer, other = [0] * layers, 0
    for tensor in tensors:
        head, _, rest = tensor.name.partition(".")
        number = rest.partition(".")[0]
        if head == "blk" and number.isdecimal() and len(number) < 6 and int(number) < layers:
            per_layer[int(number)] += tensor.size_bytes
        else:
            other += tensor.size_bytes
    return tuple(per_layer), other
