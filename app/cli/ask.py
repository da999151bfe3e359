"""`alioth search`, `alioth ask`, `alioth verify`."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.generation import (
    AdapterOption,
    ExplainOption,
    GreedyOption,
    MaxTokensOption,
    MinPOption,
    PresetOption,
    RepeatPenaltyOption,
    SchemaOption,
    SeedOption,
    StopOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    explain,
    settings_of,
)
from app.cli.narrow import (
    AddedSinceOption,
    AddedUntilOption,
    DocumentOption,
    LanguageOption,
    PathOption,
    SinceOption,
    TypeOption,
    UntilOption,
    filters_of,
)
from app.cli.state import CollectionsOption, JsonOption, print_json, say, state_of
from core.answer_settings import Resolved
from core.errors import InputError
from core.filters import Filters
from core.types import Answer, AnswerMode, ChatTurn, Contradiction, Locator, ScoredChunk, SentenceCheck, Verdict

if TYPE_CHECKING:
    from app.cli.state import State

QuestionArgument = Annotated[str, typer.Argument(metavar="QUESTION", help="In Chinese or English; - reads stdin.")]


def place(locator: Locator) -> str:
    """Where a passage stands, for people."""
    parts = []
    if locator.page:
        parts.append(f"p. {locator.page}")
    if locator.slide:
        parts.append(f"slide {locator.slide}")
    if locator.sheet:
        parts.append(f"sheet {locator.sheet} {locator.cells or ''}".strip())
    if locator.heading:
        parts.append(" > ".join(locator.heading))
    if locator.lines and not parts:
        parts.append(f"lines {locator.lines[0]}–{locator.lines[1]}")
    if locator.ocr is not None:
        parts.append(f"recognised by OCR, {locator.ocr:.0%}")
    return ", ".join(parts)


def check_json(check: SentenceCheck) -> dict[str, Any]:
    return {"sentence": check.sentence, "verdict": check.verdict.value, "reason": check.reason}


def answer_json(answer: Answer, state: State) -> dict[str, Any]:
    """The public JSON form of an answer. date of a citation: its document's, by itself or by when it was added."""
    from app.tasks import citation_dates

    dates = citation_dates(state.alioth, answer.citations)
    return {
        "answer": answer.text,
        "citations": [
            {
                "n": c.n,
                "document": c.document,
                "locator": c.locator.to_dict(),
                "quote": c.quote,
                "origin": c.origin,
                "chunk_id": c.chunk_id,
                "date": dates[c.version_id].day if c.version_id in dates else None,
                "date_kind": dates[c.version_id].kind if c.version_id in dates else None,
            }
            for c in answer.citations
        ],
        "contradictions": [contradiction_json(answer, found) for found in answer.contradictions],
        "refused": answer.refused,
        "verification": [check_json(check) for check in answer.verification],
        "timings": dict(answer.timings),
        "mode": answer.mode.value,
        "language": answer.language,
        "notices": list(answer.notices),
        "nearest": list(answer.nearest),
        "question": answer.standalone_question,
        "filters": dict(answer.filters),
        "context": dict(answer.context),
        "suspicious": {str(n): list(kinds) for n, kinds in answer.suspicious.items()},
        "settings": dict(answer.settings),
    }


def contradiction_json(answer: Answer, found: Contradiction) -> dict[str, Any]:
    """Two documents that say different things: the marks of both places and what each says."""
    by_number = {citation.n: citation.document for citation in answer.citations}
    return {
        "kind": found.kind,
        "first": {"n": found.first, "document": by_number.get(found.first), "value": found.first_value},
        "second": {"n": found.second, "document": by_number.get(found.second), "value": found.second_value},
    }


def result_json(result: ScoredChunk, explain: bool) -> dict[str, Any]:
    """The public JSON form of a search result."""
    chunk = result.chunk
    out: dict[str, Any] = {
        "document": chunk.path,
        "locator": chunk.locator.to_dict(),
        "score": round(result.score, 6),
        "text": chunk.text,
        "stages": {name: round(value, 6) for name, value in result.stages.items()},
    }
    if explain:
        out |= {"chunk_id": chunk.id, "title": chunk.title, "context": chunk.context, "version_id": chunk.version_id}
    return out


