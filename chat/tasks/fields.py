"""Fields a person asks for, what kind of value each wants, and where a label in a document names one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from chat.facts.values import squash
from core.errors import InputError
from core.text import segment

MOST_FIELDS = 30
LONGEST_NAME = 60
KINDS = ("text", "name", "date", "amount", "number", "percent", "email", "phone", "id")

_KIND_WORDS: tuple[tuple[str, str], ...] = (
    ("email", r"邮箱|电邮|电子邮件|e-?mail"),
    ("phone", r"电话|手机|联系方式|传真|\bphone\b|\btel\b|telephone|\bmobile\b|\bfax\b"),
    ("date", r"日期|时间|年月|何时|生日|到期日|截止日|日$|\bdate\b|deadline|\bday of\b|birthday|expir"),
    ("percent", r"比例|比率|利率|税率|百分比|rate\b|percent|ratio"),
    ("amount", r"金额|价格|价款|单价|总价|合计|费用|报酬|租金|押金|定金|工资|薪|货款|资本|预算|收入|利润|罚款|"
     r"赔偿|amount|price|cost|\bfee\b|salary|total|budget|revenue|profit|\brent\b|deposit|payment|capital|value"),
    ("id", r"编号|号码|单号|案号|证号|代码|账号|帐号|号$|\bno\b\.?|\bnumber\b|\bid\b|\bcode\b|reference|account"),
    ("name", r"人$|方$|者$|姓名|公司$|客户|供应商|名称|\bname\b|\bparty\b|defendant|plaintiff|customer|supplier|"
     r"vendor|tenant|landlord|employee|employer|author|manager"),
    ("number", r"数量|人数|期限|天数|年限|面积|次数|数$|count|quantity|\bqty\b|number of|duration|\bterm\b|\bage\b|"
     r"年龄"),
)  # fmt: skip
_SAME: tuple[tuple[str, ...], ...] = (
    ("合同编号", "合同号", "协议编号", "contract number", "contract no", "agreement number", "agreement no"),
    ("签订日期", "签署日期", "签约日期", "签订时间", "签约时间", "订立日期", "signing date", "date of signature"),
    ("合同金额", "金额", "合同总价", "合同总价款", "合同总额", "总金额", "总价", "total amount", "contract amount"),
    ("甲方", "委托方", "买方", "发包方", "出租方", "party a"),
    ("乙方", "受托方", "卖方", "承包方", "承租方", "party b"),
    ("电话", "联系电话", "手机", "手机号", "手机号码", "电话号码", "phone", "telephone", "phone number", "tel"),
    ("邮箱", "电子邮箱", "电子邮件", "邮件", "email", "e-mail", "email address"),
    ("姓名", "名字", "name", "full name"),
    ("地址", "联系地址", "住址", "住所", "address"),
    ("公司名称", "企业名称", "单位名称", "company name"),
    ("注册资本", "注册资金", "registered capital"),
    ("total", "amount due", "total due", "grand total", "total amount", "合计", "总计"),
    ("invoice number", "invoice no", "发票号码", "发票号"),
    ("date", "日期"),
)
"""Names that forms use for one thing, in both languages."""


@dataclass(frozen=True, slots=True)
class Field:
    """One wanted column. names: ways a document may call it, its own first; labels: the same, letters alone."""

    name: str
    kind: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    tokens: tuple[str, ...]


def parse_fields(text: str) -> list[Field]:
    """Fields from names between commas, semicolons or line breaks; `name:kind` sets the kind.

    Raises:
        InputError: none, more than 30, one over 60 characters, twice the same, or an unknown kind.
    """
    folded = unicodedata.normalize("NFKC", text).replace("\x00", "")
    names = [name.strip() for name in re.split(r"[,;、\n]", folded)]
    fields = [_field(name) for name in names if name]
    if not fields or len(fields) > MOST_FIELDS:
        raise InputError(
            f"{len(fields)} fields were named; from 1 to {MOST_FIELDS} can be extracted.",
            "Write names between commas: contract number, party A, amount, signing date.",
        )
    twice = next((f.name for i, f in enumerate(fields) if f.labels[0] in {g.labels[0] for g in fields[:i]}), "")
    if twice:
        raise InputError(f"The field '{twice}' is named twice.", "Name each once.")
    return fields


def _field(raw: str) -> Field:
    name, _, kind = (part.strip() for part in raw.partition(":"))
    if kind and kind not in KINDS:
        raise InputError(f"The field '{raw}' has an unknown kind '{kind}'.", f"A kind is one of {', '.join(KINDS)}.")
    if not squash(name) or len(name) > LONGEST_NAME:
        raise InputError(
            f"The field name '{name[:80]}' cannot be used: it needs a letter and at most {LONGEST_NAME} characters.",
            "Write a short name such as: amount.",
        )
    names = _names(name)
    labels = tuple(dict.fromkeys(squash(one) for one in names))
    return Field(name, kind or kind_of(name), names, labels, tuple(dict.fromkeys(segment(name))))


def kind_of(name: str) -> str:
    """The kind of value that a field of this name wants; text when nothing tells."""
    return next((kind for kind, words in _KIND_WORDS if re.search(words, name, re.IGNORECASE)), "text")


def _names(name: str) -> tuple[str, ...]:
    own = squash(name)
    same = [one for group in _SAME if own in {squash(word) for word in group} for one in group]
    return tuple(dict.fromkeys([name, *same]))
