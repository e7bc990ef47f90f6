"""The rules that cut texts into tokens: Unicode words, blanks, jieba's Chinese words, the pieces of a Hugging Face tokenizer.json.

L tokens of all texts together, N texts.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import polars as pl
    from tokenizers import Tokenizer

    from recipes.data.features import Features

NAMES = ("word", "whitespace", "char", "jieba")  # anything else is the path of a tokenizer.json, or its content

# Scripts written without spaces are cut by character, each with its marks; elsewhere a word keeps its inner apostrophes ("don't", "n't",
# "l'été").
_CUT = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# A pictograph with its variation, skin tone, or the tags that make it the flag of a region.
_EMOJI = r"\p{Extended_Pictographic}[\x{fe0e}\x{fe0f}\p{EMod}\x{e0020}-\x{e007f}]*"
_WORD = (
    r"\p{Nd}+(?:[.,]\p{Nd}+)+"  # 3.5, 1,000
    # The digits of these scripts, as a run: one by one, each would first be searched to the end of the run for a decimal point.
    rf"|[\p{{Nd}}&&[{_CUT}]]+\p{{M}}*"
    rf"|[{_CUT}]\p{{M}}*"
    rf"|[[\p{{L}}\p{{N}}_]--[{_CUT}]][[\p{{L}}\p{{M}}\p{{N}}_\x{{200c}}\x{{200d}}]--[{_CUT}]]*(?:'\p{{L}}+)*"
    # Joined emoji are one; two regional letters are a flag; any other sign is a token of its own, with its marks.
    rf"|\p{{RI}}{{2}}|{_EMOJI}(?:\x{{200d}}{_EMOJI})*|\S\p{{M}}*"
)
_PATTERNS = {"word": _WORD, "whitespace": r"[^ \t\n\x0b\x0c\r\x00]+"}  # fastText's blanks

_TEXTS = 1000  # of a tokenizer.json at a time: what it returns of each takes a hundred times the memory of its ids

# jieba's own blocks, and the longest piece of one that it is given: its Viterbi search copies a path a character, which is quadratic.
_LONGEST = 1000
_BLOCKS = re.compile(rf"[\u4e00-\u9fd5a-zA-Z0-9+#&._%\-]{{1,{_LONGEST}}}|[^\u4e00-\u9fd5a-zA-Z0-9+#&._%\-]+")


def cut(texts: pl.Series, features: Features) -> tuple[pl.Series, np.ndarray]:
    """The tokens of each text, by every rule but `char`.

    texts: (N,) String, no null. Returns the tokens, (L,) String, text after text, and their number in each text, (N,) int64. Of texts with
    more than features.max_length tokens, at least one token more than that is returned, so that the caller sees that they are longer.
    Pure, and safe to call from several threads. Lone surrogates cannot occur: polars holds UTF-8.
    """
    if is_file(features.tokenizer):
        return _pieces(texts, features.tokenizer)
    if features.lowercase:
        texts = texts.str.to_lowercase()
    if features.tokenizer == "jieba":
        return _chinese(texts, features.max_length)
    if features.tokenizer == "word":
        texts = texts.str.replace_all("’", "'", literal=True)
    lists = texts.str.extract_all(_PATTERNS[features.tokenizer])
    return lists.explode().drop_nulls(), lists.list.len().to_numpy().astype(np.int64)  # an empty list explodes to a null


def is_file(tokenizer: str) -> bool:
    """Whether a features.tokenizer is the content of a tokenizer.json."""
    return tokenizer.startswith("{")


def resolve(tokenizer: str) -> str:
    """A features.tokenizer as an encoder keeps it: one of NAMES, or the content of the file that it names.

    The content, so that a trained model and the data cache depend on what the file says and not on where it lies. Raises ConfigError for
    a name that is not known, a file that is missing or not a tokenizer's, and a package that is not installed.
    """
    if tokenizer == "jieba":
        _jieba_module()
    if tokenizer in NAMES:
        return tokenizer
    if is_file(tokenizer):
        return tokenizer
    path = Path(tokenizer).expanduser()
    if not path.is_file():
        if path.suffix == ".json" or len(path.parts) > 1:
            raise ConfigError(f"features.tokenizer: there is no file '{tokenizer}'; give the path of a Hugging Face tokenizer.json")
        raise ConfigError(
            f"features.tokenizer: '{tokenizer}' is neither a tokenizer nor a file; {did_you_mean(tokenizer, NAMES)}; "
            "or give the path of a Hugging Face tokenizer.json"
        )
    return read_file(path, "features.tokenizer")


def read_file(path: Path, where: str) -> str:
    """The content of a tokenizer.json as one line of JSON. Raises ConfigError when it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "model" not in content:
            raise ValueError("it has no 'model'")
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        load(text, where)
    except ConfigError:
        raise
    except Exception as error:  # the package raises bare Exceptions
        raise ConfigError(
            f"{where}: '{path}' is not a tokenizer.json of Hugging Face `tokenizers` ({error}); "
            "write one with Tokenizer.save(path), or take the file of that name from a model's directory"
        ) from error
    return text


