"""Documents of a set on their way through the pipeline: nothing lost, names safe, titles kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from evals.corpus import as_markdown, logical_paths
from evals.metrics import squash
from evals.scoped import ScopedRetriever
from evals.sets import EvalDocument
from ingest.logical_path import logical_path
from ingest.parsers.markdown import parse_text

PLAIN = st.text(alphabet=st.sampled_from("ab1 .,*_`[]<>&#-=|~\\:;!?()\n中文。"), max_size=80)


def read_back(title: str, text: str) -> str:
    return squash("\n".join(block.text for block in parse_text(as_markdown(title, text))))


@pytest.mark.parametrize(
    "text",
    [
        "a*b and c*d, snake_case_name, `tick`",
        "1 < 2 and <not a tag> & &amp; done",
        "see [1] and [x](y) in brackets"[:17],
        "first line\n    indented line\n= not a heading\n|not|a|table|",
        "~~~ no fence\n--- no rule",
        "第一条　为了规范，制定本法。\n第二条　适用范围。",
    ],
)
def test_plain_text_loses_no_letter(text: str) -> None:
    assert read_back("A title", text) == squash("A title" + text)


@given(text=PLAIN)
def test_no_letter_of_plain_text_is_lost(text: str) -> None:
    from evals.corpus import _MARKDOWN

    if not _MARKDOWN.search(text):
        assert read_back("", text) == squash(text)


def test_markdown_stays_markdown() -> None:
    text = "# Title\n\n- one\n- two"
    assert as_markdown("Title", text) == text
    assert as_markdown("Other", text) == f"# Other\n\n{text}"


def test_a_title_is_not_repeated() -> None:
    assert as_markdown("Leave", "Leave\n\nIs granted.") == "Leave\n\nIs granted."
    assert as_markdown("Leave", "Leave is granted.") == "# Leave\n\nLeave is granted."
    assert as_markdown("", "Words.") == "Words."


def test_paths_are_safe_different_and_in_order() -> None:
    ids = ["a/b.md#01", "a/b.md#02", "../../etc/passwd", "A/B.md-01", "中文 文档", "...", "x" * 300, "a//b"]
    paths = logical_paths([EvalDocument(doc_id, "", "text") for doc_id in ids])
    assert len({path.lower() for path in paths}) == len(ids)
    assert paths[0] == "a/b.md-01.md" and paths[2] == "etc/passwd.md" and paths[5] == "document.md"
    assert paths[3] == "A/B.md-01-2.md"
    for path in paths:
        assert logical_path(path) == path


def test_a_scope_is_asked_for_as_a_filter_so_that_nothing_of_it_is_lost() -> None:
    from chat.retrieval.refuse import Evidence
    from chat.retrieval.retrieve import Retrieval
    from core.filters import Filters

    class Everything:
        asked: dict[str, object]

        def retrieve(self, query: str, collections: object, k: int = 10, **more: object) -> Retrieval:
            self.asked = {"query": query, "k": k, **more}
            return Retrieval([], Evidence.__new__(Evidence), {})

    inner = Everything()
    ScopedRetriever(inner, Filters(documents=("in/1.md",))).retrieve("q", [], 5, typed="and q")  # type: ignore[arg-type]
    assert inner.asked == {"query": "q", "k": 5, "typed": "and q", "filters": Filters(documents=("in/1.md",))}


def test_a_scope_names_the_documents_of_its_parent() -> None:
    from core.types import Collection, Fingerprint
    from evals.corpus import Corpus, IngestFigures
    from evals.live import LiveCorpus
    from storage.tables import now

    documents = [
        EvalDocument("a", "", "text", "site"),
        EvalDocument("b", "", "text"),
        EvalDocument("c", "", "t", "site"),
    ]
    collection = Collection("id", "name", Fingerprint("test", "0" * 64, 8, True, "", "1"), now())
    corpus = Corpus(collection, documents, IngestFigures(3, 3, 1.0))
    assert corpus.scope("site").documents == ("a.md", "c.md")
    with pytest.raises(InputError, match="'nowhere'"):
        corpus.scope("nowhere")
    live = LiveCorpus(collection)
    assert live.scope("hr").paths == ("hr",) and live.doc_id("hr/a.md") == "hr/a.md"
