"""Compile llama-cpp-python for this machine, once: the wheel is kept in the user's cache. Standard library only."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.machine import SetupError, cpu_fingerprint

VERSION = "0.3.36"
_STEP = re.compile(r"\[(\d+)/(\d+)\]")


def cache_folder(cuda: bool) -> Path:
    """Where the wheel for this version, CPU and card lies or will lie."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    device = "cuda" if cuda else "cpu"
    key = hashlib.sha256(f"{cpu_fingerprint()} {_switches(cuda)}".encode()).hexdigest()[:12]
    return root / "alioth" / "wheels" / f"llama-cpp-python-{VERSION}-{device}-{key}"


def _switches(cuda: bool) -> str:
    """For cmake. LLAVA_BUILD: pictures as input, which Alioth has no use for, are a tenth of the work."""
    given = os.environ.get("CMAKE_ARGS", "")
    return f"-DLLAVA_BUILD=OFF -DGGML_NATIVE=ON -DGGML_CUDA={'ON' if cuda else 'OFF'} {given}".strip()


def cached_wheel(cuda: bool) -> Path | None:
    """The wheel made earlier, or None."""
    return next(iter(sorted(cache_folder(cuda).glob("*.whl"))), None)


class WheelBuild:
    """A compilation that runs beside the other downloads. Start it, then `wait`."""

    def __init__(self, python: Path, cuda: bool) -> None:
        self._cuda = cuda
        self._folder = cache_folder(cuda)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._work = Path(tempfile.mkdtemp(prefix="build-", dir=self._folder.parent))
        self._log = self._work / "build.log"
        self._started = time.monotonic()
        environment = {**os.environ, "CMAKE_ARGS": _switches(cuda)}
        command = [
            str(python),
            "-m",
            "pip",
            "wheel",
            "-v",
            "--no-deps",
            "--no-cache-dir",
            "--wheel-dir",
            str(self._work),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"llama-cpp-python=={VERSION}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> Path:
        """The finished wheel, after lines of progress.

        Raises:
            SetupError: the compiler failed; names the log.
        """
        ticker = _Ticker()
        while True:
            try:
                code = self._process.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                ticker.show(self._progress())
        ticker.end()
        if code != 0:
            raise SetupError(f"Compiling llama-cpp-python failed; the compiler's words are in {self._keep_log()}.")
        return self._store()

    def stop(self) -> None:
        """End the compilation and remove what it left. Harmless when it has finished."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, 15)
            self._process.wait()
        shutil.rmtree(self._work, ignore_errors=True)

    def _progress(self) -> str:
        elapsed = int(time.monotonic() - self._started)
        text = f"Compiling llama-cpp-python: {elapsed // 60} min {elapsed % 60:02d} s"
        steps = _STEP.findall(self._log.read_text(errors="replace"))
        return f"{text}, step {steps[-1][0]} of {steps[-1][1]}" if steps else f"{text} (about 5 min on 2 cores, once)"

    def _store(self) -> Path:
        wheel = next(self._work.glob("*.whl"))
        self._folder.mkdir(exist_ok=True)
        kept = self._folder / wheel.name
        wheel.replace(kept)
        return kept

    def _keep_log(self) -> Path:
        kept = self._folder.parent / "llama-cpp-python-build.log"
        self._log.replace(kept)
        return kept


class _Ticker:
    """One line that changes on a terminal, a line every 30 seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._last = -30.0

    def show(self, text: str) -> None:
        if self._terminal:
            print(f"\r\033[K{text}", end="", flush=True)
        elif time.monotonic() - self._last >= 30:
            self._last = time.monotonic()
            print(text, flush=True)

    def end(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", flush=True)
