"""What makes an embedder faster without changing what it computes: one tokenising, packed weights, one mask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

from models.embedding.tokenizer import FileTokenizer

log = logging.getLogger(__name__)

_SHARED: Final = "sdpa_one_mask"
_TRIED: Final = ("Two texts of unlike length, 两段长短不一的文字。", "short")
_NEAR_ENOUGH: Final = 0.999


class Inputs:
    """Makes the tensors that a model takes of token ids, so that a text is tokenised once, not twice."""

    def __init__(self, names: frozenset[str], padding: int, left: bool) -> None:
        self._names = names
        self._padding = padding
        self._left = left

    def of(self, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        """input_ids, attention_mask and, where the model wants them, token_type_ids: each (n, longest) int64."""
        import torch

        longest = max(map(len, ids))
        tokens = torch.full((len(ids), longest), self._padding, dtype=torch.int64)
        mask = torch.zeros((len(ids), longest), dtype=torch.int64)
        for row, one in enumerate(ids):
            place = slice(longest - len(one), longest) if self._left else slice(0, len(one))
            tokens[row, place] = torch.tensor(one, dtype=torch.int64)
            mask[row, place] = 1
        made = {"input_ids": tokens, "attention_mask": mask}
        if "token_type_ids" in self._names:
            made["token_type_ids"] = torch.zeros_like(tokens)
        return made


def inputs_of(model: Any, tokenizer: FileTokenizer) -> Inputs | None:
    """How this model's inputs are made of token ids; None when it makes them in a way of its own."""
    import torch

    own = model.preprocess(list(_TRIED))
    tensors = {name: value for name, value in own.items() if torch.is_tensor(value)}
    theirs = getattr(model, "tokenizer", None)
    padding = getattr(theirs, "pad_token_id", None)
    if padding is None or not set(tensors) <= {"input_ids", "attention_mask", "token_type_ids"}:
        return None
    made = Inputs(frozenset(tensors), int(padding), getattr(theirs, "padding_side", "right") == "left")
    ours = made.of(tokenizer.ids(_TRIED))
    same = set(ours) == set(tensors) and all(torch.equal(ours[name], tensors[name]) for name in ours)
    return made if same else None


def faster(model: Any) -> bool:
    """Make a bfloat16 model on a CPU faster; whether it was. It stays as it is when it would compute something else."""
    import torch

    texts = list(_TRIED)
    with torch.inference_mode():
        before = model(model.preprocess(texts))["sentence_embedding"].float()
        kept = {name: dict(part.named_children()) for name, part in model.named_modules()}
        shared = False
        try:
            pack_linear_layers(model)
            shared = share_attention_masks(model)
            after = model(model.preprocess(texts))["sentence_embedding"].float()
            alike = float(torch.nn.functional.cosine_similarity(before, after).min())
        except RuntimeError as error:  # what a build of torch lacks it says so
            log.warning("the model stays as torch computes it: %s", error)
            alike = 0.0
        if alike < _NEAR_ENOUGH:
            for name, part in list(model.named_modules()):
                for child, layer in kept.get(name, {}).items():
                    setattr(part, child, layer)
            if shared:
                _inner(model).set_attn_implementation("sdpa")
            return False
    return True


def pack_linear_layers(model: Any) -> int:
    """Lay the weights of the bfloat16 linear layers out for the processor once; gives of how many layers.

    Torch itself does so at every call, and copies the bias into the result beforehand. Nothing is done where this
    build of torch has no oneDNN.
    """
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    packed = _packed_class()
    changed = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.bfloat16:
                setattr(parent, name, packed(layer))
                changed += 1
    return changed


def share_attention_masks(model: Any) -> bool:
    """Turn the mask of padding into numbers once for all layers, not in each; whether the model can be told so."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    inner = _inner(model)
    if inner is None or getattr(inner.config, "_attn_implementation", "") != "sdpa":
        return False
    last = threading.local()

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **others: Any) -> Any:
        if mask is not None and str(mask.dtype) == "torch.bool":
            if getattr(last, "mask", None) is not mask:
                last.mask, last.numbers = mask, _as_numbers(mask, query.dtype)
            mask = last.numbers
        return sdpa_attention_forward(module, query, key, value, mask, **others)

    AttentionInterface.register(_SHARED, attend)
    AttentionMaskInterface.register(_SHARED, sdpa_mask)
    inner.set_attn_implementation(_SHARED)
    return True


def _inner(model: Any) -> Any:
    from transformers import PreTrainedModel

    return next((part for part in model.modules() if isinstance(part, PreTrainedModel)), None)


def _as_numbers(mask: Any, dtype: Any) -> Any:
    """What is added to the attention scores: 0 where the mask lets through, else minus infinity."""
    import torch

    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))


def _packed_class() -> Any:
    """Made here, since a class of torch's cannot be named before torch is imported."""
    import torch

    class PackedLinear(torch.nn.Module):
        """A linear layer for inference only."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
            # under the usual name, as some models ask a layer for the type of its weight
            self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)

        def forward(self, values: Any) -> Any:
            return torch.ops.mkldnn._linear_pointwise(values, self.weight, self.bias, "none", [], "none")

    return PackedLinear
