"""Every error Alioth raises on purpose.

AliothError
├── UserError                 the person asked for something that cannot be done as asked
│   ├── SettingsError         a setting is missing, unknown or out of range
│   ├── InputError            an argument, question or file name breaks a rule
│   ├── NotFoundError         no such collection, document, conversation, user, ...
│   ├── PermissionDeniedError the principal may not do this
│   ├── ConflictError         it exists already, or two inputs claim one name
│   └── LimitError            over a size, count or rate limit
├── DocumentError             one document cannot be ingested; others are not affected
│   ├── UnsupportedTypeError
│   ├── UnreadableError       damaged, or the parser crashed or ran out of time
│   ├── EncryptedError
│   ├── EmptyDocumentError
│   └── DocumentTooLargeError
├── ModelError                something about a model
│   ├── WeightsError          missing, or of another sha256 than pinned
│   ├── ContextOverflowError  the prompt is longer than the window
│   ├── ModelUnavailableError the models process does not answer
│   └── CancelledError        stopped on request
└── StorageError              something about what is kept
    ├── FingerprintMismatchError
    ├── SchemaError           database not migrated, or newer than this program
    ├── LeaseLostError        another worker took this version over
    ├── NotReadyError         an index being built lacks something, or a worker is busy; try again soon
    ├── OriginalGoneError     a purge removed the file before its row was there; put it again
    ├── StoreUnavailableError the database is locked or away, or the disk is full; it passes
    └── IndexUnavailableError Chroma does not answer
"""

from __future__ import annotations


class AliothError(Exception):
    """Base of the tree. `message` says what failed and why, `hint` what to do."""

    code = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[type[AliothError], tuple[str, str]]:
        return (type(self), (self.message, self.hint))


class UserError(AliothError):
    code = "user"


class SettingsError(UserError):
    code = "settings"


class InputError(UserError):
    code = "input"


class NotFoundError(UserError):
    code = "not_found"


class PermissionDeniedError(UserError):
    code = "permission_denied"


class ConflictError(UserError):
    code = "conflict"


class LimitError(UserError):
    """Over a limit. `retry_after_s`: seconds after which it may go again, where time alone cures it."""

    code = "limit"

    def __init__(self, message: str, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DocumentError(AliothError):
    """One document cannot be ingested. `page` is 1-based where the fault has a place."""

    code = "document"

    def __init__(self, message: str, hint: str = "", page: int | None = None) -> None:
        super().__init__(message, hint)
        self.page = page


class UnsupportedTypeError(DocumentError):
    code = "unsupported"


class UnreadableError(DocumentError):
    code = "unreadable"


class EncryptedError(DocumentError):
    code = "encrypted"


class EmptyDocumentError(DocumentError):
    code = "empty"


class DocumentTooLargeError(DocumentError):
    code = "too_large"


class ModelError(AliothError):
    code = "model"


class WeightsError(ModelError):
    code = "weights"


class ContextOverflowError(ModelError):
    code = "context_overflow"


class ModelUnavailableError(ModelError):
    code = "model_unavailable"


class CancelledError(ModelError):
    code = "cancelled"


class StorageError(AliothError):
    code = "storage"


class FingerprintMismatchError(StorageError):
    code = "fingerprint_mismatch"


class SchemaError(StorageError):
    code = "schema"


class LeaseLostError(StorageError):
    code = "lease_lost"


class NotReadyError(StorageError):
    code = "not_ready"


class OriginalGoneError(StorageError):
    code = "original_gone"


class StoreUnavailableError(StorageError):
    code = "store_unavailable"


class IndexUnavailableError(StorageError):
    code = "index_unavailable"


DOCUMENT_ERRORS: dict[str, type[DocumentError]] = {
    error.code: error
    for error in (
        DocumentError,
        UnsupportedTypeError,
        UnreadableError,
        EncryptedError,
        EmptyDocumentError,
        DocumentTooLargeError,
    )
}
"""Document errors by code, to raise again what a parser child reported."""
