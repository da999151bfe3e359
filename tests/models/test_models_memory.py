"""The embedder's process does not grow with the number of texts."""

from __future__ import annotations

import subprocess
import sys

GROWTH_MB = 70
"""Over 60 calls of differing shapes. Torch's own caches made it grow by 140 MB."""

PROGRAM = """
import random, tempfile, psutil
from pathlib import Path
from models.files import weights
from models.files.catalog import entry
from models.queueing.lanes import ComputeGate
from models.protocols import Lane
from models.embedding.sentence_transformer import SentenceTransformerEmbedder

home, known = Path(tempfile.mkdtemp()), entry("all-minilm-l6-v2")
embedder = SentenceTransformerEmbedder(
    weights.resolve(known.id, home), known, known.sha256, threads=1, gate=ComputeGate()
)
chance = random.Random(1)

def embed(calls):
    for _ in range(calls):
        text = "word " * chance.randint(5, 250)
        embedder.embed([text] * chance.choice([1, 2, 3, 5, 8]), Lane.INGEST)
    return psutil.Process().memory_info().rss / 1e6

before = embed(40)
print(embed(60) - before)
"""


def test_texts_of_ever_new_lengths_do_not_make_the_process_grow() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.strip().splitlines()[-1]) < GROWTH_MB
