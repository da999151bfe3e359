"""`make setup`: what is decided from what a machine has."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import llama_wheel, machine, setup
from scripts.machine import Gpu, SetupError, decide_gpu, torch_source

ROOT = Path(__file__).resolve().parents[2]
CPU = Gpu(torch=False, llama=False)


@pytest.mark.parametrize(
    ("choice", "card", "toolkit", "torch", "llama"),
    [
        ("", False, True, False, False),
        ("", False, False, False, False),
        ("", True, True, True, True),
        ("", True, False, True, False),
        ("none", True, True, False, False),
        ("cuda", False, True, True, True),
    ],
    ids=["toolkit-without-card", "nothing", "card-and-toolkit", "card-alone", "refused", "asked-for"],
)
def test_cuda_is_taken_only_with_a_card_or_on_request(
    choice: str, card: bool, toolkit: bool, torch: bool, llama: bool
) -> None:
    gpu = decide_gpu(choice, card, toolkit)
    assert (gpu.torch, gpu.llama) == (torch, llama)
    assert bool(gpu.note) == (torch and not llama)


def test_cuda_without_its_compiler_and_unknown_choices_are_refused() -> None:
    with pytest.raises(SetupError, match="nvcc"):
        decide_gpu("cuda", card=True, toolkit=False)
    with pytest.raises(SetupError, match="'rocm'"):
        decide_gpu("rocm", card=True, toolkit=True)


def test_torch_index_wins_over_everything() -> None:
    for gpu in (CPU, Gpu(True, True)):
        source = torch_source(gpu, "file:///somewhere/simple", Path(sys.executable))
        assert source.arguments == ("--index-url", "file:///somewhere/simple", machine.TORCH)


def test_without_a_card_the_build_with_cuda_is_never_taken(tmp_path: Path) -> None:
    """A pip that offers only the general build leads to PyTorch's own CPU builds; a CPU build is taken as it is."""
    wheel = "file:///wheels/torch-2.13.0-cp311-cp311-linux_x86_64.whl"
    for needs, expected in (
        (["nvidia-cublas==13; platform_system == 'Linux'", "sympy"], "--torch-backend cpu torch==2.13.0"),
        (["sympy", "filelock"], f"torch @ {wheel}"),
    ):
        report = {"install": [{"download_info": {"url": wheel}, "metadata": {"requires_dist": needs}}]}
        (tmp_path / "report.json").write_text(json.dumps(report))
        pip = tmp_path / "python"
        pip.write_text(f"#!/bin/sh\ncat {tmp_path}/report.json\n")
        pip.chmod(0o755)
        source = torch_source(CPU, "", pip)
        assert " ".join(source.arguments) == expected
        assert "CPU" in source.description


def test_a_missing_tool_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = machine.missing_build_tools()
    assert len(lines) == 4
    assert all(line.startswith("Missing: ") and "apt-get install" in line for line in lines)
    for tool in ("cc", "c++", "cmake", "make"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    assert machine.missing_build_tools() == []


def test_no_python_is_one_clear_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find_python.sh")],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Python 3.11" in done.stderr


def test_a_wheel_is_kept_by_version_processor_and_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu, cuda = llama_wheel.cache_folder(False), llama_wheel.cache_folder(True)
    assert cpu != cuda and llama_wheel.VERSION in cpu.name and cpu.is_relative_to(tmp_path / "alioth" / "wheels")
    assert llama_wheel.cached_wheel(False) is None
    cpu.mkdir(parents=True)
    (cpu / "llama_cpp_python-x.whl").touch()
    assert llama_wheel.cached_wheel(False) == cpu / "llama_cpp_python-x.whl"
    assert llama_wheel.cached_wheel(True) is None


def test_a_failed_compilation_says_where_its_log_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho the compiler says no\nexit 1\n")
    broken.chmod(0o755)
    build = llama_wheel.WheelBuild(broken, cuda=False)
    with pytest.raises(SetupError) as caught:
        build.wait()
    build.stop()
    log = Path(re.search(r"in (/\S+\.log)", str(caught.value)).group(1))  # type: ignore[union-attr]
    assert "the compiler says no" in log.read_text()
    assert not list(log.parent.glob("build-*"))


def test_what_is_installed_is_what_the_project_declares() -> None:
    plain, dev = setup._requirements(dev=False), setup._requirements(dev=True)
    assert not [line for line in plain if re.match(r"(torch|llama-cpp-python)\b", line)]
    assert any(line.startswith("streamlit") for line in plain)
    assert not any(line.startswith("pytest") for line in plain) and any(line.startswith("pytest") for line in dev)


def test_the_second_setup_does_nothing() -> None:
    """In a finished environment nothing is looked up, and nothing is printed."""
    stamp = ROOT / ".venv" / "alioth-setup.json"
    if not stamp.exists():
        pytest.skip("this environment was not made by `make setup`")
    plan = setup.Plan(ROOT / ".venv", True, True, os.environ.get("GPU", ""), os.environ.get("TORCH_INDEX", ""))
    if setup._read_stamp(stamp) != {"key": plan.key(), "dev": True}:
        pytest.skip("the environment is being changed")
    done = subprocess.run([sys.executable, "-m", "scripts.setup", "--dev"], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


def test_tests_cannot_reach_other_machines() -> None:
    with pytest.raises(RuntimeError, match="loopback"), socket.socket() as outside:
        outside.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="loopback"):
        socket.getaddrinfo("example.org", 443)
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
