"""Which failpoints a campaign has killed a process at, and which come next: every one once before any comes again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from tests.faults.failpoints import POINTS, Arm, Failpoint

OUTSIDE = ("chroma", "models", "parser child", "submitter", "worker")
"""Kinds of processes that a campaign kills."""


class Coverage:
    """The account of one campaign. A place counts when a process died there, not when it was only chosen.

    Args:
        dialect: on PostgreSQL the database keeps the files, so nothing can die at the places in the folder store.
    """

    def __init__(self, dialect: str = "sqlite") -> None:
        self._dialect = dialect
        self._died: dict[tuple[str, str], set[bool]] = {}
        self._chosen: dict[tuple[str, str], int] = {}

    def choose(self, role: str, rng: random.Random) -> Arm:
        """Where a process of this role dies next: at a place where none died yet, else on its other side, else any."""
        points = self.points(role)
        fresh = [point for point in points if (role, point.name) not in self._died]
        half = [point for point in points if len(self._died.get((role, point.name), ())) == 1]
        among = fresh or half or list(points)
        least = min(self._chosen.get((role, point.name), 0) for point in among)
        point = rng.choice([point for point in among if self._chosen.get((role, point.name), 0) == least])
        self._chosen[role, point.name] = least + 1
        nth = rng.randint(1, point.calls) if least == 0 else 1  # a place that was not come to: at its first call
        died = self._died.get((role, point.name), set())
        after = (True not in died) if len(died) == 1 else rng.random() < 0.5
        return Arm(point.name, nth, after)

    def died(self, role: str, arm: Arm) -> None:
        """A process of this role was killed there."""
        self._died.setdefault((role, arm.point), set()).add(arm.after)

    def points(self, role: str) -> Sequence[Failpoint]:
        """The failpoints of a role that can be come to."""
        found = POINTS[role]
        return found if self._dialect == "sqlite" else [p for p in found if not p.name.startswith("files.")]

    def due(self, role: str | None = None) -> list[str]:
        """`role: place` of every failpoint at which nothing has died yet."""
        roles = POINTS if role is None else [role]
        return [f"{r}: {p.name}" for r in roles for p in self.points(r) if (r, p.name) not in self._died]

    @property
    def total(self) -> int:
        """How many failpoints there are."""
        return sum(len(self.points(role)) for role in POINTS)


def unkilled(roles: Iterable[str]) -> list[str]:
    """Kinds of processes of which none is among `roles`."""
    killed = set(roles)
    return [role for role in OUTSIDE if role not in killed]