@lru_cache(maxsize=4)
def load(content: str, where: str = "features.tokenizer") -> Tokenizer:
    """The tokenizer behind the content of a tokenizer.json, which neither cuts nor pads. Raises ConfigError without the package."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigError(
            f"{where}: a tokenizer.json needs the package 'tokenizers'; install it with `pip install 'recipes-imbalanced[hf]'`"
        ) from error
    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def describe(tokenizer: str) -> str:
    """A features.tokenizer in a word or two."""
    return f"tokenizer.json ({json.loads(tokenizer)['model'].get('type', 'Unigram')})" if is_file(tokenizer) else tokenizer


def _pieces(texts: pl.Series, content: str) -> tuple[pl.Series, np.ndarray]:
    """By number first, and then all strings in one gather: a Python string for each token would cost more than the tokenizer itself."""
    import polars as pl

    flat, lengths, _ = piece_ids(texts, content)
    return _types(content).gather(pl.Series(flat)), lengths


def piece_ids(texts: pl.Series, content: str, limit: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """The tokenizer's own ids, (L,) int32, the pieces of each text, (N,) int64, and how many texts were longer than `limit`."""
    tokenizer, flat, lengths, cut = load(content), [], [], 0
    texts = texts.fill_null("")
    for start in range(0, len(texts), _TEXTS):
        part = texts[start : start + _TEXTS].to_list()
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        if limit is not None:
            cut += sum(len(row) > limit for row in rows)
            rows = [row[:limit] for row in rows]
        lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
        flat.append(np.fromiter(chain.from_iterable(rows), np.int32))
    if not flat:
        return np.empty(0, np.int32), np.empty(0, np.int64), 0
    return np.concatenate(flat), np.concatenate(lengths), cut


@lru_cache(maxsize=4)
def _types(content: str) -> pl.Series:
    import polars as pl

    return pl.Series(pieces(content), dtype=pl.String)


@lru_cache(maxsize=4)
def pieces(content: str) -> tuple[str, ...]:
    """The piece of each id of a tokenizer.json; "" where an id has none."""
    vocabulary = load(content).get_vocab(with_added_tokens=True)
    names = [""] * (max(vocabulary.values(), default=-1) + 1)
    for piece, number in vocabulary.items():
        names[number] = piece
    return tuple(names)


def _chinese(texts: pl.Series, max_length: int | None) -> tuple[pl.Series, np.ndarray]:
    import polars as pl

    limit = None if max_length is None else max_length + 1
    rows = [list(islice(_chinese_words(text), limit)) for text in texts.to_list()]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return pl.Series(list(chain.from_iterable(rows)), dtype=pl.String), lengths


def _chinese_words(text: str) -> Iterator[str]:
    """jieba's words without the blanks. Blocks without a sign between them are cut after `_LONGEST` characters, perhaps inside a word."""
    jieba = _jieba()
    parts = [text] if len(text) <= _LONGEST else (match.group() for match in _BLOCKS.finditer(text))
    return (word for part in parts for word in jieba.cut(part) if not word.isspace())


@lru_cache(maxsize=1)
def _jieba() -> Any:
    """An instance of our own, since words that a program adds to jieba's global one would change what a model reads. It takes a second."""
    module = _jieba_module()
    jieba = module.Tokenizer()
    jieba.initialize()
    return jieba


@lru_cache(maxsize=1)
def _jieba_module() -> Any:
    try:
        with warnings.catch_warnings():  # its regular expressions are written with escapes that newer Pythons warn of
            warnings.simplefilter("ignore")
            jieba: Any = importlib.import_module("jieba")
    except ImportError as error:
        raise ConfigError(
            "features.tokenizer: 'jieba' needs the package of that name; install it with `pip install 'recipes-imbalanced[jieba]'`"
        ) from error
    jieba.setLogLevel(logging.WARNING)
    return jieba
