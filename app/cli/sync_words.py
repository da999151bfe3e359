"""What the commands about synced folders say of a difference and of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.cli.state import print_table, say

if TYPE_CHECKING:
    from ingest.sync_plan import Difference
    from storage.sources import Source
    from storage.watches import Watch


def show_difference(difference: Difference) -> None:
    """What a dry run found, as a table."""
    rows: list[tuple[str, str]] = []
    for word, paths in difference.to_dict().items():
        if word in ("added", "changed", "deleted"):
            rows.extend((word, path) for path in paths)
        elif word == "moved":
            rows.extend(("moved", f"{move['from']} -> {move['to']}") for move in paths)
    if rows:
        print_table(("would be", "document"), rows)


def say_counts(difference: Difference, stamp: str = "") -> None:
    """How many documents were or would be added, changed, moved, deleted and left. stamp: said before it."""
    deleted = len(difference.deleted) + len(difference.dropped)
    counts = (
        (len(difference.added), "added"),
        (len(difference.changed), "changed"),
        (len(difference.moved), "moved"),
        (deleted, "deleted"),
        (difference.unchanged, "unchanged"),
    )
    say(stamp + ", ".join(f"{count} {word}" for count, word in counts) + ".")


def say_faults(difference: Difference) -> None:
    """What was left out, stands in the way, failed or was not deleted, with what to do."""
    if difference.skipped:
        some = ", ".join(path for path, _ in difference.skipped[:5]) + (", …" if len(difference.skipped) > 5 else "")
        say(f"Left out {len(difference.skipped)}: {some}")
    for path, error in difference.conflicts:
        say(f"Conflict: {path}: {error.message} {error.hint}".rstrip())
    for path, error in difference.failed:
        say(f"Failed: {path}: {error.message} {error.hint}".rstrip())
    if difference.refused:
        say(
            f"Not deleted: {len(difference.refused)} documents whose files are all gone at once. Is the folder "
            "mounted? If they are really gone, sync again with --allow-mass-delete."
        )


def source_json(source: Source, watch: Watch | None) -> dict[str, Any]:
    """The public JSON form of a source."""
    return {
        "id": source.id,
        "kind": source.kind,
        "place": source.place,
        "prefix": source.options.get("prefix", ""),
        "ignore": source.options.get("ignore", []),
        "documents": source.documents,
        "synced_at": source.synced_at.isoformat() if source.synced_at else None,
        "result": {key: value for key, value in source.result.items() if key != "identity"},
        "followed": watch is not None,
        "followed_by": watch.worker if watch else None,
        "poll_s": watch.poll_s if watch else None,
        "trouble": watch.trouble if watch and watch.trouble else None,
    }


def followed(watch: Watch | None) -> str:
    """Whether `alioth serve` keeps it in step, in a word or two; empty when not."""
    if watch is None:
        return ""
    if watch.trouble:
        return "trouble"
    return "yes" if watch.worker else "waits for a worker"


def when(source: Source) -> str:
    """The time of the last sync, on this machine's clock."""
    return source.synced_at.astimezone().strftime("%Y-%m-%d %H:%M") if source.synced_at else "never"
