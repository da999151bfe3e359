"""Makes a very small BERT cross-encoder and trains it for seconds until it orders questions and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.known_answer import PAIRS

SUBJECTS = (
    "annual leave vacation days employees entitled paid year",
    "pump switched filter cleaned before off",
    "invoice paid thirty supplier payment due",
    "password changed ninety account locked security",
)


def make_reranker(folder: Path, labels: int = 1) -> Path:
    """A folder as a hub has it: config, tokenizer and safetensors. The same weights each time."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    texts = [*SUBJECTS, *(text for pair in PAIRS.values() for text in pair)]
    words = sorted({piece for text in texts for piece in _words(text)})
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer()])
    raw.normalizer = _normalizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model only waits for its second thread
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=128,
                num_labels=labels,
            )
        )
        if labels == 1:
            _train(model, tokenizer)
    torch.set_num_threads(threads)
    folder.mkdir(parents=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def _normalizer() -> Any:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True)


def _words(text: str) -> list[str]:
    from tokenizers import pre_tokenizers

    return [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(_normalizer().normalize_str(text))]


def _train(model: Any, tokenizer: Any) -> None:
    import torch

    rows = [(question, answer, 1.0) for question, answer, _ in PAIRS.values()]
    rows += [(question, other, 0.0) for question, _, other in PAIRS.values()]
    for place, subject in enumerate(SUBJECTS):
        first, second = " ".join(subject.split()[:3]), " ".join(subject.split()[2:])
        rows += [(first, second, 1.0), (first, " ".join(SUBJECTS[place - 1].split()[2:]), 0.0)]
    inputs = tokenizer([row[0] for row in rows], [row[1] for row in rows], padding=True, return_tensors="pt")
    wanted = torch.tensor([[row[2]] for row in rows])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for _ in range(120):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(**inputs).logits, wanted)
        loss.backward()
        optimizer.step()
        if float(loss.detach()) < 0.005:
            break
    model.eval()
