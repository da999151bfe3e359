"""Which language model `alioth models use` chose, kept in the data directory beside the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import WeightsError
from core.settings import CHOSEN_LLM


def choose_llm(model_id: str, before: str, home: Path) -> None:
    """Keep the choice for processes that start later.

    Args:
        before: the id that was used until now; processes that run may still ask by it.

    Raises:
        WeightsError: the file cannot be written.
    """
    from models.files.store import records
    from models.files.weights import write_json

    file = home / CHOSEN_LLM
    with records(home):
        former = former_llms(home) | {before}
        write_json(file, {"llm": model_id, "former": sorted(former - {model_id})})
    if _load(file).get("llm") != model_id:
        raise WeightsError(f"Cannot write '{file}'.", "Free some space, or fix its rights.")


def former_llms(home: Path) -> frozenset[str]:
    """Ids that were in use before."""
    former = _load(home / CHOSEN_LLM).get("former", [])
    return frozenset(str(one) for one in former) if isinstance(former, list) else frozenset()


def _load(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
