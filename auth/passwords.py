"""The password rule and argon2id hashing."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from core.errors import InputError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 256
UNUSABLE = "!"
"""Stands where a hash would for a user who has no password yet; verifies against nothing."""

# Each hash takes 64 MiB: a burst of sign-ins must not take the memory of the machine.
_AT_ONCE = threading.Semaphore(4)


def check_password_rule(password: str, name: str = "") -> None:
    """Refuse a password that is too short, too long, one repeated character, or the user's own name.

    Raises:
        InputError: names the rule; the password itself is never in the message.
    """
    if len(password) < MIN_PASSWORD_CHARS:
        raise InputError(
            f"The password has {len(password)} characters; at least {MIN_PASSWORD_CHARS} are needed.",
            "Choose a longer one, for example four words.",
        )
    if len(password) > MAX_PASSWORD_CHARS:
        raise InputError(
            f"The password has {len(password)} characters; at most {MAX_PASSWORD_CHARS} are allowed.",
            "Choose a shorter one.",
        )
    if len(set(password)) < 4:
        raise InputError(
            "The password repeats too few characters; at least 4 different ones are needed.", "Choose another one."
        )
    if name and password.casefold() == name.casefold():
        raise InputError("The password is the user's own name.", "Choose another one.")


def hash_password(password: str) -> str:
    """argon2id hash in PHC form (RFC 9106 low-memory profile: 64 MiB, 3 passes)."""
    with _AT_ONCE:
        return _hasher().hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Whether the password fits. Without a usable hash the same work is done against a dummy one."""
    from argon2.exceptions import InvalidHashError, VerificationError

    usable = stored is not None and stored != UNUSABLE
    with _AT_ONCE:
        try:
            fits = _hasher().verify(stored if usable and stored else _dummy_hash(), password)
        except (VerificationError, InvalidHashError):
            return False
    return bool(fits and usable)


@functools.cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)


@functools.cache
def _dummy_hash() -> str:
    return _hasher().hash("the password of nobody")
