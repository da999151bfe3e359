"""Which languages a document is written in, with their shares, for the ingest report."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from core.text import HAN, detect_language

SAMPLE = 60_000
"""Characters that are looked at, taken evenly from the whole document."""
_PIECE = 2_000
_LATIN_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7af]")
_OTHER = re.compile(r"[\u0370-\u1fff]+")
_CHARS_PER_WORD = 1.6
"""Chinese characters that say as much as one English word (words of xx_xquad against their translations)."""
_WORTH_NAMING = 0.1


def languages(texts: Iterable[str]) -> tuple[str, dict[str, float]]:
    """The main language and the share of each that has some weight, largest first.

    The main one is `zh-Hans`, `zh-Hant`, `en` (any Latin script), `ja`, `ko`, `other`, or `mixed` when no language
    has three quarters. Shares count English words against Chinese characters by what they carry, and add up to 1.
    """
    sample = "".join(_evenly(list(texts)))
    weights = _weights(sample)
    total = sum(weights.values())
    if not total:
        return "other", {}
    shares = {name: weight / total for name, weight in weights.items() if weight / total >= _WORTH_NAMING / 10}
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    main, share = ordered[0]
    mixed = share < 0.75 and len([one for one in ordered if one[1] >= _WORTH_NAMING]) > 1
    return "mixed" if mixed else main, {name: round(value, 2) for name, value in ordered if round(value, 2) > 0}


def _weights(sample: str) -> dict[str, float]:
    han, kana = HAN.findall(sample), len(_KANA.findall(sample))
    weights = {
        "en": float(len(_LATIN_WORD.findall(sample))),
        "ko": len(_HANGUL.findall(sample)) / 2,
        "other": float(len(_OTHER.findall(sample))),
    }
    if kana and detect_language(sample) == "ja":
        weights["ja"] = (len(han) + kana) / 2
    else:
        weights[_script(han)] = len(han) / _CHARS_PER_WORD
    return {name: weight for name, weight in weights.items() if weight}


def _script(han: list[str]) -> str:
    """Simplified or traditional, by the characters that differ; simplified where nothing tells them apart."""
    leaning = sum(_leaning(character) * count for character, count in Counter(han).items())
    return "zh-Hant" if leaning > 0 else "zh-Hans"


@functools.lru_cache(maxsize=30_000)
def _leaning(character: str) -> int:
    """1 for a character that is traditional only, -1 for one that is simplified only, else 0.

    One by one, since converting a text as a whole takes hundreds of times as long.
    """
    simplified, traditional = _converter("t2s")(character), _converter("s2t")(character)
    return (simplified != character) - (traditional != character)


@functools.cache
def _converter(name: str) -> Callable[[str], str]:
    import opencc

    converter = opencc.OpenCC(name)
    return lambda text: str(converter.convert(text))


def _evenly(texts: list[str]) -> Iterator[str]:
    """All of a short document; of a long one, pieces at even distances."""
    total = sum(map(len, texts))
    if total <= SAMPLE:
        yield "\n".join(texts)
        return
    step = total * _PIECE // SAMPLE
    wanted, passed = 0, 0
    for text in texts:
        while wanted < passed + len(text):
            at = max(0, wanted - passed)
            yield text[at : at + _PIECE] + "\n"
            wanted += step
        passed += len(text)