def _question(text: str) -> str:
    return sys.stdin.read() if text == "-" else text


def search(
    context: typer.Context,
    question: QuestionArgument,
    collection: CollectionsOption,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Number of results.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each stage gave.")] = False,
    document: DocumentOption = None,
    kind: TypeOption = None,
    path: PathOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    added_since: AddedSinceOption = "",
    added_until: AddedUntilOption = "",
    language: LanguageOption = None,
    json: JsonOption = False,
) -> None:
    """Find passages, without an answer."""
    from app.explain import candidate_rows, explain_json, explain_lines
    from chat.preview import reading
    from chat.question import check_question

    state = state_of(context)
    targets = [state.collection(name) for name in collection]
    text = check_question(_question(question), state.alioth.settings.chat.max_question_chars)
    filters = filters_of(document, kind, path, since, until, added_since, added_until, language)
    found = state.alioth.retriever.retrieve(text, targets, k=k, filters=filters)
    read = reading(text, found, state.alioth.chunks, state.alioth.llm, state.alioth.settings.chat) if explain else None
    if json:
        out: dict[str, Any] = {"results": [result_json(result, explain) for result in found.results]}
        if read is not None:
            out |= {"timings": dict(found.timings), "explain": explain_json(found, filters, read)}
        print_json(out)
        return
    if read is not None:
        say("\n".join(explain_lines(found, read)) + "\n")
    if not found.results:
        none_pass = found.trace.selected is not None and not found.trace.selected[0]
        say("Nothing found: no document passes the filters." if none_pass else "Nothing found.")
    figures = {row.chunk.id: row.figures for row in candidate_rows(found)} if explain else {}
    for number, result in enumerate(found.results, 1):
        where = place(result.chunk.locator)
        typer.echo(f"{number}. {result.chunk.path}{' — ' + where if where else ''}  ({result.score:.3f})")
        if explain:
            stages = figures[result.chunk.id].items()
            typer.echo("   " + "  ".join(f"{name} {value:.3f} (#{rank})" for name, (value, rank) in stages))
        typer.echo("   " + " ".join(result.chunk.text.split())[:300] + "\n")
    if read is not None:
        timings = {**found.timings, "passages": read.seconds}
        say("  ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in timings.items()))


def ask(
    context: typer.Context,
    question: QuestionArgument,
    collection: CollectionsOption,
    conversation: Annotated[
        str | None, typer.Option("--conversation", metavar="ID", help="Go on with this conversation.")
    ] = None,
    mode: Annotated[AnswerMode | None, typer.Option("--mode", help="How to answer.")] = None,
    document: DocumentOption = None,
    kind: TypeOption = None,
    path: PathOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    added_since: AddedSinceOption = "",
    added_until: AddedUntilOption = "",
    language: LanguageOption = None,
    everything: Annotated[
        bool, typer.Option("--all-documents", help="Drop the filters that the conversation had.")
    ] = False,
    preset: PresetOption = None,
    temperature: TemperatureOption = None,
    greedy: GreedyOption = False,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    repeat_penalty: RepeatPenaltyOption = None,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = None,
    stop: StopOption = None,
    adapter: AdapterOption = None,
    json_schema: SchemaOption = None,
    explain_settings: ExplainOption = False,
    json: JsonOption = False,
) -> None:
    """Ask; the answer streams in, with its sources. A conversation keeps its filters until others are given."""
    from app.answering import resolved

    asked = settings_of(context.params)
    state = state_of(context)
    targets = [state.collection(name) for name in collection]
    conversations, user = state.alioth.conversations, state.principal.user_id
    earlier: list[ChatTurn] = []
    filters = filters_of(document, kind, path, since, until, added_since, added_until, language)
    if conversation:
        thread = conversations.get(conversation, user)
        messages = conversations.messages(thread.id)
        earlier = [ChatTurn(m.role, m.text) for m in messages]
        if not filters and not everything:
            filters = next((Filters.from_dict(m.answer.filters) for m in reversed(messages) if m.answer), filters)
    text = _question(question)
    chosen = resolved(state.alioth, targets, thread.id if conversation else "", asked)
    if explain_settings and not json:
        explain(chosen)
    answer = _stream(state, text, targets, earlier, mode, filters, chosen, show=not json)
    if not conversation:
        thread = conversations.create(user, [t.id for t in targets], title=text.strip()[:80])
    conversations.add_message(thread.id, "user", text)
    reply = conversations.add_message(thread.id, "assistant", "", state="streaming")
    conversations.finish_message(reply.id, "stopped" if answer.stopped else "complete", answer.text, answer)
    if json:
        made = dict(answer.settings) or chosen.to_dict()
        print_json(answer_json(answer, state) | {"settings": made, "conversation": thread.id})
    else:
        print_sources(answer, state)
        say(f"\nGo on with: --conversation {thread.id}")


def _stream(
    state: State,
    text: str,
    targets: list[Any],
    earlier: list[ChatTurn],
    mode: AnswerMode | None,
    filters: Filters,
    chosen: Resolved,
    show: bool,
) -> Answer:
    from chat.events import Finished, Text, Waiting

    how = mode or AnswerMode(state.alioth.settings.chat.mode)
    answer: Answer | None = None
    streamed = ""
    user = state.principal.user_id
    for event in state.alioth.answerer.answer(text, targets, earlier, how, user=user, filters=filters, chosen=chosen):
        if isinstance(event, Finished):
            answer = event.answer
        elif show and isinstance(event, Text):
            streamed += event.delta
            sys.stdout.write(event.delta)
            sys.stdout.flush()
        elif show and isinstance(event, Waiting) and event.place:
            say(f"Waiting: {event.place} ahead")
    assert answer is not None
    if show:
        sys.stdout.write("\n")
        if answer.text.strip() != streamed.strip():  # the check of the finished answer added marks
            sys.stdout.write(f"\n{answer.text.strip()}\n")
    return answer


def print_sources(answer: Answer, state: State) -> None:
    """Notices, doubtful sentences, contradictions and sources of an answer, for people."""
    from app.tasks import citation_dates
    from app.web.messages import say_or

    dates = citation_dates(state.alioth, answer.citations)
    for notice in answer.notices:
        say(f"\n{say_or(f'notice.{notice}', answer.language, notice)}")
    doubtful = [check for check in answer.verification if check.verdict is not Verdict.SUPPORTED]
    for check in doubtful:
        say(f"\n⚠ {check.verdict.value}: {check.sentence.strip()} ({check.reason})")
    documents = {citation.n: citation.document for citation in answer.citations}
    for found in answer.contradictions:
        one = f"{found.first_value} ({documents.get(found.first, '')} [{found.first}])"
        two = f"{found.second_value} ({documents.get(found.second, '')} [{found.second}])"
        head = say_or("contradiction.head", answer.language, "The documents contradict each other here.")
        say(f"\n⚠ {head} {one} / {two}")
    if answer.citations:
        typer.echo()
    for citation in answer.citations:
        where = place(citation.locator)
        date = dates.get(citation.version_id)
        day = f" ({date.day if date.kind == 'document' else 'added ' + date.day})" if date else ""
        typer.echo(f"[{citation.n}] {citation.document}{' — ' + where if where else ''}{day}")
        typer.echo(f"    “{' '.join(citation.quote.split())}”")
        if citation.n in answer.suspicious:
            say(f"    ⚠ {say_or('source.suspicious', answer.language, 'suspicious')}")


def verify(
    context: typer.Context,
    answer: Annotated[str, typer.Option("--answer", metavar="TEXT", help="The answer, with marks such as [1].")],
    sources: Annotated[Path, typer.Option("--sources", metavar="FILE", help='JSON Lines {"n": 1, "text": "…"}.')],
    json: JsonOption = False,
) -> None:
    """Check every sentence of an answer against the sources it cites."""
    from chat.verification.verify import check_answer

    checks = check_answer(answer, _read_sources(sources))
    if json:
        print_json([check_json(check) for check in checks])
        return
    for check in checks:
        typer.echo(f"{check.verdict.value:<12} {check.sentence.strip()}  {check.reason}".rstrip())


def _read_sources(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read '{path}': {error}.", "Give a UTF-8 file of JSON Lines.") from error
    found: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json_module.loads(line)
            found[int(row["n"])] = str(row["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Line {number} of '{path}' is not a source: {line[:80]!r}.", 'Each line is {"n": 1, "text": "…"}.'
            ) from error
    return found
