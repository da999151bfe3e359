"""Model output and document text are hostile: whatever they hold, only our own few tags come out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.places import place_text
from app.web.render import answer_html, label, question_html, quote_html
from core.types import Locator, SentenceCheck, Verdict

ALLOWED = {"div", "p", "b", "ul", "ol", "li", "pre", "code", "sup", "span", "blockquote"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    return tags


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.test/pixel.png)",
    "[click](javascript:alert(1))",
    "<a href='http://evil.test'>x</a>",
    "http://evil.test/?q=secret",
    "<style>*{display:none}</style>",
    "</div></div><iframe src=//evil.test>",
    "`<svg onload=alert(1)>`",
    "**<b onclick=x>**",
    '[1]" onmouseover="alert(1)',
    "```\n</pre><script>\n```",
    "- <object data=x>\n1. <embed>",
    "# <meta http-equiv=refresh content=0>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_come_out_as_text(attack: str) -> None:
    checks = [SentenceCheck(attack, Verdict.UNSUPPORTED, f'"><script>{attack}', 0, len(attack))]
    html = answer_html(attack, checks, {1: f"\"'><script>{attack}"})
    tags = parse(html)
    assert {tag for tag, _ in tags.seen} <= ALLOWED
    assert {name for _, attributes in tags.seen for name in attributes} <= {"class", "title"}


@given(st.text(alphabet=st.sampled_from("ab<>&\"'`*[]()!#-1. \n】【中http:/\\"), max_size=120), st.data())
def test_no_text_makes_another_tag_or_loses_words(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    checks = [SentenceCheck("x", Verdict.UNSUPPORTED, "why", start, end)]
    tags = parse(answer_html(text, checks, {1: "one"}))
    assert {tag for tag, _ in tags.seen} <= ALLOWED
    for letter in "ab中":
        assert tags.text.count(letter) >= text.count(letter) - sum(
            line.count(letter) for line in text.split("\n") if line.strip().startswith("```")
        )


def test_an_unsupported_sentence_is_marked_with_its_reason() -> None:
    text = "Costs are paid. The limit is 999 euros [1]."
    start = text.index("The")
    checks = [
        SentenceCheck("Costs are paid.", Verdict.SUPPORTED, "", 0, 15),
        SentenceCheck("x", Verdict.UNSUPPORTED, "The number “999” is not in the source.", start, len(text)),
    ]
    html = answer_html(text, checks, {1: "policy.pdf"})
    assert html.count("al-unsupported") == 1 and "⚠" in html
    assert 'title="The number “999” is not in the source."' in html
    assert html.index("Costs") < html.index("al-unsupported") < html.index("999 euros")
    assert '<sup class="al-cite" title="policy.pdf">1</sup>' in html


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 3), (-1, 4), (2, 999)])
def test_a_check_whose_place_does_not_fit_marks_nothing(start: int, end: int) -> None:
    html = answer_html("Short text.", [SentenceCheck("x", Verdict.UNSUPPORTED, "why", start, end)])
    assert "al-unsupported" not in html and "Short text." in html


def test_a_number_that_no_source_has_stays_text() -> None:
    html = answer_html("See [7] and 【1】.", (), {1: "a"})
    assert "[7]" in html and html.count("<sup") == 1


def test_lists_bold_and_code_are_shown() -> None:
    html = answer_html("Intro:\n- **first** item\n- second `code`\n\n1. one\n2. two\n\n```\nraw <x>\n```\nEnd")
    assert "<ul><li><b>first</b> item</li><li>second <code>code</code></li></ul>" in html
    assert "<ol><li>one</li><li>two</li></ol>" in html
    assert '<pre class="al-code">raw &lt;x&gt;\n</pre>' in html and html.endswith("<p>End</p></div>")


def test_quotes_and_questions_are_escaped() -> None:
    for html in (quote_html("<i>x</i> & y"), question_html("<i>x</i> & y")):
        assert "&lt;i&gt;x&lt;/i&gt; &amp; y" in html


@pytest.mark.parametrize(
    "attack", ["![x](http://e.t/p.png)", "[a](http://e.t)", "**b** `c` :red[x] $y$ :smile:", "<b>", "# h"]
)
def test_labels_show_markdown_as_it_is(attack: str) -> None:
    shown = label(attack)
    assert not re.search(r"(?<!\\)[\[\]()*`$<>#:!]", shown)
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == attack


def test_addresses_in_labels_are_no_links() -> None:
    assert not re.search(r"https?\\?://|\bwww\\?\.", label("see https://evil.test and www.evil.test").replace("\\", ""))


def test_places_are_said_in_both_languages() -> None:
    locator = Locator(page=3, page_end=4, heading=("范围", "术语"))
    assert place_text(locator, "en") == "pages 3–4 · 范围 › 术语"
    assert place_text(locator, "zh") == "第 3–4 页 · 范围 › 术语"
    assert place_text(Locator(sheet="预算", cells="A2:D9"), "en") == "sheet 预算 · A2:D9"
    assert place_text(Locator(slide=2), "zh") == "第 2 张幻灯片"
    assert place_text(Locator(lines=(5, 5)), "en") == "line 5"
    assert place_text(Locator(), "en") == ""
