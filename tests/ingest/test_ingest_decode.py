"""Bytes to text: every common encoding of Chinese, Japanese, Korean and Western files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.decode import decode

CHINESE = "根据公司规定，员工出差须提前三天提出申请，经部门负责人批准后方可订票。住宿标准为每晚五百元。"
TRADITIONAL = "根據公司規定，員工出差須提前三天提出申請，經部門負責人批准後方可訂票。住宿標準為每晚五百元。"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "gbk", "gb2312", "hz"],
)
def test_simplified_chinese_is_read_in_every_encoding(encoding: str) -> None:
    decoded = decode(CHINESE.encode(encoding))
    assert (decoded.text.lstrip("\ufeff"), decoded.problems) == (CHINESE, ())


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TRADITIONAL, "big5"),
        ("この規程は、従業員の出張に関する事項を定めるものである。", "shift_jis"),
        ("この規程は、従業員の出張に関する事項を定めるものである。", "euc_jp"),
        ("この規程は、従業員の出張に関する事項を定めるものである。", "iso2022_jp"),
        ("직원은 출장 전에 부서장의 승인을 받아야 한다.", "euc_kr"),
        ("Café résumé naïve – “quoted” text costs 5 €.", "cp1252"),
    ],
)
def test_other_encodings_are_told_apart(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


def test_bytes_prove_more_than_a_declared_encoding() -> None:
    assert decode(CHINESE.encode(), declared="iso-8859-1").text == CHINESE
    assert decode("价格".encode("gb2312"), declared="gb2312").text == "价格"


def test_bytes_that_cannot_be_read_are_reported_and_the_rest_is_kept() -> None:
    data = CHINESE.encode() * 5 + b"\xff\xfe\xfa" + b" end"
    decoded = decode(data)
    assert decoded.text.startswith(CHINESE) and decoded.text.endswith("end")
    assert [problem.code for problem in decoded.problems] == ["undecodable_text"]


def test_a_file_in_two_encodings_keeps_both_halves() -> None:
    decoded = decode((CHINESE + "\n").encode() + (CHINESE + "\n").encode("gb18030"))
    assert decoded.text == f"{CHINESE}\n{CHINESE}\n"


def test_line_ends_become_newlines() -> None:
    assert decode(b"a\r\nb\rc").text == "a\nb\nc"


def test_real_files_of_every_encoding_decode_without_mojibake(evaluation_files: Path) -> None:
    wrong = []
    for line in (evaluation_files / "hostile" / "MANIFEST.jsonl").read_text().splitlines():
        entry = json.loads(line)
        name = entry.get("encoding", "")
        if entry["category"] != "encodings_real" or name == "Johab":  # Johab died out with DOS
            continue
        data = (evaluation_files / "hostile" / entry["path"]).read_bytes()
        wanted = data.decode(name, errors="replace").replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
        text = decode(data).text.lstrip("\ufeff")
        if sum(a != b for a, b in zip(wanted, text, strict=False)) > 0.01 * len(wanted):
            wrong.append(entry["path"])
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.", "cp1250"),
        ("Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.", "iso8859_2"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy, řekl učitel.", "cp1250"),
        ("Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis, sąžinė ir protas.", "cp1257"),
        ("Alle mennesker er født frie og like.", "cp1252"),
        ("Nú skal ég segja þér sögu af ömmu.", "cp1252"),
        ("Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar, kardeşlik şuuru.", "cp1254"),
        ("เราทุกคนเกิดมาอย่างอิสระ เราทุกคนมีความคิดและความเข้าใจเป็นของเราเอง", "tis-620"),
        ("직원은 출장 전에 부서장의 승인을 받아야 한다. 이 규정은 모든 직원에게 적용한다.", "johab"),
        ("ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ, ສິດທິ, ເສລີພາບ", "utf-16-le"),
        ("មនុស្សទាំងអស់ កើតមកមានសេរីភាព", "utf-16-be"),
        ("Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm.", "utf-16-le"),
        ("员工出差须提前三天提出申请。Approved trips only.", "utf-32-le"),
        ("员工出差须提前三天提出申请。Approved trips only.", "utf-32-be"),
    ],
)
def test_short_texts_of_further_languages_are_not_taken_for_others(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


def test_a_page_that_calls_its_chinese_latin_is_read_as_chinese() -> None:
    text = "员工出差须提前三天提出申请，经部门负责人批准后方可订票。"
    assert decode(text.encode("gb18030"), "iso-8859-1").text == text
    assert decode("Café résumé".encode("cp1252"), "iso-8859-1").text == "Café résumé"
