"""Question sets on the quality page: choose, make, fill, export, and start a run."""

from __future__ import annotations

import math

import streamlit as st

from app.quality import Imported
from app.web import dialogs, state
from app.web.failures import shown
from app.web.render import label
from app.web.views import quality_question
from core.types import AnswerMode, Collection, Principal
from storage.quality import QuestionSet, SetQuestion

PER_PAGE = 15
ORIGINS = {
    "written": "quality.origin_written",
    "imported": "quality.origin_imported",
    "generated": "quality.origin_generated",
    "feedback": "quality.origin_feedback",
}
COLOURS = {"written": "blue", "imported": "gray", "generated": "violet", "feedback": "orange"}
KINDS = {"retrieval": "quality.kind_retrieval", "answers": "quality.kind_answers"}
MODES = {mode.value: f"chat.mode_{mode.value}" for mode in AnswerMode}


def show(collection: Collection, who: Principal) -> None:
    """The sets of one collection, and the questions of the chosen one."""
    made = st.session_state.pop("quality_notice", None)
    if made:
        st.success(label(made), icon=":material/check:")
    chosen = _choose(collection, who)
    if chosen is None:
        st.info(state.t("quality.no_set"), icon=":material/quiz:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _start(chosen, who)
        _import(chosen, who)
        _generate(chosen, who)
        _feedback(chosen, who)
        _export(chosen, who)
    _questions(chosen, who)


def _choose(collection: Collection, who: Principal) -> QuestionSet | None:
    lab = state.alioth().quality
    by_id = {one.id: one for one in lab.sets(who, collection.id)}
    wanted = st.session_state.pop("quality_select_set", None)
    key = f"quality_set_{collection.id}"
    if wanted in by_id:
        st.session_state[key] = wanted
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = None
        if by_id:
            chosen = st.selectbox(
                state.t("quality.set"),
                list(by_id),
                format_func=lambda one: f"{by_id[one].name} ({by_id[one].questions})",
                key=key,
            )
        with st.popover(state.t("quality.new_set"), icon=":material/add:"):
            name = st.text_input(state.t("quality.set_name"), max_chars=120, key="quality_new_set")
            if st.button(state.t("quality.create"), type="primary", key="quality_create"):
                with shown():
                    st.session_state["quality_select_set"] = lab.create_set(state.principal(), collection.id, name).id
                    st.rerun()
        if chosen in by_id:
            _rename_or_delete(by_id[chosen])
    return by_id.get(chosen or "")


def _rename_or_delete(chosen: QuestionSet) -> None:
    lab = state.alioth().quality
    with st.popover(" ", icon=":material/more_horiz:", key=f"quality_more_{chosen.id}"):
        name = st.text_input(state.t("quality.set_name"), chosen.name, max_chars=120, key=f"rename_{chosen.id}")
        if st.button(state.t("page.save"), key=f"rename_save_{chosen.id}"):
            with shown():
                lab.rename_set(state.principal(), chosen.id, name)
                st.rerun()
        st.divider()
        st.caption(state.t("quality.delete_question", count=chosen.questions))
        if st.button(state.t("page.delete"), icon=":material/delete:", key=f"delete_set_{chosen.id}"):
            with shown():
                lab.delete_set(state.principal(), chosen.id)
                st.rerun()


def _start(chosen: QuestionSet, who: Principal) -> None:
    with st.popover(state.t("quality.start"), icon=":material/play_arrow:", type="primary"):
        st.caption(state.t("quality.start_help"))
        name = st.text_input(state.t("quality.run_name"), max_chars=120, key="quality_run_name")
        kind = st.radio(
            state.t("quality.kind"), list(KINDS), format_func=lambda one: state.t(KINDS[one]), key="quality_kind"
        )
        mode = AnswerMode.AUTOMATIC.value
        if kind == "answers":
            mode = st.selectbox(
                state.t("chat.mode"), list(MODES), format_func=lambda one: state.t(MODES[one]), key="quality_mode"
            )
        most = max(1, chosen.questions)
        limit = st.number_input(state.t("quality.how_many"), 1, most, most, key=f"quality_limit_{chosen.id}_{most}")
        if st.button(state.t("quality.start"), type="primary", key="quality_start", disabled=not chosen.questions):
            with shown():
                some = int(limit) if limit < chosen.questions else None
                state.alioth().quality.start(
                    state.principal(), chosen.id, kind or "retrieval", name, AnswerMode(mode), some
                )
                st.toast(state.t("quality.started"), icon=":material/check:")


def _import(chosen: QuestionSet, who: Principal) -> None:
    with st.popover(state.t("quality.import"), icon=":material/upload_file:"):
        st.caption(state.t("quality.import_help"))
        file = st.file_uploader(
            state.t("quality.file"), type=["jsonl", "json", "csv", "tsv"], key=f"quality_file_{chosen.id}"
        )
        if (
            st.button(state.t("quality.import"), type="primary", key="quality_do_import", disabled=file is None)
            and file
        ):
            with shown():
                done = state.alioth().quality.import_file(state.principal(), chosen.id, file.getvalue(), file.name)
                _tell(done)


def _generate(chosen: QuestionSet, who: Principal) -> None:
    with st.popover(state.t("quality.generate"), icon=":material/auto_awesome:"):
        st.caption(state.t("quality.generate_help"))
        limit = st.number_input(state.t("quality.how_many"), 1, 200, 20, key="quality_generate_n")
        seed = st.number_input(
            state.t("quality.seed"), 1, 9999, 1, key="quality_seed", help=state.t("quality.seed_help")
        )
        if st.button(state.t("quality.generate"), type="primary", key="quality_do_generate"):
            with shown(), st.spinner(state.t("quality.generating")):
                _tell(state.alioth().quality.generate(state.principal(), chosen.id, int(limit), int(seed)))


def _feedback(chosen: QuestionSet, who: Principal) -> None:
    with st.popover(state.t("quality.feedback"), icon=":material/thumbs_up_down:"):
        st.caption(state.t("quality.feedback_help"))
        judged = {one.message_id: one for one in state.alioth().quality.feedback(who, chosen.collection_id)}
        if not judged:
            st.caption(state.t("quality.no_feedback"))
            return
        picked = st.multiselect(
            state.t("quality.questions"),
            list(judged),
            format_func=lambda key: f"{'👍' if judged[key].rating > 0 else '👎'} {judged[key].question[:80]}",
            key=f"quality_judged_{chosen.id}",
        )
        if st.button(state.t("quality.take"), type="primary", key="quality_take", disabled=not picked):
            with shown():
                _tell(state.alioth().quality.take_feedback(state.principal(), chosen.id, picked))


def _export(chosen: QuestionSet, who: Principal) -> None:
    lab = state.alioth().quality
    with st.popover(state.t("quality.export"), icon=":material/download:"):
        for ending, as_csv in (("jsonl", False), ("csv", True)):
            text = lab.export(who, chosen.id, as_csv)
            st.download_button(
                ending.upper(),
                text.encode("utf-8-sig" if as_csv else "utf-8"),
                file_name=f"{chosen.name}.{ending}",
                mime="text/csv" if as_csv else "application/x-ndjson",
                key=f"quality_export_{ending}",
                on_click="ignore",
            )


def _tell(done: Imported) -> None:
    text = state.t("quality.imported", added=done.added, replaced=done.replaced)
    if done.missing:
        names = ", ".join(done.missing[:3])
        text += " " + state.t("quality.missing", count=len(done.missing), names=names)
    st.session_state["quality_notice"] = text
    st.rerun()


def _questions(chosen: QuestionSet, who: Principal) -> None:
    questions = state.alioth().quality.questions(who, chosen.id)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            state.t("quality.search"), icon=":material/search:", key="quality_search", max_chars=200, width="stretch"
        )
        if st.button(state.t("quality.write"), icon=":material/edit:", key="quality_write"):
            dialogs.ask("question.new", chosen.id)
    if dialogs.is_open("question.new", chosen.id):
        quality_question.edit(chosen, None)
    needle = search.strip().casefold()
    found = [one for one in questions if needle in one.question.casefold()] if needle else questions
    if not found:
        st.caption(state.t("quality.nothing_found" if needle else "quality.empty_set"))
        return
    pages = math.ceil(len(found) / PER_PAGE)
    first = (min(st.session_state.get("quality_page", 1), pages) - 1) * PER_PAGE
    with st.container(border=True, gap="small"):
        for question in found[first : first + PER_PAGE]:
            _row(chosen, question)
    if pages > 1:
        st.pagination(pages, key="quality_page")


