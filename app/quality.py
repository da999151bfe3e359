"""The quality lab for people: question sets and runs of the collections that one may change, and of no others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import InputError, NotFoundError
from core.types import AnswerMode, Collection, DocumentState, Principal, Role
from storage.feedback import JudgedAnswer, judged_answers
from storage.quality import QuestionSet, QuestionSetStore, SetQuestion
from storage.quality_runs import NewRun, Run, RunStore

if TYPE_CHECKING:
    from app.wiring import Alioth
    from core.types import StoredChunk
    from evals.compare import Comparison

KINDS = ("retrieval", "answers")
MOST_GENERATED = 500
READ_DOCUMENTS = 200
"""Documents that generating looks at, chosen by its seed."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of questions that were put in. missing: names of documents that the collection does not have."""

    added: int
    replaced: int
    missing: tuple[str, ...]


class QualityLab:
    """Everything here asks first whether the principal may change the collection (role write). Thread-safe."""

    def __init__(self, alioth: Alioth) -> None:
        self._alioth = alioth
        self._sets = QuestionSetStore(alioth.db)
        self._runs = RunStore(alioth.db)

    def collections(self, who: Principal) -> list[Collection]:
        """Those whose sets and runs this principal sees, by name."""
        roles = self._alioth.permissions.roles(who)
        able = [key for key, role in roles.items() if role.rank >= Role.WRITE.rank]
        return self._alioth.permissions.readable_of(who, able)

    # ---------------------------------------------------------------- sets

    def sets(self, who: Principal, collection_id: str) -> list[QuestionSet]:
        """The sets of a collection, by name."""
        self._require(who, collection_id)
        return self._sets.list(collection_id)

    def set(self, who: Principal, set_id: str) -> QuestionSet:
        """One set; of a collection that is not shared, it does not exist."""
        found = self._sets.get(set_id)
        try:
            self._require(who, found.collection_id)
        except NotFoundError:
            raise NotFoundError(f"There is no question set with id {set_id!r}.", "It may have been deleted.") from None
        return found

    def named_set(self, who: Principal, collection_id: str, name: str) -> QuestionSet:
        """By name. Raises NotFoundError."""
        self._require(who, collection_id)
        found = self._sets.find(collection_id, name)
        if found is None:
            names = ", ".join(one.name for one in self._sets.list(collection_id)) or "none yet"
            raise NotFoundError(f"There is no question set {name!r} here.", f"This collection has: {names}.")
        return found

    def open_set(self, who: Principal, collection_id: str, name: str) -> QuestionSet:
        """By name, made when absent. Raises InputError: a bad name."""
        self._require(who, collection_id)
        return self._sets.find(collection_id, name) or self.create_set(who, collection_id, name)

    def create_set(self, who: Principal, collection_id: str, name: str) -> QuestionSet:
        """An empty set. Raises ConflictError, InputError."""
        collection = self._require(who, collection_id)
        made = self._sets.create(collection_id, name, who.name)
        self._alioth.audit.record(who.name, "quality.set.create", collection.name, set=made.name)
        return made

    def rename_set(self, who: Principal, set_id: str, name: str) -> None:
        """Raises ConflictError, InputError, NotFoundError."""
        self._sets.rename(self.set(who, set_id).id, name)

    def delete_set(self, who: Principal, set_id: str) -> None:
        """With its questions. Raises NotFoundError."""
        found = self.set(who, set_id)
        self._sets.delete(found.id)
        collection = self._alioth.collections.get_by_id(found.collection_id)
        self._alioth.audit.record(who.name, "quality.set.delete", collection.name, set=found.name)

    def questions(self, who: Principal, set_id: str) -> list[SetQuestion]:
        """In order."""
        return self._sets.questions(self.set(who, set_id).id)

    def put(self, who: Principal, set_id: str, questions: Sequence[SetQuestion]) -> Imported:
        """Add or replace questions; documents are matched by path, or by file name where that is clear.

        Raises:
            InputError, LimitError: see QuestionSetStore.put.
        """
        from evals.question_sets import match_documents

        found = self.set(who, set_id)
        paths = self._alioth.documents.paths(found.collection_id)
        matched, missing = match_documents(questions, paths)
        added, replaced = self._sets.put(found.id, matched)
        return Imported(added, replaced, tuple(missing))

    def import_file(self, who: Principal, set_id: str, data: bytes, name: str) -> Imported:
        """Questions of a JSON Lines or CSV file. Raises InputError, LimitError."""
        from evals.question_sets import read_questions

        self.set(who, set_id)
        return self.put(who, set_id, read_questions(data, name))

    def remove(self, who: Principal, set_id: str, qids: Sequence[str]) -> int:
        """Take questions out; gives how many were there."""
        return self._sets.remove(self.set(who, set_id).id, qids)

    def export(self, who: Principal, set_id: str, as_csv: bool = False) -> str:
        """The set as JSON Lines or CSV."""
        from evals.question_sets import to_csv, to_jsonl

        questions = self.questions(who, set_id)
        return to_csv(questions) if as_csv else to_jsonl(questions)

    def generate(self, who: Principal, set_id: str, limit: int, seed: int = 1, by_model: bool = False) -> Imported:
        """Questions made from the documents by templates, or by the language model where it can.

        Raises:
            InputError: a limit out of range, or nothing could be made.
        """
        from evals.generate import generate
        from evals.generate_llm import writer

        found = self.set(who, set_id)
        if not 1 <= limit <= MOST_GENERATED:
            raise InputError(f"Cannot make {limit} questions: it must be 1 to {MOST_GENERATED}.", "Choose another.")
        write = writer(self._alioth.llm) if by_model else None
        made = generate(list(self._chunks(found.collection_id, seed)), limit, seed, write)
        if not made:
            raise InputError(
                "No question could be made: no document has a heading, a definition, a number or a table to ask for.",
                "Add documents, or write questions yourself.",
            )
        return self.put(who, set_id, made)

    def can_write_questions(self) -> bool:
        """Whether the language model is up to it, in Chinese or English."""
        from core.errors import ModelUnavailableError
        from evals.generate_llm import capable

        try:
            return any(capable(self._alioth.llm, language) for language in ("zh", "en"))
        except ModelUnavailableError:
            return False

    def feedback(self, who: Principal, collection_id: str, rating: int | None = None) -> list[JudgedAnswer]:
        """Answers from this collection that readers judged, as far as this principal may see what they rest on."""
        self._require(who, collection_id)
        visible = {collection.id for collection in self.collections(who)}
        return judged_answers(self._alioth.db, collection_id, visible, rating)

    def take_feedback(self, who: Principal, set_id: str, message_ids: Sequence[str]) -> Imported:
        """Put the questions of these judged answers into the set."""
        from evals.question_sets import of_feedback

        found = self.set(who, set_id)
        wanted = set(message_ids)
        judged = [one for one in self.feedback(who, found.collection_id) if one.message_id in wanted]
        return self.put(who, set_id, [of_feedback(one, found.collection_id) for one in judged])

    # ---------------------------------------------------------------- runs

    def start(
        self,
        who: Principal,
        set_id: str,
        kind: str,
        name: str,
        mode: AnswerMode = AnswerMode.AUTOMATIC,
        limit: int | None = None,
        seed: int = 1,
    ) -> Run:
        """Ask for a run; the worker does it. Its questions are those of this moment.

        Raises:
            InputError: an unknown kind, no name, or an empty set.
        """
        from evals.question_sets import to_row
        from evals.sets import sample

        found = self.set(who, set_id)
        if kind not in KINDS:
            raise InputError(f"Cannot run {kind!r}.", f"Choose one of {', '.join(KINDS)}.")
        kept = " ".join(name.split())[:200]
        asked = [to_row(question) for question in sample(self._sets.questions(found.id), limit, seed)]
        if not asked:
            raise InputError(f"The set {found.name!r} has no question yet.", "Add questions first.")
        settings: dict[str, Any] = {"limit": limit, "seed": seed}
        if kind == "answers":
            settings["mode"] = mode.value
        made = self._runs.create(
            NewRun(found.collection_id, found.name, kept or found.name, kind, asked, settings, {}, who.user_id)
        )
        collection = self._alioth.collections.get_by_id(found.collection_id)
        self._alioth.audit.record(who.name, "quality.run", collection.name, set=found.name, kind=kind, run=made.name)
        return made

    def save(
        self,
        who: Principal,
        name: str,
        kind: str,
        set_name: str,
        asked: Sequence[Mapping[str, Any]],
        results: Sequence[Mapping[str, Any]],
        settings: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> Run:
        """Keep a run over files. Raises InputError: no name."""
        from evals.figures import summary

        kept = " ".join(name.split())[:200]
        if not kept:
            raise InputError("Cannot save a run without a name.", "Give one, e.g. --save main.")
        new = NewRun(None, set_name, kept, kind, asked, settings, facts, who.user_id)
        return self._runs.save(new, results, summary(kind, results))

    def runs(self, who: Principal, collection_id: str | None = None) -> list[Run]:
        """Runs of one collection, or of all that the principal sees and over files; the newest first."""
        if collection_id is not None:
            self._require(who, collection_id)
            return self._runs.list([collection_id])
        return self._runs.list([one.id for one in self.collections(who)], files_of=self._files_of(who))

    def run(self, who: Principal, name: str) -> Run:
        """By id, or the newest of that name among those the principal sees.

        Raises:
            NotFoundError: there is none.
        """
        visible = {one.id for one in self.collections(who)}
        files_of = self._files_of(who)
        for run in self._runs.named(name):
            if run.collection_id is None and files_of in ("", run.created_by):
                return run
            if run.collection_id in visible:
                return run
        raise NotFoundError(f"There is no evaluation run {name!r}.", "See `alioth eval runs`.")

    def rows(self, who: Principal, name: str) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """(question, result or None) of a run, in order."""
        return self._runs.rows(self.run(who, name).id)

    def cancel(self, who: Principal, name: str) -> bool:
        """Stop an open run. False when it had ended."""
        return self._runs.cancel(self.run(who, name).id)

    def delete_run(self, who: Principal, name: str) -> None:
        """With its results."""
        self._runs.delete(self.run(who, name).id)

    def compare(self, who: Principal, first: str, second: str) -> Comparison:
        """Two runs question by question.

        Raises:
            InputError: of different kinds, or without a question in common.
        """
        from evals.compare import compare

        a, b = self.run(who, first), self.run(who, second)
        if a.kind != b.kind:
            raise InputError(
                f"Cannot compare {a.name!r} ({a.kind}) with {b.name!r} ({b.kind}).", "Compare runs of one kind."
            )
        results = ([result for _, result in self._runs.rows(run.id) if result] for run in (a, b))
        return compare(a.kind, *results)

    # ---------------------------------------------------------------- within

    def _require(self, who: Principal, collection_id: str) -> Collection:
        return self._alioth.permissions.require(who, collection_id, Role.WRITE)

    def _files_of(self, who: Principal) -> str:
        """Whose runs over files are seen: everybody's for administrators and the system."""
        return "" if who.is_system or who.is_admin else who.user_id

    def _chunks(self, collection_id: str, seed: int) -> Iterator[Sequence[StoredChunk]]:
        rows = self._alioth.documents.list(collection_id, states=[DocumentState.READY])
        random.Random(seed).shuffle(rows)
        for row in rows[:READ_DOCUMENTS]:
            if row.live_version_id:
                yield self._alioth.chunks.of_version(row.live_version_id)
