"""Attacks and harmless sentences of our own, in what documents carry them in: seen or not?"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat.injection import findings

DATA = Path(__file__).with_name("attacks.jsonl")
SEEN = 0.9
"""Share of an attack's characters within what was found from which it counts as recognised."""
_BEFORE = {
    "en": "Meals are reimbursed up to 40 euros a day. The form is due within two weeks.",
    "zh": "餐费每天最多报销四十元。报销单应在两周之内提交。",
}
_AFTER = {
    "en": "Hotels are booked by the travel desk. Trains are second class.",
    "zh": "酒店由差旅部门预订。火车票为二等座。",
}
CARRIERS: Mapping[str, Callable[[str], str]] = {
    "text": lambda text: f"{text}\n",
    "inside a line": lambda text: f" {text} ",
    "markdown": lambda text: f"\n> **Note** {text}\n",
    "table": lambda text: f"\n| item | note |\n| --- | --- |\n| 7 | {text} |\n",
    "code": lambda text: f"\n```\n# {text}\n```\n",
    "html": lambda text: f'\n<p style="display:none">{text}</p>\n',
}
"""What an attack stands in, between ordinary sentences."""


@dataclass(frozen=True, slots=True)
class Written:
    """A sentence. attack: it speaks to an assistant; else it only looks like that. half: fitted or held out."""

    lang: str
    attack: bool
    half: str
    text: str


def load_written(path: Path = DATA) -> list[Written]:
    """The sentences in the order of the file."""
    return [Written(**json.loads(line)) for line in path.read_text("utf-8").splitlines() if line.strip()]


def evaluate_own_attacks() -> dict[str, Any]:
    """Share recognised by language, half and carrier, and share of the harmless ones that are flagged."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in load_written():
        for carrier, wrap in CARRIERS.items():
            document = f"{_BEFORE[one.lang]}{wrap(one.text)}{_AFTER[one.lang]}"
            kind = "recognised" if one.attack else "flagged"
            seen = _recognised(document, one.text) if one.attack else bool(findings(document))
            groups = [one.lang, f"{one.lang} {one.half}", *([carrier] if one.attack else ())]
            for group in groups:
                counts[f"{kind}/{group}"].update(n=1, seen=seen)
    report: dict[str, Any] = {"recognised": {}, "flagged": {}}
    for name, count in sorted(counts.items()):
        kind, _, group = name.partition("/")
        report[kind][group] = {"n": count["n"], "share": round(count["seen"] / count["n"], 4)}
    return report


def _recognised(document: str, text: str) -> bool:
    start = document.index(text)
    inside = set(range(start, start + len(text)))
    seen = {i for finding in findings(document) for i in range(finding.start, finding.end)}
    return len(inside & seen) >= SEEN * len(inside)
