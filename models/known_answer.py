"""Sees right after loading that a model computes sense: wrong kernels or damaged weights show here, not in answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from core.errors import WeightsError

SENTENCES: Final[Mapping[str, str]] = {
    "en": "The capital of France is Paris. One, two, three, four, five, six, seven, eight.",
    "zh": "中国的首都是北京。一、二、三、四、五、六、七、八。",
}
"""Texts that every language model of that language finds likely."""
MOST_LOSS: Final = 0.6
"""Of the loss of pure guessing. The bundled model of 135M parameters has 0.16 (en); random words have 0.75."""

PAIRS: Final[Mapping[str, tuple[str, str, str]]] = {
    "en": (
        "How many days of annual leave do I get?",
        "Employees are entitled to 25 days of paid vacation per year.",
        "The pump must be switched off before the filter is cleaned.",
    ),
    "zh": ("我每年有多少天年假？", "员工每年享有二十五天带薪休假。", "清洗过滤器之前必须先关闭水泵。"),
}
"""Per language: a question, a text that answers it, a text that does not."""

LEAST_GAP: Final = 0.03
"""By which the cosine with the answer must be higher. Some embedders (e5) keep all texts between 0.7 and 0.9."""


class Reads(Protocol):
    """What the check needs of a loaded model."""

    def tokenize(self, text: str, markers: bool) -> list[int]: ...

    def losses(self, tokens: Sequence[int]) -> list[float]: ...

    @property
    def vocabulary(self) -> int: ...


def require_sense(model: Reads, model_id: str, languages: Sequence[str]) -> None:
    """Nothing when the model's numbers are finite and known sentences of its languages are likely to it.

    Raises:
        WeightsError: they are not.
    """
    for language in languages:
        if language not in SENTENCES:
            continue
        losses = model.losses(model.tokenize(SENTENCES[language], False))
        mean, guess = math.fsum(losses) / max(1, len(losses)), math.log(max(2, model.vocabulary))
        if not losses or not math.isfinite(mean):
            raise WeightsError(
                f"{model_id!r} computes no finite numbers: its weights are damaged, or this machine computes wrongly.",
                "`alioth models verify` checks the file; try ALIOTH_MODELS__GPU_LAYERS=0.",
            )
        if mean > MOST_LOSS * guess:
            raise WeightsError(
                f"{model_id!r} finds a plain sentence ({language}) hardly likelier than noise: {mean:.1f} nats per "
                f"token, guessing has {guess:.1f}, at most {MOST_LOSS * guess:.1f} is right.",
                "Its weights are damaged or cut down too far, or it does not know that language. Take another file.",
            )
