"""Measures a language model on this machine: through our owner thread, beside the bare stream of llama_cpp."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.engine.llama import LlamaCppModel
from models.engine.llama_native import has_card
from models.engine.load_options import LoadOptions
from models.files.catalog import CatalogEntry
from models.files.gguf import read_header
from models.planning.machine import Measured
from models.protocols import Delta, GenerationSettings, Message

_TEXT = "The policy applies to all employees, who have to be told of it in writing before it takes effect. "


@dataclass(frozen=True, slots=True)
class LlmBench:
    """Tokens per second of prompt and answer, of ours and of the bare stream; ratio: ours over bare, for answers."""

    measured: Measured
    prompt_tokens: int
    answer_tokens: int
    bare_prompt_per_s: float
    bare_answer_per_s: float

    @property
    def ratio(self) -> float:
        return self.measured.answer_per_s / max(self.bare_answer_per_s, 1e-9)


def bench_llm(file: Path, entry: CatalogEntry, *, threads: int, gpu_layers: int, tokens: int = 128) -> LlmBench:
    """One run of each, after the other, greedy, of the same prompt. Loads the model twice; takes seconds to minutes."""
    header = read_header(file)
    model = LlamaCppModel(file, entry, LoadOptions(threads, 2048, gpu_layers=gpu_layers))
    try:
        prompt = [Message("user", f"{_TEXT * 24}\nWrite a long text about this.")]
        ours = _ours(model, prompt, tokens)
    finally:
        model.close()
    bare = _bare(file, f"{_TEXT * 24}\nWrite a long text about this.", threads, gpu_layers, tokens)
    measured = Measured(
        model=entry.id,
        prompt_per_s=ours[0] / ours[1],
        answer_per_s=ours[2] / ours[3],
        weights_bytes=header.tensor_bytes,
        weights=header.weights,
        layers_on_card=header.layers if gpu_layers and has_card() else 0,
    )
    return LlmBench(measured, ours[0], ours[2], bare[0] / bare[1], bare[2] / bare[3])


def _ours(model: LlamaCppModel, prompt: list[Message], tokens: int) -> tuple[int, float, int, float]:
    """Prompt tokens, seconds to the first piece, further tokens, their seconds."""
    started = time.monotonic()
    first, last = 0.0, Delta()
    for delta in model.stream(prompt, GenerationSettings(max_tokens=tokens, repeat_penalty=1.0), None, "bench"):
        if delta.text and not first:
            first = time.monotonic()
        last = delta
    ended = time.monotonic()
    first = first or ended
    return last.prompt_tokens, max(first - started, 1e-6), max(1, last.generated_tokens - 1), max(ended - first, 1e-6)


def _bare(file: Path, text: str, threads: int, gpu_layers: int, tokens: int) -> tuple[int, float, int, float]:
    """The same through the high-level class of llama-cpp-python."""
    from llama_cpp import Llama

    bare: Any = Llama(
        str(file), n_ctx=2048, n_batch=256, n_threads=threads, n_threads_batch=threads, n_gpu_layers=gpu_layers,
        verbose=False,
    )  # fmt: skip
    try:
        prompt = bare.tokenize(text.encode(), add_bos=False)
        bare.eval(prompt[:16])
        bare.reset()
        started, first, count = time.monotonic(), 0.0, 0
        for _ in bare.generate(prompt, temp=0.0, repeat_penalty=1.0):
            first = first or time.monotonic()
            count += 1
            if count == tokens:
                break
        ended = time.monotonic()
        return len(prompt), max(first - started, 1e-6), max(1, count - 1), max(ended - first, 1e-6)
    finally:
        bare.close()
