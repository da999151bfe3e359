"""Question to cited answer, as a stream of events: retrieve, refuse or quote or generate, verify."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chat.answer_task import Task, context_figures, earlier, exact_checks
from chat.cite import MarkParser, without_marks
from chat.context import Source, build_context, single_sources, token_budget
from chat.events import AnswerEvent, Stage, Text, Waiting
from chat.generation import as_made, fence_word, instance_settings, to_generation, whole_sources
from chat.ports import ChunkReader, GlossaryReader
from chat.prompt import build_prompt, schema_prompt
from chat.question import check_question
from chat.quoting.parts import with_following
from chat.quoting.quote import Quote, best_quotes
from chat.repetition import repeats_from
from chat.retrieval.condense import condense
from chat.retrieval.refuse import nearest_documents, refusal_text
from chat.retrieval.retrieve import Retrieval, Searches
from chat.support import cite_quotes, support, suspicious_sources
from chat.verification.contradict import find_contradictions
from chat.verification.verify import Embed, sentences_of
from core.answer_settings import Resolved, resolve
from core.errors import CancelledError, ContextOverflowError, InputError, LimitError, ModelUnavailableError
from core.filters import Filters
from core.json_schema import schema_problem
from core.settings import ChatSettings
from core.text import detect_language
from core.types import (
    AnswerMode,
    ChatTurn,
    Citation,
    Collection,
)
from models.protocols import Delta, Lane, LanguageModel, LanguageModelInfo, Message

log = logging.getLogger(__name__)

CANDIDATES = 30
MESSAGE_OVERHEAD = 12
_SAYS_NO = re.compile(
    r"无法回答|没有(?:找到|相关|提供|提及|足够)|未(?:找到|提及|提供|包含|涉及)|"
    r"\b(?:do(?:es)? not|don't|doesn't|cannot|can't|not) (?:\w+ ){0,2}"
    r"(?:answer|contain|mention|provide|specify|include|found)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Writing:
    """What the model wrote so far, and whether it was stopped."""

    text: str = ""
    stopped: bool = False

    def add(self, piece: str) -> Text:
        self.text += piece
        return Text(piece)


class Answerer:
    """Answers questions from collections. Thread-safe.

    glossary: whose words tell topics in follow-ups. lane: BACKGROUND for answers that nobody waits for.
    """

    def __init__(
        self,
        settings: ChatSettings,
        retriever: Searches,
        chunks: ChunkReader,
        llm: LanguageModel,
        glossary: GlossaryReader | None = None,
        guard: bool = True,
        lane: Lane = Lane.QUESTION,
    ) -> None:
        self._settings = settings
        self._lane = lane
        self._retriever = retriever
        self._chunks = chunks
        self._llm = llm
        self._glossary = glossary
        self._guard = guard  # off only to measure what the guard against instructions in documents is worth

    def answer(
        self,
        question: str,
        collections: Sequence[Collection],
        history: Sequence[ChatTurn] = (),
        mode: AnswerMode = AnswerMode.AUTOMATIC,
        cancel: threading.Event | None = None,
        user: str = "",
        filters: Filters | None = None,
        chosen: Resolved | None = None,
    ) -> Iterator[AnswerEvent]:
        """Events in order, `Finished` last. The question is checked before this returns.

        A set `cancel` ends the stream soon with the partial text, `stopped`. When the language model is away, the
        documents' own sentences answer, with the notice `model_unavailable`. filters: only documents that pass are
        searched and cited; the answer keeps them. chosen: how to generate; the instance's settings when None. With a
        JSON schema the answer is JSON, filled from the passages it cites, and no sentence of it is checked.

        Raises:
            InputError: the question is empty, without a word, or too long; or no collection is given.
            LimitError: more collections than one question may search.
            IndexUnavailableError: the vector server does not answer (while iterating).
        """
        question = self._checked(question, collections)
        language = detect_language(question)
        stop, started = cancel or threading.Event(), time.perf_counter()
        how = chosen or resolve(instance_settings(self._settings))
        made = to_generation(how)
        task = Task(question, language, history, collections, stop, user, started, filters or Filters(), how, made)
        return self._events(task, mode)

    def _checked(self, question: str, collections: Sequence[Collection]) -> str:
        text = check_question(question, self._settings.max_question_chars)
        if not collections:
            raise InputError(
                "No collection was chosen; a question searches at least one.", "Choose one, or create one first."
            )
        most = self._settings.max_collections
        if len(collections) > most:
            raise LimitError(
                f"{len(collections)} collections were chosen, over the limit of {most} for one question.",
                "Choose fewer, or raise ALIOTH_CHAT__MAX_COLLECTIONS.",
            )
        return text

    def _events(self, task: Task, mode: AnswerMode) -> Iterator[AnswerEvent]:
        yield Stage("retrieve")
        retrieval = self._retrieve(task)
        task.timings["retrieve"] = time.perf_counter() - task.started
        if task.cancel.is_set():
            yield task.finished("", AnswerMode.QUOTE, stopped=True)
        elif retrieval.evidence.too_little:
            nearest = nearest_documents(retrieval.results)
            text = refusal_text(task.language, nearest, retrieval.evidence.unnamed)
            yield Text(text)
            yield task.finished(text, AnswerMode.QUOTE, refused=True, nearest=nearest)
        elif task.chosen.values["json_schema"]:
            yield from self._fill_in(task, retrieval)
        elif self._mode(task, mode) is AnswerMode.QUOTE:
            yield from self._quote(task, retrieval, "")
        else:
            yield from self._generate(task, retrieval)

    def _retrieve(self, task: Task) -> Retrieval:
        """Results for the question; for a follow-up, blended with those for its stand-alone form."""
        terms = self._glossary.terms([c.id for c in task.collections]) if self._glossary and task.history else ()
        task.standalone = condense(task.question, task.history, terms=terms)
        retrieval = self._retriever.retrieve(
            task.standalone, task.collections, CANDIDATES, typed=task.question, filters=task.filters
        )
        task.standalone = retrieval.query or task.standalone
        if retrieval.degraded:
            task.notices.append("model_unavailable")
        if retrieval.trace.selected is not None and not retrieval.trace.selected[0]:
            task.notices.append("filter_matches_nothing")
        if retrieval.trace.reranker_problem:
            task.notices.append("reranker_unavailable")
        return retrieval

    def _mode(self, task: Task, asked: AnswerMode) -> AnswerMode:
        mode = AnswerMode(self._settings.mode) if asked is AnswerMode.AUTOMATIC else asked
        if mode is not AnswerMode.AUTOMATIC:
            return mode
        try:
            info = self._llm.info()
        except ModelUnavailableError:
            task.notices.append("model_unavailable")
            return AnswerMode.QUOTE
        if task.language not in info.languages:
            task.notices.append("quote_mode_language")
            return AnswerMode.QUOTE
        if info.small:
            task.notices.append("quote_mode_small")
            return AnswerMode.QUOTE
        return AnswerMode.ANSWER

    def _quote(self, task: Task, retrieval: Retrieval, before: str) -> Iterator[AnswerEvent]:
        """The documents' own sentences; `before` is what a model wrote until it went away."""
        yield Stage("quote")
        started = time.perf_counter()
        sources = single_sources(retrieval.results, self._settings.passages)
        sources = with_following(retrieval.question or task.standalone, sources, self._chunks)
        quotes = self._best_quotes(task, retrieval, sources)
        citations = cite_quotes(quotes)
        text = "\n\n".join(f"{without_marks(quote.shown)} [{n}]" for n, quote in enumerate(quotes, start=1))
        added = f"\n\n{text}" if before else text
        task.timings.setdefault("first_token", time.perf_counter() - task.started)
        yield Text(added)
        task.timings["generate"] = time.perf_counter() - started
        checks = exact_checks(before + added, before)
        against = self._against(task, retrieval, citations)
        yield task.finished(before + added, AnswerMode.QUOTE, verification=checks, **against)

    def _best_quotes(self, task: Task, retrieval: Retrieval, sources: Sequence[Source]) -> list[Quote]:
        question = retrieval.question or task.standalone
        topic = task.standalone.removesuffix(task.question)
        embedder = self._retriever.reading_embedder(task.collections[0], task.standalone)
        if embedder is None:
            return best_quotes(question, sources, guard=self._guard, topic=topic)
        vector = retrieval.vectors.get(task.collections[0].fingerprint.space)

        def similarity(texts: Sequence[str]) -> Sequence[float]:
            asked = embedder.embed_query(task.standalone) if vector is None else vector
            return [float(value) for value in embedder.embed_documents(texts, Lane.QUESTION) @ asked]

        try:
            return best_quotes(question, sources, similarity, self._guard, topic)
        except ModelUnavailableError:
            return best_quotes(question, sources, guard=self._guard, topic=topic)

    def _generate(self, task: Task, retrieval: Retrieval) -> Iterator[AnswerEvent]:
        sources: list[Source] = []
        writing = _Writing()
        try:
            info = self._llm.info()
            sources = self._context(task, retrieval, info)
            parser = MarkParser([source.passage.n for source in sources])
            yield from self._write(task, sources, info, writing, parser.feed, repeats_from)
            if (rest := parser.finish()).strip():
                yield writing.add(rest)
        except CancelledError:
            writing.stopped = True
        except ModelUnavailableError as error:
            log.warning("Answering with quotes: %s", error)
            task.notices.append("model_unavailable")
            yield from self._quote(task, retrieval, writing.text)
            return
        if not sentences_of(writing.text) and not writing.stopped and not task.cancel.is_set():
            task.notices.append("model_said_nothing")
            yield from self._quote(task, retrieval, "")
            return
        self._account(task, retrieval, sources)
        yield from self._verify(task, writing.text, sources, retrieval, writing.stopped or task.cancel.is_set())

    def _write(
        self,
        task: Task,
        sources: list[Source],
        info: LanguageModelInfo,
        writing: _Writing,
        shown: Callable[[str], str],
        cut: Callable[[str], int | None],
    ) -> Iterator[AnswerEvent]:
        """What the model writes, into `writing` and as events.

        Args:
            shown: what of a piece is fit to be shown by now.
            cut: where the text so far begins to repeat itself; there it ends.
        """
        yield Stage("read")
        for delta in self._stream(task, sources, info):
            if delta.place:
                yield Waiting(delta.place, delta.wait_s)
            if delta.text and "first_token" not in task.timings:
                task.timings["first_token"] = time.perf_counter() - task.started
                yield Stage("generate")
            piece = shown(delta.text)
            if piece:
                yield writing.add(piece)
            writing.stopped = writing.stopped or delta.finish_reason == "cancelled"
            if delta.finish_reason == "timeout":
                task.notices.append("model_timeout")
            place = cut(writing.text) if piece else None
            if place is not None:
                writing.text = writing.text[:place]
                task.notices.append("model_repeated")
                return

    def _account(self, task: Task, retrieval: Retrieval, sources: Sequence[Source]) -> None:
        """What the model was given to read, and how long it wrote."""
        task.context = context_figures(retrieval, sources, self._settings.passages)
        task.timings["generate"] = time.perf_counter() - task.started - task.timings["retrieve"]

    def _context(self, task: Task, retrieval: Retrieval, info: LanguageModelInfo) -> list[Source]:
        settings = self._settings
        bare = self._prompt(task, [], info)
        fixed = sum(self._llm.count_tokens([message.content for message in bare])) + MESSAGE_OVERHEAD * len(bare)
        longest = task.chosen.values["max_tokens"]
        budget = token_budget(info.window, longest, fixed, info.reading_rate, settings.first_token_s)
        return build_context(
            task.standalone, retrieval.results, self._chunks, self._llm.count_tokens, budget, settings.passages
        )

    def _stream(self, task: Task, sources: list[Source], info: LanguageModelInfo) -> Iterator[Delta]:
        """Deltas of the model; with fewer passages when the prompt turns out too long for its window."""
        task.settings = as_made(task.chosen, task.generation, info.id)
        while True:
            prompt = self._prompt(task, sources, info)
            try:
                yield from self._llm.stream(prompt, task.generation, task.cancel, task.user, self._lane)
                return
            except ContextOverflowError:
                if len(sources) <= 1:
                    raise
                del sources[len(sources) // 2 :]

    def _prompt(self, task: Task, sources: Sequence[Source], info: LanguageModelInfo) -> list[Message]:
        # one word for all turns of a conversation: what their prompts have in common is then not read again
        first = next((turn.text for turn in task.history if turn.role == "user"), task.question)
        words: dict[str, Any] = {
            "fence": fence_word(task.generation.seed, first, ()),
            "earlier": earlier(task),
            "guard": self._guard,
            "house": task.chosen.prompts,
        }
        if task.generation.json_schema:
            return schema_prompt(task.question, sources, task.language, **words)
        return build_prompt(task.question, sources, task.language, info.small, **words)

    def _fill_in(self, task: Task, retrieval: Retrieval) -> Iterator[AnswerEvent]:
        """JSON by the schema. What it was filled from is cited as a whole: a field is no sentence to check."""
        info = self._llm.info()
        sources, writing = self._context(task, retrieval, info), _Writing()
        yield from self._write(task, sources, info, writing, str, lambda text: None)
        task.notices.append("schema_unverified")
        if not writing.stopped and schema_problem(str(task.chosen.values["json_schema"]), writing.text):
            task.notices.append("schema_cut_off")
        self._account(task, retrieval, sources)
        citations = whole_sources(sources)
        yield task.finished(writing.text, AnswerMode.ANSWER, stopped=writing.stopped, citations=citations)

    def _verify(
        self, task: Task, text: str, sources: Sequence[Source], retrieval: Retrieval, stopped: bool
    ) -> Iterator[AnswerEvent]:
        yield Stage("verify")
        started = time.perf_counter()
        supported = support(text, sources, self._embed(task, text))
        task.timings["verify"] = time.perf_counter() - started
        yield task.finished(
            supported.text,
            AnswerMode.ANSWER,
            refused=not stopped and not supported.citations and bool(_SAYS_NO.search(text)),
            stopped=stopped,
            verification=supported.checks,
            **self._against(task, retrieval, supported.citations),
        )

    def _against(self, task: Task, retrieval: Retrieval, citations: Sequence[Citation]) -> dict[str, object]:
        """The citations, and where other documents give another number or date for what is asked."""
        started = time.perf_counter()
        found, more = find_contradictions(task.standalone, citations, retrieval.results)
        task.timings["contradict"] = time.perf_counter() - started
        shown = (*citations, *more)
        texts = {item.chunk.id: item.chunk.text for item in retrieval.results}
        return {
            "citations": shown,
            "contradictions": tuple(found),
            "suspicious": suspicious_sources(shown, texts) if self._guard else {},
        }

    def _embed(self, task: Task, text: str) -> Embed | None:
        """For sentences whose source is in another language; None when the embedder does not read them."""
        embedder = self._retriever.reading_embedder(task.collections[0], text)
        if embedder is None:
            return None
        return lambda texts: embedder.embed_documents(texts, Lane.QUESTION)
