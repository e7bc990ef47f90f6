"""Tokenizers: what a token is, and that any Unicode string passes."""

from __future__ import annotations

import polars as pl
import pytest
from encoder_reference import UNICODE_BLANKS, split_blanks
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.data.encoder import Limit
from recipes.data.features import Features
from recipes.data.text import tokenize


def tokens(texts: list[str | None], **given: object) -> list[list[str]]:
    """The tokens of each text as strings."""
    found = tokenize(pl.Series(texts, dtype=pl.String), Features(**given))  # type: ignore[arg-type]
    flat, rows, start = found.types.gather(found.codes).to_list(), [], 0
    for length in found.lengths:
        rows.append(flat[start : start + length])
        start += length
    assert start == len(flat)
    assert found.types.to_list() == sorted(set(flat))
    return rows


WORDS = {
    "I don't like it, isn’t it? n't": ["i", "don't", "like", "it", ",", "isn't", "it", "?", "n't"],
    "3.5mm 1,000.5 covid19 5. ½": ["3.5", "mm", "1,000.5", "covid19", "5", ".", "½"],
    "state-of-the-art U.S.": ["state", "-", "of", "-", "the", "-", "art", "u", ".", "s", "."],
    "$5 #tag @you x_y": ["$", "5", "#", "tag", "@", "you", "x_y"],
    "'quoted' rock 'n' roll": ["'", "quoted", "'", "rock", "'", "n", "'", "roll"],
    "L'été Straße ΣΑΣ": ["l'été", "straße", "σας"],
    "e\u0301te\u0301 नमस्ते می\u200cخواهم": ["e\u0301te\u0301", "नमस्ते", "می\u200cخواهم"],
    "你好 hello世界 テスト2D": ["你", "好", "hello", "世", "界", "テ", "ス", "ト", "2d"],
    "ok👍🏽👍 🇩🇪🇫🇷 👨\u200d👩\u200d👧 ❤\ufe0f!": ["ok", "👍🏽", "👍", "🇩🇪", "🇫🇷", "👨\u200d👩\u200d👧", "❤\ufe0f", "!"],
    "a\x00b <unk>\r\n\u00a0": ["a", "\x00", "b", "<", "unk", ">"],
    "": [],
    " \u3000\t": [],
}


@pytest.mark.parametrize(("text", "expected"), WORDS.items(), ids=range(len(WORDS)))
def test_words(text: str, expected: list[str]) -> None:
    assert tokens([text]) == [expected]


def test_a_missing_text_is_empty_and_rows_keep_their_places() -> None:
    assert tokens(["", "a b", None, "", "c", ""]) == [[], ["a", "b"], [], [], ["c"], []]
    assert tokens([]) == []


def test_case_is_kept_on_demand() -> None:
    assert tokens(["Don't SHOUT"], lowercase=False) == [["Don't", "SHOUT"]]


def test_characters_are_tokens_blanks_too() -> None:
    assert tokens(["你 好\n👍🏽", "", "Ab"], tokenizer="char") == [["你", " ", "好", "\n", "👍", "🏽"], [], ["a", "b"]]


@pytest.mark.parametrize("tokenizer", ["word", "whitespace", "char"])
def test_long_texts_are_cut_and_counted(tokenizer: str) -> None:
    texts = ["a b c d e", "a", "", "a b c"]
    whole = tokens(texts, tokenizer=tokenizer)
    assert tokens(texts, tokenizer=tokenizer, max_length=3) == [row[:3] for row in whole]
    features = Features(tokenizer=tokenizer, max_length=3)  # type: ignore[arg-type]
    found = tokenize(pl.Series(texts), features)
    assert found.cut == sum(len(row) > 3 for row in whole)
    assert f"{found.cut} texts" in Limit.of(features).notes("train", found.cut)[0]
    assert Limit.of(features).notes("train", tokenize(pl.Series(texts), Features(tokenizer=tokenizer)).cut) == []  # type: ignore[arg-type]


any_text = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=6)


@settings(max_examples=150, deadline=None)
@given(any_text)
def test_any_string_loses_nothing_but_blanks(texts: list[str]) -> None:
    blankless = ["".join(split_blanks(text, UNICODE_BLANKS)) for text in texts]
    words = tokens(texts, lowercase=False)  # type: ignore[arg-type]
    assert ["".join(row) for row in words] == [text.replace("’", "'") for text in blankless]
    assert tokens(texts, tokenizer="whitespace", lowercase=False) == [split_blanks(text) for text in texts]  # type: ignore[arg-type]
    assert tokens(texts, tokenizer="char", lowercase=False) == [list(text) for text in texts]  # type: ignore[arg-type]
