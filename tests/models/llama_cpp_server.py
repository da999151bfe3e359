"""A real llama.cpp server in a process of its own: `python llama_cpp_server.py MODEL SLOTS WINDOW [LORA...]`.

Prints its address as JSON when it answers, and ends with its standard input, so that it never outlives a test run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path


def main(model: str, slots: int, window: int, *loras: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = window * slots
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.endpoint_slots = True
    params.ui = False
    params.warmup = False
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(lora, 0.0) for lora in loras]
    server = xllamacpp.Server(params)
    print(json.dumps({"url": f"{server.listening_address}/v1"}), flush=True)
    sys.stdin.read()
    os._exit(0)  # the server's own threads would go on


class LlamaServer:
    """The process, seen from a test."""

    def __init__(self, model: Path, slots: int, window: int = 1024, loras: Sequence[Path] = ()) -> None:
        script = Path(__file__)
        command = [sys.executable, str(script), str(model), str(slots), str(window), *map(str, loras)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.url = str(json.loads(self.process.stdout.readline())["url"])

    def busy(self) -> int:
        with urllib.request.urlopen(f"{self.url.removesuffix('/v1')}/slots", timeout=30) as answer:
            return sum(slot["is_processing"] for slot in json.load(answer))

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
