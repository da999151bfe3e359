"""What this machine has: build tools, an NVIDIA card, a pip that knows where PyTorch is. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch==2.13.0"


class SetupError(Exception):
    """Something that a person must decide or install; its text is one line."""


def missing_build_tools() -> list[str]:
    """One line for each tool that compiling the language model needs and this machine lacks."""
    wanted = {
        "a C compiler (cc, gcc or clang)": ("cc", "gcc", "clang"),
        "a C++ compiler (c++, g++ or clang++)": ("c++", "g++", "clang++"),
        "cmake": ("cmake",),
        "make or ninja": ("make", "ninja"),
    }
    hint = "Debian, Ubuntu: apt-get install build-essential cmake"
    return [f"Missing: {what}. {hint}." for what, names in wanted.items() if not any(map(shutil.which, names))]


def has_nvidia_card() -> bool:
    """True when the driver lists a card; a toolkit without a card does not count."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return False
    done = subprocess.run([smi, "-L"], capture_output=True, text=True)
    return done.returncode == 0 and "GPU 0" in done.stdout


@dataclass(frozen=True)
class Gpu:
    """torch: take the CUDA build of PyTorch. llama: compile the language model for CUDA. note: one line or empty."""

    torch: bool
    llama: bool
    note: str = ""


def decide_gpu(choice: str, card: bool, toolkit: bool) -> Gpu:
    """Args: choice: the GPU variable (empty, `cuda` or `none`); card, toolkit: what was found.

    Raises:
        SetupError: an unknown choice, or CUDA asked for without its compiler.
    """
    if choice not in ("", "cuda", "none"):
        raise SetupError(f"GPU is {choice!r}; it may be 'cuda', 'none' or empty.")
    if choice == "none" or (choice == "" and not card):
        return Gpu(False, False)
    if not toolkit:
        if choice == "cuda":
            raise SetupError("GPU=cuda needs the CUDA toolkit, and nvcc was not found. Install it or leave GPU out.")
        return Gpu(True, False, "No CUDA toolkit (nvcc): the language model is compiled for the CPU.")
    return Gpu(True, True)


def cpu_fingerprint() -> str:
    """Short text that changes when compiled code may no longer fit: architecture, CPU flags, C library."""
    flags: set[str] = set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    raw = "|".join([sys.platform, platform.machine(), *platform.libc_ver(), *sorted(flags)])
    return hashlib.sha256(raw.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class TorchSource:
    """How to install PyTorch. arguments: for `uv pip install`. description: for the line shown beforehand."""

    arguments: tuple[str, ...]
    description: str


def torch_source(gpu: Gpu, index: str, python: Path) -> TorchSource:
    """Where to take PyTorch from, never the CUDA build on a machine without a card.

    Args:
        index: the TORCH_INDEX variable; it wins over everything.
        python: of the environment; its pip is asked what it would take.
    """
    if index:
        return TorchSource(("--index-url", index, TORCH), f"PyTorch from {index}")
    if gpu.torch:
        return TorchSource((TORCH,), "PyTorch with CUDA (about 3 GB)")
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return TorchSource((TORCH,), "PyTorch (about 100 MB)")
    found = _pip_finds_torch(python)
    if found is not None:
        place = "on this machine" if found.startswith("file:") else "from pip's index (about 200 MB)"
        return TorchSource((f"torch @ {found}",), f"PyTorch for the CPU {place}")
    return TorchSource(
        ("--torch-backend", "cpu", TORCH),
        "PyTorch for the CPU from PyTorch's own index (about 200 MB; TORCH_INDEX=… names another place)",
    )


def _pip_finds_torch(python: Path) -> str | None:
    """Address of the build that pip would take, when that build is free of CUDA."""
    command = [str(python), "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    done = subprocess.run([*command, "--report", "-", TORCH], capture_output=True, text=True)
    if done.returncode != 0:
        return None
    try:
        item = json.loads(done.stdout)["install"][0]
        needs = item["metadata"].get("requires_dist", [])
        address = str(item["download_info"]["url"])
    except (ValueError, KeyError, IndexError):
        return None
    return None if any(need.startswith(("nvidia", "cuda", "triton")) for need in needs) else address


def pip_sources(python: Path) -> list[str]:
    """What pip was told about where packages are, as arguments for uv, which does not look there by itself."""
    arguments: list[str] = []
    for key, option in (("find-links", "--find-links"), ("extra-index-url", "--extra-index-url")):
        variable = "PIP_" + key.replace("-", "_").upper()
        value = os.environ.get(variable) or _pip_config(python, f"global.{key}")
        for place in value.split():
            if _reachable(place):
                arguments += [option, place]
    index = os.environ.get("PIP_INDEX_URL") or _pip_config(python, "global.index-url")
    if index:
        arguments += ["--index-url", index]
    return [*arguments, "--index-strategy", "unsafe-best-match"] if arguments else []


def _pip_config(python: Path, key: str) -> str:
    done = subprocess.run([python, "-m", "pip", "config", "get", key], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _reachable(place: str) -> bool:
    path = place.removeprefix("file://")
    return path.startswith(("http:", "https:")) or Path(path).exists()
