"""What a card brings: the language model on it against the processor and llama.cpp itself, many people, embedding."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.workplace import workplace
from models.bench_llm import bench_llm
from models.files.catalog import CatalogEntry, entry
from models.files.weights import resolve
from models.planning.machine import Card, cards
from models.protocols import GenerationSettings, LanguageModel, Message

USERS = (1, 4, 16, 64)
PROMPT, ANSWER = 512, 128
NO_CARD = "no card: nothing measured"
_TEXT = "The policy applies to all employees, who have to be told of it in writing before it takes effect. "


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens per second of prompt and answer."""

    name: str
    prompt_per_s: float
    answer_per_s: float


@dataclass(slots=True)
class GpuResult:
    """many: users to tokens per second of all their answers together. Embedding: texts per second, ours and raw."""

    cards: tuple[Card, ...]
    model: str
    date: str
    rates: list[Rate] = field(default_factory=list)
    many: dict[int, float] = field(default_factory=dict)
    embedding: tuple[float, float] | None = None


def measure_gpu(model_id: str = "smollm2-135m-instruct", users: tuple[int, ...] = USERS) -> GpuResult | None:
    """All of it, in some minutes; None where llama.cpp sees no card."""
    found = cards()
    if not found:
        return None
    home = Path(os.environ.get("ALIOTH_HOME", "~/.alioth")).expanduser()
    chosen = entry(model_id, home)
    file = resolve(model_id, home)
    result = GpuResult(found, chosen.id, datetime.now(UTC).date().isoformat())
    result.rates = [
        *_ours(file, chosen),
        llama_bench(file, "llama.cpp itself, card", gpu_layers=-1),
        llama_bench(file, "llama.cpp itself, processor", gpu_layers=0),
    ]
    result.many = measure_many(users)
    result.embedding = measure_embedding("cuda")
    return result


def gpu_report(result: GpuResult | None) -> str:
    """Markdown tables of the figures, or NO_CARD."""
    if result is None:
        return NO_CARD
    names = ", ".join(f"{card.name} ({card.total_bytes / 1e9:.0f} GB)" for card in result.cards)
    lines = [
        f"{result.model} on {names}, {result.date}",
        "",
        "| | prompt tokens/s | answer tokens/s |",
        "|---|---|---|",
    ]
    lines += [f"| {rate.name} | {rate.prompt_per_s:,.0f} | {rate.answer_per_s:,.1f} |" for rate in result.rates]
    lines += ["", "| people at once | tokens/s of all | against one |", "|---|---|---|"]
    one = result.many.get(1, 0.0)
    lines += [f"| {users} | {rate:,.0f} | {rate / one if one else 0:.1f} |" for users, rate in result.many.items()]
    if result.embedding is not None:
        ours, raw = result.embedding
        lines += ["", f"Embedding on the card: {ours:,.0f} texts/s, raw `encode` {raw:,.0f} ({ours / raw:.2f})."]
    return "\n".join(lines)


def _ours(file: Path, chosen: CatalogEntry) -> list[Rate]:
    threads = os.cpu_count() or 1
    rates = []
    for name, layers in (("Alioth, card", -1), ("Alioth, processor", 0)):
        done = bench_llm(file, chosen, threads=threads, gpu_layers=layers, tokens=ANSWER)
        rates.append(Rate(name, done.measured.prompt_per_s, done.measured.answer_per_s))
    return rates


def llama_bench(file: Path, name: str, *, gpu_layers: int, prompt: int = PROMPT, answer: int = ANSWER) -> Rate:
    """What llama.cpp's own `llama-bench` measures: a prompt in one call, then tokens one by one, nothing sampled."""
    from models.engine.llama_native import library

    lib: Any = library()
    model_params, context_params = lib.llama_model_default_params(), lib.llama_context_default_params()
    model_params.n_gpu_layers = 0x7FFFFFFF if gpu_layers < 0 else gpu_layers
    context_params.n_ctx, context_params.n_batch, context_params.n_ubatch = prompt + answer, prompt, prompt
    context_params.n_threads = context_params.n_threads_batch = os.cpu_count() or 1
    model = lib.llama_model_load_from_file(str(file).encode(), model_params)
    context = lib.llama_init_from_model(model, context_params)
    tokens = (lib.llama_token * prompt)(*(1000 + at % 5000 for at in range(prompt)))

    def decode(count: int) -> int:
        if lib.llama_decode(context, lib.llama_batch_get_one(tokens, count)) != 0:
            raise RuntimeError(f"llama.cpp could not compute {count} tokens")
        lib.llama_synchronize(context)
        return count

    def seconds(work: Callable[[], object]) -> float:
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    try:
        decode(prompt)  # pays for allocations
        read = min(seconds(lambda: decode(prompt)) for _ in range(3))
        write = seconds(lambda: [decode(1) for _ in range(answer)])
    finally:
        lib.llama_free(context)
        lib.llama_model_free(model)
    return Rate(name, prompt / read, answer / write)


def measure_many(users: tuple[int, ...], tokens: int = ANSWER) -> dict[int, float]:
    """Tokens per second of all answers together, through the models process with as many slots as people."""
    os.environ.update({"ALIOTH_MODELS__SLOTS": str(min(64, max(users))), "ALIOTH_MODELS__CONTEXT_TOKENS": "2048"})
    try:
        with workplace() as alioth:
            llm = alioth.llm
            _answer(llm, "warm", 8)
            return {count: _together(llm, count, tokens) for count in users}
    finally:
        for name in ("ALIOTH_MODELS__SLOTS", "ALIOTH_MODELS__CONTEXT_TOKENS"):
            os.environ.pop(name, None)


def _together(llm: LanguageModel, count: int, tokens: int) -> float:
    with ThreadPoolExecutor(count) as pool:
        started = time.perf_counter()
        written = sum(pool.map(lambda number: _answer(llm, f"user-{number}", tokens), range(count)))
        return written / (time.perf_counter() - started)


def _answer(llm: LanguageModel, user: str, tokens: int) -> int:
    asked = [Message("user", f"{user}: {_TEXT * 8}\nWrite a long text about this.")]
    settings = GenerationSettings(max_tokens=tokens, repeat_penalty=1.0)
    return sum(delta.generated_tokens for delta in llm.stream(asked, settings, None, user))


def measure_embedding(device: str, texts: int = 4096) -> tuple[float, float]:
    """Texts of about 130 tokens per second on this device (cpu, cuda): ours, and raw `encode`; medians of three."""
    from sentence_transformers import SentenceTransformer

    from models.embedding.sentence_transformer import SentenceTransformerEmbedder
    from models.files.weights import weights_sha256

    with tempfile.TemporaryDirectory() as home:
        found = entry("all-minilm-l6-v2")
        folder = resolve(found.id, Path(home))
        ours = SentenceTransformerEmbedder(
            folder, found, weights_sha256(found.id, Path(home)), threads=os.cpu_count() or 1, device=_device(device)
        )
        raw = SentenceTransformer(str(folder), device=device, trust_remote_code=False, local_files_only=True)
        passages = [f"{number}: {_TEXT * 6}" for number in range(texts)]
        rates = []
        for embed in (ours.embed_documents, lambda batch: raw.encode(batch, show_progress_bar=False)):
            embed(passages[:64])
            rates.append(texts / statistics.median(_seconds(embed, passages) for _ in range(3)))
        return rates[0], rates[1]


def _seconds(embed: Callable[[list[str]], object], passages: list[str]) -> float:
    started = time.perf_counter()
    embed(passages)
    return time.perf_counter() - started


def _device(name: str) -> Any:
    return name
