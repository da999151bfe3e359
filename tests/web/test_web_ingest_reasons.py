"""Why a file was refused is said in Chinese, too, with its values."""

from __future__ import annotations

import re

import pytest

from app.web.ingest_reasons import _KINDS, _WHY, ingest_reason
from app.web.messages import catalogue


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Cannot ingest 'a.pdf': the file is empty.", "文件是空的"),
        ('Cannot ingest "it\'s: here.pdf": it is protected by a password.', "有密码保护"),
        ("Cannot ingest 'b.txt' out of 'a.zip': it is protected by a password.", "有密码保护"),
        (
            "Cannot read 'a.odt': LibreOffice could not open it. It is damaged, protected by a password, or not what "
            "its name says.",
            "LibreOffice 无法打开",
        ),
        (
            "Cannot ingest 'a.zip': it unpacks to 458 times its size, over the limit of 250 times.",
            "458 倍，超过 250 倍",
        ),
        ("Cannot ingest 'a.zip': it holds 20000 parts, over the limit of 10000.", "20000 个文件，超过 10000 个"),
        ("Cannot ingest 'a.bin': 300 MB is over the 200 MB limit.", "300 MB，超过 200 MB"),
        (
            "Cannot read 'a.docx': what is in it is no docx file, nor anything else that Alioth knows. It is damaged, "
            "encrypted, or bears another file's name.",
            "不是 docx 格式",
        ),
        ("Cannot ingest 'a.7z': it looks like a 7-Zip archive, which Alioth does not read.", "其他格式的压缩包"),
        ("Cannot ingest 'a.pdf': it looks like a Windows program, which Alioth does not read.", "可执行程序"),
        ("Cannot read 'a.pdf': the parser took longer than the limit of 120 s.", "120 秒"),
        ("Cannot read 'a.pdf': the parser used up its processor time.", "处理器时限"),
        ("Cannot read 'a.pdf': the parser crashed (signal 11).", "读取程序"),
        ("Cannot read 'a.docx': its zip container is damaged.", "损坏或不完整"),
        ("Cannot take '../../x.txt' out of 'a.zip': it holds the part '..'.", "越出目录"),
        ("Cannot unpack 'a.zip': the process that unpacks it crashed (signal 9).", "解压程序"),
        ("Cannot ingest 'README' out of 'a.zip': it is packed with 'implode', which Alioth does not read.", "implode"),
    ],
)
def test_a_reason_is_said_in_chinese_with_its_values(message: str, expected: str) -> None:
    said = ingest_reason("unreadable", message, "Do this.", "zh")
    assert expected in said
    assert "Cannot" not in said and "Do this" not in said and "{" not in said
    assert ingest_reason("unreadable", message, "Do this.", "en") == f"{message} Do this."


def test_an_unknown_reason_keeps_its_words_under_the_name_of_its_kind() -> None:
    assert ingest_reason("unreadable", "Cannot read 'a': the moon is full.", "", "zh") == (
        "文件损坏或无法读取（Cannot read 'a': the moon is full.）"
    )
    assert ingest_reason("new_code", "Something else.", "Wait.", "zh") == "Something else. Wait."


def test_every_pattern_has_a_text_with_the_places_it_fills() -> None:
    for pattern, key in _WHY:
        text = catalogue()[f"refused.{key}"]["zh"]
        assert set(re.findall(r"{(\w+)}", text)) <= set(pattern.groupindex), key
    assert [key for _, key in _KINDS if f"refused.kind_{key}" not in catalogue()] == []