def _row(chosen: QuestionSet, question: SetQuestion) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"question_{question.qid}"):
        with st.container(gap=None, width="stretch"):
            st.markdown(label(question.question))
            st.caption(_facts(question))
        st.badge(state.t(ORIGINS[question.origin]), color=COLOURS[question.origin])  # type: ignore[arg-type]
        if st.button(
            " ", key=f"edit_{question.qid}", icon=":material/edit:", type="tertiary", help=state.t("quality.edit")
        ):
            dialogs.ask("question.edit", f"{chosen.id}/{question.qid}")
    if dialogs.is_open("question.edit", f"{chosen.id}/{question.qid}"):
        quality_question.edit(chosen, question)


def _facts(question: SetQuestion) -> str:
    """Where its answer stands, in a line."""
    data = question.data
    facts = [state.t("quality.unanswerable")] if data.get("unanswerable") else []
    gold = data.get("gold_doc_ids") or []
    if gold:
        more = f" +{len(gold) - 2}" if len(gold) > 2 else ""
        facts.append(label(", ".join(map(str, gold[:2]))) + more)
    elif not data.get("unanswerable"):
        facts.append(state.t("quality.no_document"))
    if data.get("answers"):
        one = data["answers"][0]
        text = one if isinstance(one, str) else " & ".join(one)
        facts.append(label(text if len(text) <= 60 else text[:59] + "…"))
    return " · ".join(facts)
