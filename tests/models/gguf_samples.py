"""Small GGUF and safetensors files, written field by field, so that tests can break any of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

TYPES = {bool: 7, int: 4, float: 6, str: 8}


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(one: Any) -> bytes:
    """Type and value as GGUF writes them; a list becomes an array of its first element's type."""
    if isinstance(one, list):
        inner = TYPES[type(one[0])]
        return struct.pack("<IIQ", 9, inner, len(one)) + b"".join(value(item)[4:] for item in one)
    form = {bool: "<B", int: "<I", float: "<f"}
    body = text(one) if isinstance(one, str) else struct.pack(form[type(one)], one)
    return struct.pack("<I", TYPES[type(one)]) + body


def gguf_bytes(pairs: dict[str, Any], tensors: dict[str, tuple[int, ...]], version: int = 3) -> bytes:
    """A whole file; every tensor is F32, its data zeros."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(text(key) + value(one) for key, one in pairs.items())
    offset = 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += -(-size // 32) * 32
    return head + b"\0" * (-len(head) % 32) + b"\0" * offset


def llm_pairs(architecture: str = "llama", **more: Any) -> dict[str, Any]:
    """What a language model of two layers says of itself."""
    own = {
        "block_count": 2,
        "context_length": 4096,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
    }
    return {
        "general.architecture": architecture,
        "general.name": "Sample",
        **{f"{architecture}.{key}": one for key, one in own.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "<|im_start|>", "<|im_end|>"],
        "tokenizer.chat_template": "<|im_start|>",
        **more,
    }


TENSORS: dict[str, tuple[int, ...]] = {
    "token_embd.weight": (64, 4),
    "blk.0.attn_q.weight": (64, 64),
    "blk.1.attn_q.weight": (64, 64),
    "output_norm.weight": (64,),
}


def write_gguf(path: Path, pairs: dict[str, Any] | None = None) -> Path:
    path.write_bytes(gguf_bytes(llm_pairs() if pairs is None else pairs, TENSORS))
    return path


def safetensors_bytes(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A whole file; every tensor is F32, its data zeros."""
    rows: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        rows[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(rows).encode()
    return struct.pack("<Q", len(head)) + head + b"\0" * at
