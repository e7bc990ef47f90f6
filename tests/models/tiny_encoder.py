"""Directories of tiny Hugging Face encoders with random weights, made without the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = ["good", "bad", "plot", "film", "act", "##or", "##ing", "not", "!", "."]


def wordpiece() -> dict[str, Any]:
    """The content of a tokenizer.json like BERT's: lower case, pieces of words, [CLS] text [SEP]."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    added = [
        {"id": i, "content": p, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, p in enumerate(pieces[:4])
    ]
    text, sep = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, text, sep],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, text, sep],
            "special_tokens": {name: {"id": name, "ids": [pieces.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: i for i, piece in enumerate(pieces)},
        },
    }


def make_directory(folder: Path, kind: str = "bert", **changed: Any) -> str:
    """A saved encoder of this kind with the tokenizer above, vectors for 200 pieces, 40 positions. Returns its path."""
    import transformers

    settings: dict[str, Any] = SIZES | {"vocab_size": 200, "max_position_embeddings": 40} | changed
    if kind == "distilbert":
        names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "intermediate_size": "hidden_dim"}
        settings = {names.get(name, name): value for name, value in settings.items()}
    if kind == "roberta":
        settings = {"pad_token_id": 0, "type_vocab_size": 1, **settings}
    config = transformers.AutoConfig.for_model(kind, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        encoder = transformers.AutoModel.from_config(config)
        for p in encoder.parameters():  # fresh ones are so small that every text looks alike
            if p.ndim > 1:
                torch.nn.init.normal_(p, std=0.3)
    encoder.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(wordpiece(), ensure_ascii=False), encoding="utf-8")
    return str(folder)
