"""Owner and user locks between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.locks import AddressFile, OwnerLock, UserLock


def _sleeper(*pass_fds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=pass_fds)


def test_only_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = OwnerLock(tmp_path, "x"), OwnerLock(tmp_path, "x")
    assert first.acquire()
    assert not second.acquire(wait_s=0)
    assert second.held()
    first.release()
    assert not second.held()
    assert second.acquire(wait_s=0)
    second.release()


def test_the_lock_lives_as_long_as_the_child_that_got_it(tmp_path: Path) -> None:
    lock, other = OwnerLock(tmp_path, "x"), OwnerLock(tmp_path, "x")
    assert lock.acquire()
    assert lock.fd is not None
    child = _sleeper(lock.fd)
    try:
        lock.release()
        assert other.held()
    finally:
        child.kill()
        child.wait()
    assert not other.held()


def test_a_killed_owner_frees_the_lock(tmp_path: Path) -> None:
    script = (
        "import sys,time; from pathlib import Path; from app.locks import OwnerLock\n"
        "l=OwnerLock(Path(sys.argv[1]),'x'); assert l.acquire(); print('held',flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert OwnerLock(tmp_path, "x").held()
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
    assert OwnerLock(tmp_path, "x").acquire(wait_s=0)


def test_a_probe_does_not_keep_an_owner_out(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path, "x")
    assert lock.acquire()
    lock.release()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert not OwnerLock(tmp_path, "x").held()
        assert lock.acquire()
        lock.release()


def test_nobody_is_alone_beside_a_user(tmp_path: Path) -> None:
    user, guard = UserLock(tmp_path, "x"), UserLock(tmp_path, "x")
    user.share()
    assert not guard.try_alone()
    user.close()
    assert guard.try_alone()
    guard.unlock()
    guard.close()


def test_the_address_file_is_private_and_whole(tmp_path: Path) -> None:
    address = AddressFile(tmp_path, "models")
    assert address.load() == {}
    address.write({"url": "http://127.0.0.1:1", "token": "t"})
    assert address.load()["token"] == "t"
    assert (tmp_path / "models.json").stat().st_mode & 0o077 == 0
    (tmp_path / "models.json").write_text('{"url": "ht', "utf-8")
    assert address.load() == {}
