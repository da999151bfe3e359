"""Database: writers never lose an update, and every failure is said plainly."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from core.errors import SchemaError, SettingsError, StorageError
from storage.database import Database, slices
from storage.migrate import migrate

COUNT_UP = """
import sys
from sqlalchemy import text
from storage.database import Database
db = Database(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with db.write() as session:
        n = session.scalar(text("SELECT failed_sign_ins FROM users"))
        session.execute(text("UPDATE users SET failed_sign_ins = :n"), {"n": n + 1})
"""

ONE_USER = text(
    "INSERT INTO users (id, name, name_folded, password_hash, is_admin, language, created_at, failed_sign_ins) "
    "VALUES ('u', 'u', 'u', '', '0', '', '2026-01-01 00:00:00', 0)"
)


def test_concurrent_read_modify_writes_of_threads_and_processes_all_survive_on_sqlite(
    sqlite_db: Database, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    with sqlite_db.write() as session:
        session.execute(ONE_USER)
    processes = [start_python(COUNT_UP, sqlite_db.url, 60) for _ in range(2)]

    def count_up() -> None:
        for _ in range(60):
            with sqlite_db.write() as session:
                n = session.scalar(text("SELECT failed_sign_ins FROM users")) or 0
                session.execute(text("UPDATE users SET failed_sign_ins = :n"), {"n": n + 1})

    threads = [threading.Thread(target=count_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with sqlite_db.read() as session:
        assert session.scalar(text("SELECT failed_sign_ins FROM users")) == 5 * 60


def test_sqlite_is_durable_waits_for_locks_and_checks_references(sqlite_db: Database) -> None:
    with sqlite_db.read() as session:
        settings = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_an_error_inside_a_write_rolls_everything_back(db: Database) -> None:
    with pytest.raises(RuntimeError, match="midway"), db.write() as session:
        session.execute(ONE_USER)
        raise RuntimeError("midway")
    with db.read() as session:
        assert session.scalar(text("SELECT count(*) FROM users")) == 0


def test_what_a_read_session_changes_is_not_kept(db: Database) -> None:
    with db.read() as session:
        session.execute(ONE_USER)
    with db.read() as session:
        assert session.scalar(text("SELECT count(*) FROM users")) == 0


def test_a_read_sees_one_snapshot_while_another_connection_writes(sqlite_db: Database) -> None:
    with sqlite_db.read() as reader:
        assert reader.scalar(text("SELECT count(*) FROM users")) == 0
        with sqlite_db.write() as writer:
            writer.execute(ONE_USER)
        assert reader.scalar(text("SELECT count(*) FROM users")) == 0


def test_a_lock_that_is_never_released_becomes_a_storage_error(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.BUSY_TIMEOUT_S", 0.2)
    impatient = Database(sqlite_db.url)
    with sqlite_db.write(), pytest.raises(StorageError, match="another process held its lock"), impatient.write():
        pass
    impatient.close()


def test_a_data_directory_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"Cannot use .*file/home.* as data directory") as caught:
        Database(f"sqlite:///{tmp_path / 'file' / 'home' / 'alioth.db'}")
    assert "ALIOTH_HOME" in caught.value.hint


def test_a_directory_in_place_of_the_database_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "alioth.db").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'alioth.db'}")
    with pytest.raises(StorageError, match="Cannot open the database"):
        migrate(database, tmp_path)
    database.close()


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "alioth.db").write_bytes(b"not SQLite at all, but long enough to have a header" * 40)
    database = Database(f"sqlite:///{tmp_path / 'alioth.db'}")
    with pytest.raises(StorageError, match="is damaged"):
        migrate(database, tmp_path)
    database.close()


def test_missing_tables_are_reported_as_not_migrated(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(SchemaError, match="is not migrated") as caught, database.read() as session:
        session.execute(text("SELECT * FROM users"))
    assert "alioth migrate" in caught.value.hint
    database.close()


def test_a_postgres_server_that_is_away_is_a_storage_error_without_the_password(tmp_path: Path) -> None:
    database = Database(f"postgresql://u:hunter2@/x?host={tmp_path}")
    with pytest.raises(StorageError, match="does not answer") as caught, database.read() as session:
        session.execute(text("SELECT 1"))
    assert "hunter2" not in str(caught.value)
    database.close()


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "nonsense hunter2"])
def test_other_databases_are_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert "ALIOTH_DATABASE_URL" in caught.value.hint


def test_slices_keep_order_and_lose_nothing() -> None:
    assert list(slices(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(slices([], 3)) == []
