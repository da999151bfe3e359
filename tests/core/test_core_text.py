"""Languages, sentences and search tokens."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.text
from core.text import CHINESE_STOP_WORDS, detect_language, fold, segment, split_sentences

MIXED = st.text(alphabet=st.sampled_from(list('abcABC 123.。！？!?；\n"”’)（）公司成立于年Mr.Dr.e.g.…')), max_size=200)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("公司成立于哪一年？", "zh"),
        ("What year was it founded?", "en"),
        ("什么是 GitLab handbook 的编辑规则?", "zh"),
        ("The product 玉衡 is a private knowledge chat for companies", "en"),
        ("これは日本語ですか", "ja"),
        ("안녕하세요 여러분", "ko"),
        ("Что это такое", "other"),
        ("12345 !!!", "other"),
    ],
)
def test_language_is_told_by_script(text: str, language: str) -> None:
    assert detect_language(text) == language


@given(MIXED)
def test_sentences_joined_are_the_whole_text(text: str) -> None:
    spans = split_sentences(text)
    assert "".join(text[a:b] for a, b in spans) == text
    assert all(a < b for a, b in spans)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Mr. Smith paid 3.5 million. He left!", ["Mr. Smith paid 3.5 million. ", "He left!"]),
        ("公司成立于2001年5月。注册地为上海！", ["公司成立于2001年5月。", "注册地为上海！"]),
        ("他说：“走吧。”然后走了。", ["他说：“走吧。”", "然后走了。"]),
        ("See e.g. Fig. 3 for v1.2.3. Done.", ["See e.g. Fig. 3 for v1.2.3. ", "Done."]),
        ("1. First item\n2. Second item", ["1. First item\n", "2. Second item"]),
    ],
)
def test_sentences_end_where_people_end_them(text: str, sentences: list[str]) -> None:
    assert [text[a:b] for a, b in split_sentences(text)] == sentences


def test_one_query_string_finds_both_languages_and_identifiers() -> None:
    tokens = segment("《公司法》第六十条 expense policies GB/T-9704 v1.2.3")
    assert {"公司法", "第六十条", "expens", "polici", "gb/t-9704", "9704", "v1.2.3"} <= set(tokens)


@pytest.mark.parametrize(("left", "right"), [("內容", "内容"), ("ＡＢＣ１２３", "abc123"), ("Expenses", "expense")])
def test_spellings_of_one_word_share_their_tokens(left: str, right: str) -> None:
    assert segment(left) == segment(right)


def test_stop_words_are_left_out_of_the_tokens() -> None:
    assert segment("what is the") == []
    assert segment("的 了 是") == []


def test_folding_is_stable() -> None:
    assert fold(fold("繁體中文 ＦＵＬＬ")) == fold("繁體中文 ＦＵＬＬ")


def test_threads_that_segment_side_by_side_get_what_one_gets() -> None:
    words = [
        f"{a}{b}" for a in ("generaliz", "organiz", "relat", "condit", "nation") for b in ("ation", "ing", "ed", "al")
    ]
    texts = [" ".join(f"{word}{n}x {word}" for word in words) for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(segment, texts))
    core.text._stem.cache_clear()
    assert together == [segment(text) for text in texts]


_CHINESE = (
    "小明硕士毕业于中国科学院计算所，后在日本京都大学深造。",
    "《中华人民共和国公司法》第六十条：有限责任公司不设股东会。",
    "南京市长江大桥于一九六八年建成通车，全长六千七百七十二米。",
    "每位员工每年享有二十五天带薪年假，须提前两周书面申请。",
    "設備維護手冊：更換密封圈之前，必須先關閉水泵並切斷電源。",
    "演员刘䶮、歌手㐂鿰与陈喆出席了开幕式。",
    "他来到了网易杭研大厦，买了杭州西湖区的乒乓球拍。",
)


@pytest.mark.parametrize("text", _CHINESE)
def test_chinese_falls_into_the_words_that_older_indexes_were_made_of(text: str) -> None:
    import jieba

    jieba.setLogLevel(logging.WARNING)
    pieces = re.findall(r"[\u3400-\u9fff]+", fold(text))
    words = [word for piece in pieces for word in jieba.cut_for_search(piece)]
    assert segment(text) == [word for word in words if word not in CHINESE_STOP_WORDS]
