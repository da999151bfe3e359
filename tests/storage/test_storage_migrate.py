"""Migration: one process does it, the tables are those of the code, newer databases are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from core.errors import SchemaError, StorageError
from storage.database import Database
from storage.migrate import FOLDER, known_revisions, migrate, require_current
from storage.tables import Table

MIGRATE = """
import sys
from pathlib import Path
from storage.database import Database
from storage.migrate import migrate, require_current
db = Database(sys.argv[1])
migrate(db, Path(sys.argv[2]))
require_current(db)
"""


def test_migrated_tables_are_exactly_those_the_code_declares(empty_url: str, tmp_path: Path) -> None:
    database = Database(empty_url)
    migrate(database, tmp_path / "locks")
    with database.connect_for_write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    database.close()


def test_processes_that_migrate_at_once_all_succeed(
    empty_url: str, tmp_path: Path, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    processes = [start_python(MIGRATE, empty_url, tmp_path / "locks") for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_migrating_again_changes_nothing_and_loads_no_alembic(sqlite_db: Database, tmp_path: Path) -> None:
    code = MIGRATE + "\nassert 'alembic' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, sqlite_db.url, str(tmp_path)],
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_database_without_tables_asks_for_migration(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(SchemaError, match="has no tables yet") as caught:
        require_current(database)
    assert "alioth migrate" in caught.value.hint
    database.close()


def test_a_newer_database_is_refused_with_both_revisions_and_the_remedy(db: Database, tmp_path: Path) -> None:
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for check in (lambda: migrate(db, tmp_path), lambda: require_current(db)):
        with pytest.raises(SchemaError) as caught:
            check()
        assert "'9999'" in caught.value.message and repr(known_revisions()[-1]) in caught.value.message
        assert "newer" in caught.value.message and caught.value.hint


def test_an_older_database_must_be_migrated_before_use(db: Database) -> None:
    with db.write() as session:
        session.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(SchemaError, match=f"needs '{known_revisions()[-1]}'"):
        require_current(db)


def test_file_names_tell_the_same_newest_revision_as_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [known_revisions()[-1]]
    assert sorted(script.revision for script in scripts.walk_revisions()) == known_revisions()


def test_a_failed_migration_leaves_no_half_made_tables(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(empty_url)

    def explode(connection: object) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))  # type: ignore[attr-defined]
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr("storage.migrate._upgrade", explode)
        migrate(database, tmp_path)
    migrate(database, tmp_path)
    with pytest.raises(SchemaError), database.read() as session:
        session.execute(text("SELECT * FROM half"))
    database.close()


def test_a_lock_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    database = Database(f"sqlite:///{tmp_path / 'alioth.db'}")
    with pytest.raises(StorageError, match="Cannot write to the data directory"):
        migrate(database, tmp_path / "file" / "locks")
    database.close()
