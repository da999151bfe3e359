"""What is read from /proc/cpuinfo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.embedding.cpu import has_fast_bfloat16, physical_cores


def cpuinfo(folder: Path, cores: list[int], flags: str) -> Path:
    file = folder / "cpuinfo"
    part = "processor\t: {}\nphysical id\t: 0\ncore id\t\t: {}\nflags\t\t: {}\n"
    file.write_text("\n".join(part.format(number, core, flags) for number, core in enumerate(cores)))
    return file


def test_hyper_threads_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert physical_cores(cpuinfo(tmp_path, [0, 1, 0, 1], "sse")) == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)
    assert physical_cores(cpuinfo(tmp_path, [0, 1, 0, 1], "sse")) == 1


def test_without_cpuinfo_every_usable_cpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    assert physical_cores(tmp_path / "absent") == 3
    assert not has_fast_bfloat16(tmp_path / "absent")


def test_bfloat16_needs_the_flag_on_every_cpu(tmp_path: Path) -> None:
    assert has_fast_bfloat16(cpuinfo(tmp_path, [0, 1], "sse avx512_bf16 fma"))
    assert has_fast_bfloat16(cpuinfo(tmp_path, [0, 1], "amx_bf16"))
    file = cpuinfo(tmp_path, [0, 1], "avx512f")
    assert not has_fast_bfloat16(file)
