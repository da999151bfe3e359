"""The search test page: what a question finds, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.explain import CandidateRow, candidate_rows
from app.web import places, state
from app.web.failures import shown
from app.web.highlight import marked_html
from app.web.render import label
from app.web.views.narrow import choose_filters
from core.filters import Filters
from core.text import segment
from core.types import Collection

if TYPE_CHECKING:
    from chat.preview import Reading
    from chat.retrieval.retrieve import Retrieval

SHOWN = 10
_STAGES = (
    "question",
    "filter",
    "embed",
    "keyword",
    "dense",
    "load",
    "exact",
    "fuse",
    "rerank",
    "evidence",
    "suppress",
    "passages",
)


def page() -> None:
    """Ask for a question, collections and filters, and show how the search went."""
    state.principal()
    st.header(state.t("search.title"))
    st.caption(state.t("search.about"))
    collections = state.readable()
    if not collections:
        st.info(state.t("library.none"), icon=":material/info:")
        return
    chosen, filters = _where(collections)
    with st.form("search_form", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        question = st.text_input(
            state.t("search.question"),
            max_chars=state.alioth().settings.chat.max_question_chars,
            key="search_question",
            width="stretch",
        )
        st.form_submit_button(state.t("search.run"), type="primary", icon=":material/search:")
    if question.strip() and chosen:
        with shown():
            _search(question, chosen, filters)


def _where(collections: list[Collection]) -> tuple[list[Collection], Filters]:
    most = state.alioth().settings.chat.max_collections
    by_id = {collection.id: collection for collection in collections}
    wide, narrow = st.columns((3, 1), vertical_alignment="bottom")
    with wide:
        chosen = st.multiselect(
            state.t("chat.collections"),
            list(by_id),
            default=list(by_id)[:most],
            format_func=lambda key: by_id[key].name,
            max_selections=most,
            placeholder=state.t("chat.collections_none"),
            key="search_collections",
        )
    picked = [by_id[key] for key in chosen]
    with narrow:
        return picked, choose_filters("search", picked, Filters())


def _search(question: str, collections: list[Collection], filters: Filters) -> None:
    from chat.preview import reading
    from chat.question import check_question

    alioth = state.alioth()
    text = check_question(question, alioth.settings.chat.max_question_chars)
    allowed = alioth.permissions.readable_of(state.principal(), [c.id for c in collections])
    found = alioth.retriever.retrieve(text, allowed, SHOWN, filters=filters)
    rows = candidate_rows(found)
    read = reading(text, found, alioth.chunks, alioth.llm, alioth.settings.chat)
    _question_stage(found)
    results, stages, passages, times = st.tabs(
        [
            state.t("search.results", count=len(found.results)),
            state.t("search.candidates", count=len(found.trace.ranked)),
            state.t("search.read", count=len(read.sources)),
            state.t("search.timings", ms=round(found.timings["total"] * 1000)),
        ]
    )
    with results:
        _results(rows, found, {c.id: c.name for c in allowed})
    with stages:
        _candidates(rows, found)
    with passages:
        _passages(read, list(found.trace.tokens))
    with times:
        _timings({**found.timings, "passages": read.seconds})


def _question_stage(found: Retrieval) -> None:
    """What was made of the question, before anything was searched."""
    trace, evidence = found.trace, found.evidence
    pairs = [(state.t("search.words"), " ".join(trace.tokens) or "–")]
    pairs += [(state.t("search.glossary"), f"{one.found} → {', '.join(one.others)}") for one in trace.expansions]
    if trace.exact:
        kinds = ", ".join(f"{term.text} ({state.t(f'search.exact_{term.kind}')})" for term in trace.exact)
        pairs.append((state.t("search.exact"), kinds))
    if trace.selected is not None:
        key = "search.selected_all" if trace.scored_all else "search.selected_index"
        pairs.append((state.t("search.filters"), state.t(key, documents=trace.selected[0], chunks=trace.selected[1])))
    for name, share in trace.dense_share.items():
        weights = state.t("search.weights", dense=round(100 * share), keyword=round(100 * (1 - share)))
        pairs.append((state.t("search.fusion"), f"{name}: {weights}"))
    figures = state.t(
        "search.evidence_figures", coverage=round(100 * evidence.coverage), reach=round(100 * evidence.reach)
    )
    if evidence.similarity is not None:
        figures += " · " + state.t("search.similarity", value=f"{evidence.similarity:.2f}")
    verdict = state.t("search.refused" if evidence.too_little else "search.enough")
    pairs.append((state.t("search.evidence"), f"{figures} · {verdict}"))
    if evidence.missing:
        pairs.append((state.t("search.missing"), " ".join(evidence.missing)))
    if found.degraded:
        pairs.append((state.t("search.degraded"), state.t("notice.model_unavailable")))
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
    st.html(f'<dl class="al-report">{items}</dl>')


def _results(rows: list[CandidateRow], found: Retrieval, names: dict[str, str]) -> None:
    if not found.results:
        st.caption(state.t("search.nothing"))
    words = list(found.trace.tokens)
    words += [token for one in found.trace.expansions for other in one.others for token in segment(other)]
    for row in sorted((row for row in rows if row.chosen), key=lambda row: row.chosen):
        chunk = row.chunk
        meta = " · ".join(
            filter(None, (names.get(chunk.collection_id, ""), places.place_text(chunk.locator, state.language())))
        )
        with st.container(border=True):
            st.html(
                f'<p class="al-name">{row.chosen}. {escape(chunk.path)}</p><p class="al-meta">{escape(meta)}</p>'
                f'<div class="al-answer">{marked_html(chunk.text, words)}</div>'
            )
            st.caption(label(" · ".join(_figure(stage, *figure) for stage, figure in row.figures.items())))


def _figure(stage: str, value: float, rank: int) -> str:
    return f"{state.t(f'search.stage_{stage}')} {value:.3f} (#{rank})"


def _candidates(rows: list[CandidateRow], found: Retrieval) -> None:
    """Every candidate with figure and rank of each stage; the kept and the left out."""
    st.caption(state.t("search.candidates_help"))
    table = []
    for row in rows:
        line: dict[str, Any] = {"#": row.rank, state.t("search.document"): row.chunk.path}
        for stage in ("dense", "keyword", "among", "exact", "fused", "rerank"):
            if stage in row.figures:
                line[state.t(f"search.stage_{stage}")] = row.figures[stage][0]
                if stage in ("dense", "keyword"):
                    line[state.t("search.rank_of", stage=state.t(f"search.stage_{stage}"))] = row.figures[stage][1]
        line[state.t("search.outcome")] = _outcome(row)
        line[state.t("search.text")] = " ".join(row.chunk.text.split())[:120]
        table.append(line)
    st.dataframe(table, hide_index=True, width="stretch")
    if found.trace.suppressed:
        st.caption(state.t("search.suppressed", count=len(found.trace.suppressed)))


def _outcome(row: CandidateRow) -> str:
    if row.chosen:
        return state.t("search.chosen", place=row.chosen)
    return state.t("search.repeats", rank=row.suppressed_by) if row.suppressed_by else "–"


def _passages(read: Reading, words: list[str]) -> None:
    """What a generated answer would be given: each passage with the neighbours that it was widened by."""
    room = "search.read_room" if read.budget is not None else "search.read_uncounted"
    st.caption(state.t(room, tokens=read.budget or 0) + " " + state.t("search.read_left_out", count=read.left_out))
    for source in read.sources:
        chunk, added = source.passage.chunk, read.added_to(source)
        parts = ", ".join(str(one.ordinal + 1) for one in added)
        meta = state.t("search.read_part", part=chunk.ordinal + 1)
        meta += " · " + state.t("search.read_added", parts=parts) if added else ""
        with st.container(border=True):
            st.html(
                f'<p class="al-name">{source.passage.n}. {escape(chunk.path)}</p><p class="al-meta">{escape(meta)}</p>'
                f'<div class="al-answer">{marked_html(source.passage.text, words)}</div>'
            )


def _timings(seconds: Mapping[str, float]) -> None:
    known = [stage for stage in _STAGES if stage in seconds]
    lines = [
        {state.t("search.stage"): state.t(f"search.time_{stage}"), "ms": round(seconds[stage] * 1000, 1)}
        for stage in known
    ]
    st.dataframe(lines, hide_index=True, width="stretch")
    st.caption(state.t("search.timings_help"))
