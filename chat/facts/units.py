"""The unit that stands with a number, one word for each however it is written."""

from __future__ import annotations

import re

_WRITTEN = {
    "percent": "% ％ percent per_cent",
    "percentage point": "个百分点 百分点 percentage_points percentage_point",
    "permille": "‰",
    "basis point": "个基点 基点 basis_points basis_point bps",
    "yuan": "元 块钱 元人民币 人民币 yuan rmb renminbi cny",
    "us dollar": "美元 美金 dollars dollar usd us_dollars",
    "euro": "欧元 euros euro eur",
    "pound sterling": "英镑 gbp",
    "hk dollar": "港元 港币 hkd",
    "yen": "日元 yen jpy",
    "year": "年 周年 岁 年半 years year years_old year_old yrs",
    "month": "个月 月 months month",
    "week": "周 个星期 星期 weeks week",
    "day": "天 日 个工作日 工作日 个自然日 working_days business_days calendar_days days day",
    "hour": "小时 个小时 个钟头 hours hour hrs",
    "minute": "分钟 minutes minute mins",
    "second": "秒 秒钟 seconds second",
    "metre": "米 metres metre meters meter m",
    "kilometre": "公里 千米 kilometres kilometre kilometers kilometer km",
    "centimetre": "厘米 公分 centimetres centimeters cm",
    "millimetre": "毫米 millimetres millimeters mm",
    "mile": "英里 miles mile",
    "foot": "英尺 feet foot ft",
    "inch": "英寸 inches inch",
    "square metre": "平方米 平米 square_metres square_meters sq_m m2",
    "square kilometre": "平方公里 平方千米 square_kilometres square_kilometers sq_km km2",
    "square mile": "平方英里 square_miles sq_mi",
    "square foot": "平方英尺 square_feet sq_ft",
    "hectare": "公顷 hectares hectare",
    "mu": "亩",
    "acre": "英亩 acres acre",
    "gram": "克 grams gram g",
    "kilogram": "公斤 千克 kilograms kilogram kilos kg",
    "tonne": "吨 tonnes tonne tons ton",
    "watt": "瓦 watts watt",
    "kilowatt": "千瓦 kilowatts kw",
    "megawatt": "兆瓦 megawatts mw",
    "degree": "度 摄氏度 degrees degree ℃ °c",
    "litre": "升 litres litre liters liter",
    "hertz": "赫兹 hz",
    "megabyte": "mb megabytes",
    "gigabyte": "gb gigabytes",
}
_BY_WORD = {word.replace("_", " "): unit for unit, words in _WRITTEN.items() for word in words.split()}
_WORD = "|".join(sorted(map(re.escape, _BY_WORD), key=len, reverse=True)).replace(r"\ ", r"[\s-]+")
_AFTER = re.compile(rf"(?:\s*\(\d+\)|\))?[\s-]*(?:余|多|左右)?({_WORD})(?![A-Za-z])", re.IGNORECASE)
_SIGNS = {"$": "us dollar", "€": "euro", "£": "pound sterling", "¥": "yuan", "￥": "yuan"}
# 5 m is a metre, 5 million is not; 年 in 5年级, 日 in 10日元 and 度 in 2019年度 are other words.
_OTHER_WORD = re.compile(r"年[级度代]|月[份薪]|日元|米[饭粉]|周[年岁]|度[假过]|天然|元[旦素]|克[拉服]|升[级至到为]")


def unit_after(text: str, end: int) -> str:
    """The unit right after offset `end`; "" when none that is known stands there."""
    match = _AFTER.match(text, end, end + 40)
    if match is None or _OTHER_WORD.match(text, match.start(1)):
        return ""
    return _BY_WORD[re.sub(r"[\s-]+", " ", match.group(1).lower())]


def unit_before(text: str, start: int) -> str:
    """The currency whose sign stands right before offset `start`; "" when none does."""
    return _SIGNS.get(text[:start].rstrip()[-1:], "")
