"""The score that tells a page's text from what broken fonts and encodings leave of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.parsers.text_quality import quality

ENGLISH = "Employees book the cheapest fare that suits the purpose of the trip, and keep every receipt for the office. "
CHINESE = "员工出差须提前三天申请，经部门负责人批准后方可订票。报销单据应在返回后十个工作日内提交财务部。"
SOUND = {
    "english": ENGLISH,
    "chinese": CHINESE,
    "mixed": "公司使用 PostgreSQL 16 与 Chroma 存储 1,024 维向量（float32）。",
    "figures": "2021 746 1,567 3,684 5,056 4.5% 110.0% -135.1% (12) 2,022.5",
    "german": "Überprüfen Sie die Größe der Straße; naïve Café-Gäste über Zürich und Köln.",
    "code": "def f(x): return {k: v[0] for k, v in x.items() if v}  # == [1, 2]",
    "contents": "1 Scope ............ 3\n2 Terms ............ 5\n3 Rules ............ 11",
    "capitals": "THE PARTIES AGREE THAT THE LESSEE SHALL PAY THE RENT ON THE FIRST DAY OF EVERY MONTH WITHOUT DELAY.",
    "bullets": "\uf0b7 first rule of the house\n\uf0b7 second rule of the house",
    "traditional": "員工出差須提前三天申請，經部門負責人批准後方可訂票。",
    "japanese": "従業員は出張の三日前までに申請し、部門長の承認を得なければならない。",
}
BROKEN = {
    "cid": "(cid:12)(cid:7)(cid:33)(cid:12) (cid:4)(cid:19)(cid:2) and a word",
    "private": "\ue012\ue044\ue0a1\ue013 \ue021\ue022 \ue033\ue034\ue035 page",
    "replacement": "\ufffd\ufffd\ufffd\ufffd\ufffd text \ufffd\ufffd\ufffd",
    "utf8_as_latin1": CHINESE.encode().decode("latin-1"),
    "utf8_as_gb18030": CHINESE.encode().decode("gb18030", errors="replace"),
    "no_vowels": "7KH TXLFN EURZQ IR[ MXPSV RYHU WKH OD]\\ GRJ DQG WKHQ UXQV DZD\\ LQWR WKH GHHS GDUN " * 3,
    "glued": "thequickbrownfoxjumpsoverthelazydogandrunsaway" * 4,
    "scrambled": (
        '"#$ ! ,-./012 23245/0670/2181 09 )*+ 6/0:;451 09 2<0=%，&，’，( .=: 57/22 >84/01.5233852 2=:>?@ AB "#$ %&'
    )
    * 2,
    "symbols": "#@~^`{}\\#@~^`{}\\¬¦±§#@~^`{}\\¬¦±§ab#@~^`{}\\¬¦±§#@~^`{}\\¬¦±§",
    "lost_chinese": "锟斤拷锟斤拷锟斤拷烫烫烫 报告",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND.keys())
def test_sound_text_is_good(text: str) -> None:
    assert quality(text).good, quality(text)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text_is_not_good_and_says_why(name: str) -> None:
    found = quality(BROKEN[name])
    assert not found.good and found.reason, found


def test_no_text_scores_nothing() -> None:
    assert quality(" \n\t").score == 0 and quality("").reason == "empty"


@given(st.text(max_size=400))
def test_the_score_is_a_share_and_never_raises(text: str) -> None:
    assert 0 <= quality(text).score <= 1


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=60))
def test_columns_of_figures_are_sound(values: list[int]) -> None:
    assert quality("\n".join(f"{value:,}" for value in values)).good


@given(st.text(alphabet="\ue000\ue001\uf8ff\ufffd", min_size=1, max_size=50))
def test_more_broken_characters_never_raise_the_score(broken: str) -> None:
    assert quality(ENGLISH + broken).score <= quality(ENGLISH).score
    assert quality(ENGLISH[:20] + broken * 20).score < 0.5
