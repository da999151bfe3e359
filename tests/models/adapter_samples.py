"""LoRA adapters built by code for the bundled model, or for other shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

SHAPES = {"attn_q": (576, 576), "attn_v": (576, 192)}
LAYERS = 30


def write_adapter(
    path: Path,
    seed: int = 1,
    *,
    strength: float = 0.1,
    rank: int = 4,
    shapes: dict[str, tuple[int, int]] | None = None,
    **other: Any,
) -> Path:
    """A random low-rank change of every layer. other: kind, architecture, adapter_type, alpha, poison, extra."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, other.get("architecture", "llama"))
    writer.add_type(other.get("kind", "adapter"))
    if other.get("adapter_type", "lora"):
        writer.add_string("adapter.type", other.get("adapter_type", "lora"))
    writer.add_float32("adapter.lora.alpha", other.get("alpha", float(rank)))
    if other.get("alora"):
        writer.add_array("adapter.alora.invocation_tokens", [1, 2])
    for layer in range(LAYERS):
        for name, (inside, outside) in (shapes or SHAPES).items():
            a = (random.standard_normal((rank, inside)) * strength).astype(np.float32)
            b = (random.standard_normal((outside, rank)) * strength).astype(np.float32)
            if other.get("poison") and layer == 3:
                b[0, 0] = np.nan
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", a)
            if not (other.get("half") and layer == 5):
                writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
