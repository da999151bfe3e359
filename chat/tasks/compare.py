"""What two documents say differently: sentences aligned, changed figures, dates and names first. No model needed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chat.events import AnswerEvent, Finished, Progress, Stage, Text
from chat.facts.values import names_of, squash, values_of
from chat.tasks.changes import KINDS, Change, comparison_answer
from chat.tasks.documents import DocumentReader, PlacedSentence, TaskDocument, sentences_in
from chat.verification.contradict import written
from core.errors import LimitError
from core.text import segment
from core.types import StoredChunk

MOST_SENTENCES = 20_000
MOST_PAIRS = 400_000
SAME_PLACE = 0.45
ELSEWHERE = 0.65
NEAR_CHUNKS = 0.5


class Comparer:
    """Compares two documents as a stream of events. Thread-safe."""

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader

    def compare(
        self, left: TaskDocument, right: TaskDocument, cancel: threading.Event | None = None
    ) -> Iterator[AnswerEvent]:
        """Events, `Finished` last; `answer.task` has the changes. `left` is the earlier one.

        Raises:
            LimitError: a document has more than 20,000 sentences (while iterating).
        """
        started = time.perf_counter()
        yield Stage("read")
        chunks = [self._reader.of_version(document.version_id) for document in (left, right)]
        sentences = [sentences_in(found) for found in chunks]
        for document, found in zip((left, right), sentences, strict=True):
            if len(found) > MOST_SENTENCES:
                raise LimitError(
                    f"'{document.path}' has {len(found)} sentences, over the limit of {MOST_SENTENCES} to compare.",
                    "Compare parts of it: ingest them as documents of their own.",
                )
        yield Stage("compare")
        near = _ChunkNearness(self._reader, chunks[0], chunks[1])
        changes = find_changes(sentences[0], sentences[1], near.cosine, cancel)
        yield Progress(1, 1, 0.0)
        answer = comparison_answer(left, right, changes, [len(found) for found in sentences])
        yield Text(answer.text)
        timings = {"total": time.perf_counter() - started}
        yield Finished(replace(answer, timings=timings, stopped=cancel is not None and cancel.is_set()))


class _ChunkNearness:
    """Cosine of the stored embeddings of two chunks; 1 where they cannot be compared."""

    def __init__(self, reader: DocumentReader, left: Sequence[StoredChunk], right: Sequence[StoredChunk]) -> None:
        self._places: list[dict[int, int]] = []
        self._matrices: list[NDArray[np.float32]] = []
        for chunks in (left, right):
            ids, matrix = reader.embeddings([chunk.id for chunk in chunks])
            self._places.append({chunk_id: place for place, chunk_id in enumerate(ids)})
            self._matrices.append(matrix)

    def cosine(self, left: StoredChunk, right: StoredChunk) -> float:
        one, two = self._places[0].get(left.id), self._places[1].get(right.id)
        if one is None or two is None or self._matrices[0].shape[1] != self._matrices[1].shape[1]:
            return 1.0
        return float(self._matrices[0][one] @ self._matrices[1][two])


def find_changes(
    left: Sequence[PlacedSentence],
    right: Sequence[PlacedSentence],
    nearness: Any = None,
    cancel: threading.Event | None = None,
) -> list[Change]:
    """All changes, by kind in the order of `KINDS`, then by place. Spaces, case and punctuation do not count.

    Sentences are aligned by longest common blocks (Ratcliff and Obershelp, difflib). Between the blocks, sentences
    with most words in common pair up as changed; then what is left pairs with sentences elsewhere that are the same
    (moved) or nearly (reworded), where `nearness` of their chunks, a cosine, does not speak against it.
    """
    keys = [[squash(s.text) for s in side] for side in (left, right)]
    changes: list[Change] = []
    only_left: list[PlacedSentence] = []
    only_right: list[PlacedSentence] = []
    words: dict[tuple[int, int], Counter[str]] = {}

    def bag(side: int, sentence: PlacedSentence) -> Counter[str]:
        return words.setdefault((side, sentence.index), _words(sentence.text))

    for tag, i1, i2, j1, j2 in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if cancel is not None and cancel.is_set():
            break
        pairs = _pair(left[i1:i2], right[j1:j2], bag, SAME_PLACE)
        changes += [_changed(one, two) for one, two in pairs]
        taken = {one.index for one, _ in pairs}, {two.index for _, two in pairs}
        only_left += [s for s in left[i1:i2] if s.index not in taken[0]]
        only_right += [s for s in right[j1:j2] if s.index not in taken[1]]
    if cancel is not None and cancel.is_set():  # what was not compared yet may stand elsewhere: nothing is gone or new
        return sorted(changes, key=lambda c: (KINDS.index(c.kind), _place(c)))
    moved = _moved(only_left, only_right)
    gone = {one.index for one, _ in moved}, {two.index for _, two in moved}
    only_left = [s for s in only_left if s.index not in gone[0]]
    only_right = [s for s in only_right if s.index not in gone[1]]
    far = _pair(only_left, only_right, bag, ELSEWHERE, nearness)
    gone = {one.index for one, _ in far}, {two.index for _, two in far}
    changes += [Change("moved", one, two) for one, two in moved] + [_changed(one, two) for one, two in far]
    changes += [Change("removed", s, None) for s in only_left if s.index not in gone[0]]
    changes += [Change("added", None, s) for s in only_right if s.index not in gone[1]]
    return sorted(changes, key=lambda c: (KINDS.index(c.kind), _place(c)))


def _place(change: Change) -> int:
    side = change.right or change.left
    return side.index if side else 0


def _words(text: str) -> Counter[str]:
    return Counter(token for token in segment(text) if not any(c.isdigit() for c in token))


def _likeness(left: Counter[str], right: Counter[str]) -> float:
    """Dice coefficient of two bags of words, numbers left out; 0 when one is empty."""
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if left and right else 0.0


def _pair(
    left: Sequence[PlacedSentence], right: Sequence[PlacedSentence], bag: Any, least: float, nearness: Any = None
) -> list[tuple[PlacedSentence, PlacedSentence]]:
    """Pairs with a likeness of `least` or more, the likest first, each sentence once; in order of `left`."""
    if len(left) * len(right) > MOST_PAIRS:  # a rewrite from end to end: only near places are tried
        width = max(1, MOST_PAIRS // max(1, len(left)))
        near = [
            (i, j) for i in range(len(left)) for j in range(max(0, i - width // 2), min(len(right), i + width // 2))
        ]
    else:
        near = [(i, j) for i in range(len(left)) for j in range(len(right))]
    scored = []
    for i, j in near:
        like = _likeness(bag(0, left[i]), bag(1, right[j]))
        if like >= least and (nearness is None or nearness(left[i].chunk, right[j].chunk) >= NEAR_CHUNKS):
            scored.append((-like, abs(i - j), i, j))
    taken_left: set[int] = set()
    taken_right: set[int] = set()
    pairs = []
    for _, _, i, j in sorted(scored):
        if i not in taken_left and j not in taken_right:
            taken_left.add(i)
            taken_right.add(j)
            pairs.append((left[i], right[j]))
    return sorted(pairs, key=lambda pair: pair[0].index)


def _moved(
    left: Sequence[PlacedSentence], right: Sequence[PlacedSentence]
) -> list[tuple[PlacedSentence, PlacedSentence]]:
    waiting: dict[str, list[PlacedSentence]] = {}
    for sentence in right:
        waiting.setdefault(squash(sentence.text), []).append(sentence)
    return [(one, same.pop(0)) for one in left if (same := waiting.get(squash(one.text)))]


def _changed(left: PlacedSentence, right: PlacedSentence) -> Change:
    values = tuple(changed_values(left.text, right.text))
    return Change("values" if values else "reworded", left, right, values)


def changed_values(left: str, right: str) -> list[tuple[str, str]]:
    """(before, after) of numbers, dates and names that only one of two like sentences has; "" where one has none."""
    one, two = values_of(left), values_of(right)
    out = _unmatched(
        {(d.year, d.month, d.day): d.shown for d in one.dates}, {(d.year, d.month, d.day): d.shown for d in two.dates}
    )
    out += _unmatched(
        {(n.value, n.unit): written(left, n) for n in one.numbers},
        {(n.value, n.unit): written(right, n) for n in two.numbers},
    )
    before, after = _names_without(left, right), _names_without(right, left)
    if before and after:  # a name on one side alone is most often a word that the tagger took for one
        out += _unmatched(before, after)
    return out


def _names_without(text: str, other: str) -> dict[str, str]:
    """Names of a text that the other does not have, by their folded letters."""
    letters = squash(other)
    names = {squash(name): name for name in names_of(text) if not any(c.isdigit() for c in name)}
    return {key: name for key, name in names.items() if key and key not in letters}


def _unmatched(before: Mapping[Any, str], after: Mapping[Any, str]) -> list[tuple[str, str]]:
    old = [shown for key, shown in before.items() if key not in after]
    new = [shown for key, shown in after.items() if key not in before]
    size = max(len(old), len(new))
    return list(zip(old + [""] * (size - len(old)), new + [""] * (size - len(new)), strict=True))
