"""What the alternative text of a picture says; names that programs give to pictures say nothing."""

from __future__ import annotations

import re

from ingest.clean import collapse

_MADE_BY = re.compile(
    r"\s*(?:Description automatically generated(?: with \w+ confidence)?|Automatically generated description"
    r"|AI[- ]generated content may be incorrect|AI 生成的内容可能不正确|AI 產生的內容可能不正確"
    r"|描述已自动生成|自動產生的描述)[.。]?\s*$",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"^(?:[^\s/\\]*[/\\])*[\w\s.()@-]*\.(?:png|jpe?g|gif|bmp|tiff?|emf|wmf|svg|webp|ico)$"
    r"|^(?:image|img|picture|pic|photo|graphic|screenshot|logo|icon|图片|圖片|图像|图形|图|object|shape|avatar)?[\s_\-]*\d*$"
    r"|^\w+://\S+$",
    re.IGNORECASE,
)


def picture_text(description: str) -> str:
    """The author's words for a picture, on one line; empty for a file name, an address or `Picture 3`."""
    words = collapse(_MADE_BY.sub("", collapse(description)))
    return "" if _NAME.match(words) else words
