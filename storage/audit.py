"""Who did what: rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from storage.database import Database
from storage.tables import AuditTable, now


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row. detail: JSON values; never passwords, tokens or document text."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


class AuditLog:
    """Adds and reads entries. Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def record(self, actor: str, action: str, subject: str = "", **detail: Any) -> None:
        """Add one entry. Over-long texts are cut to what the columns hold (200, 60 and 500 characters)."""
        with self._db.write() as session:
            session.add(
                AuditTable(at=now(), actor=actor[:200], action=action[:60], subject=subject[:500], detail=detail)
            )

    def entries(self, limit: int = 100) -> list[AuditEntry]:
        """The newest first."""
        with self._db.read() as session:
            rows = session.scalars(select(AuditTable).order_by(AuditTable.id.desc()).limit(limit))
            return [AuditEntry(r.id, r.at, r.actor, r.action, r.subject, r.detail) for r in rows]
