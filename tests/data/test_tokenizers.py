"""The rules that cut texts: hard cases, jieba and tokenizer.json against the packages themselves, and any Unicode at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recipes.data import Features, Needs, load_encoder, tokenizers
from recipes.data.text import tokenize
from recipes.data.tokens import TokenEncoder
from recipes.errors import ConfigError
from recipes.inference import Predictor


def cut(texts: list[str], **given: Any) -> list[list[str]]:
    """The tokens of each text."""
    flat, lengths = tokenizers.cut(pl.Series(texts, dtype=pl.String), Features(**given))
    assert (flat.dtype, lengths.dtype) == (pl.String, np.int64)
    assert lengths.sum() == len(flat)
    ends = np.cumsum(lengths)
    return [flat[int(end - n) : int(end)].to_list() for end, n in zip(ends, lengths, strict=True)]


WORDS = {
    "can't've ’tis dogs' it wasn’t n't": ["can't've", "'", "tis", "dogs", "'", "it", "wasn't", "n't"],
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 1\ufe0f\u20e3#\ufe0f\u20e3 ☺\ufe0e☺\ufe0f": [
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3", "#\ufe0f\u20e3", "☺\ufe0e", "☺\ufe0f",
    ],
    "👩🏽\u200d🚀❤\ufe0f\u200d🔥👍👍🏿": ["👩🏽\u200d🚀", "❤\ufe0f\u200d🔥", "👍", "👍🏿"],
    "ไม่ดี ภาษา": ["ไ", "ม่", "ดี", "ภ", "า", "ษ", "า"],  # a letter keeps its marks
    "ភាសា မြန်": ["ភា", "សា", "မြ", "န်"],
    "שָׁלוֹם עולם مُحَمَّد ١٢٣": ["שָׁלוֹם", "עולם", "مُحَمَّد", "١٢٣"],
    "=\u0338 \u0301x \u202babc\u202c\ufeff": ["=\u0338", "\u0301", "x", "\u202b", "abc", "\u202c", "\ufeff"],
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WORDS.items(), ids=range(len(WORDS)))
def test_words(text: str, expected: list[str]) -> None:
    assert cut([text]) == [expected]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.json of byte pairs, which pads and cuts by itself."""
    package = pytest.importorskip("tokenizers", reason="a tokenizer.json needs the extra [hf]")
    tokenizer = package.Tokenizer(package.models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = package.normalizers.NFKC()
    tokenizer.pre_tokenizer = package.pre_tokenizers.Whitespace()
    trainer = package.trainers.BpeTrainer(vocab_size=60, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    tokenizer.train_from_iterator(["the film is not good", "Not a bad film !"] * 5, trainer)
    tokenizer.post_processor = package.processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer.enable_padding(length=12)
    tokenizer.enable_truncation(3)
    path = tmp_path_factory.mktemp("made") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


TEXTS = ["the film is Not good!", "", " \n", "Zebra ﬁlm", "a\x00b 👍"]


def test_pieces_are_those_of_the_package(made: Path) -> None:
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(made))
    theirs.no_padding()
    theirs.no_truncation()
    expected = [theirs.encode(text, add_special_tokens=False).tokens for text in TEXTS]
    assert cut(TEXTS, tokenizer=str(made)) == expected == cut(TEXTS, tokenizer=str(made), lowercase=False)
    assert expected[0][0] == "the"
    assert cut([], tokenizer=str(made)) == []


def test_a_tokenizer_is_what_its_file_says_wherever_it_lies(made: Path, tmp_path: Path) -> None:
    content = json.loads(made.read_text(encoding="utf-8"))
    copy, other = tmp_path / "copy.json", tmp_path / "other.json"
    copy.write_text(json.dumps(content, indent=2), encoding="utf-8")
    other.write_text(json.dumps(content | {"normalizer": None}), encoding="utf-8")
    assert Features(tokenizer=str(copy)) == Features(tokenizer=str(made)) != Features(tokenizer=str(other))
    texts = pl.Series(TEXTS)
    encoder, store, _ = TokenEncoder.fit(texts, Features(tokenizer=str(copy)), Needs("tokens"))
    copy.unlink()
    again = load_encoder(json.loads(json.dumps(encoder.state()[0])), encoder.state()[1])
    np.testing.assert_array_equal(again.encode(texts).store.tensors["ids"], store.tensors["ids"])
    assert Features(**asdict(Features(tokenizer=str(made)))) == Features(tokenizer=str(made))
    assert tokenizers.describe(Features(tokenizer=str(made)).tokenizer) == "tokenizer.json (BPE)"


def test_a_run_predicts_without_the_file(made: Path, tmp_path: Path, train_here: Callable[..., float]) -> None:
    path = tmp_path / "my.json"
    path.write_text(made.read_text(encoding="utf-8"), encoding="utf-8")
    rows = [("pos" if i % 2 else "neg", f"{'good' if i % 2 else 'bad'} film {i}") for i in range(60)]
    pl.DataFrame(rows, schema=["label", "text"], orient="row").write_csv(tmp_path / "texts.csv")
    chosen = ["data=file", f"data.path={tmp_path / 'texts.csv'}", f"data.cache={tmp_path / 'cache'}", f"features.tokenizer={path}"]
    assert (
        train_here(tmp_path / "run", *chosen, "model=fasttext", "trainer.max_steps=60", "trainer.device=cpu", "trainer.precision=fp32")
        > 0.9
    )
    path.unlink()
    assert Predictor.load(tmp_path / "run").predict(["good film", "bad"]) == ["pos", "neg"]
    assert "tokenizer.json (BPE)" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")


CHINESE = ["我不喜欢这部电影！hello world 3.5 很 好看。", "", "  \n", "他来到了网易杭研大厦", "a\x00b 😀 é", "这部电影，不好。" * 400]


def test_chinese_words_are_those_of_jieba() -> None:
    jieba = pytest.importorskip("jieba", reason="features.tokenizer=jieba needs the extra [jieba]")
    expected = [[word for word in jieba.Tokenizer().lcut(text) if word.strip()] for text in CHINESE]
    assert cut(CHINESE, tokenizer="jieba", max_length=None) == expected
    assert cut(["Hello 世界"], tokenizer="jieba") == [["hello", "世界"]]
    assert [len(row) for row in cut(CHINESE, tokenizer="jieba", max_length=9)] == [min(len(row), 10) for row in expected]
    found = tokenize(pl.Series(CHINESE), Features(tokenizer="jieba", max_length=9))
    assert (found.cut, found.lengths.max()) == (sum(len(row) > 9 for row in expected), 9)
    jieba.add_word("这部电影不")
    assert cut(["这部电影不好"], tokenizer="jieba") == [["这部", "电影", "不好"]]  # words of the program around do not count
    jieba.del_word("这部电影不")


def test_a_text_without_any_sign_takes_linear_time_in_jieba() -> None:
    pytest.importorskip("jieba", reason="features.tokenizer=jieba needs the extra [jieba]")
    text = "乂" * 100_000  # a run of unknown characters, for which jieba alone takes minutes
    (words,) = cut([text], tokenizer="jieba", max_length=None)
    assert "".join(words) == text


RULES = ["word", "whitespace", "char", "jieba", "made"]


@pytest.fixture
def rule(request: pytest.FixtureRequest) -> str:
    if request.param == "jieba":
        pytest.importorskip("jieba", reason="features.tokenizer=jieba needs the extra [jieba]")
    return str(request.getfixturevalue("made")) if request.param == "made" else request.param


@pytest.mark.parametrize("rule", RULES, indirect=True)
def test_any_unicode_passes_and_texts_do_not_see_each_other(rule: str) -> None:
    rng = np.random.default_rng(0)
    blocks = [
        (0, 0x80),
        (0x300, 0x370),
        (0x590, 0x700),
        (0x200B, 0x2070),
        (0x4E00, 0x5200),
        (0xE000, 0xE100),
        (0x1F300, 0x1FAFF),
        (0, 0xD800),
    ]
    texts = []
    for i in range(200):
        low, high = blocks[i % len(blocks)]
        texts.append("".join(chr(point) for point in rng.integers(low, high, rng.integers(0, 30))))
    texts += ["", " \u3000\t", "\x00", "\x00" * 50]
    features = Features(tokenizer=rule)
    together = tokenize(pl.Series(texts), features)
    ends = np.cumsum(together.lengths)
    for i in range(0, len(texts), 11):
        alone = tokenize(pl.Series([texts[i]]), features)
        own = together.types.gather(together.codes[ends[i] - together.lengths[i] : ends[i]]).to_list()
        assert alone.types.gather(alone.codes).to_list() == own


@pytest.mark.parametrize("rule", RULES, indirect=True)
def test_a_line_of_ten_megabytes_passes(rule: str) -> None:
    found = tokenize(pl.Series(["not a good film, 不好 👍 " * 400_000, "a"]), Features(tokenizer=rule))
    assert (found.cut, found.lengths[0]) == (1, 1000)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "char"], indirect=True)
def test_threads_may_share_a_tokenizer(rule: str) -> None:
    features, parts = Features(tokenizer=rule), [pl.Series([f"not a good film {i} 不好"] * 50) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: tokenizers.cut(part, features)[0].to_list(), parts))
    assert found == [tokenizers.cut(part, features)[0].to_list() for part in parts]


def test_mistakes(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"words": []}', encoding="utf-8")
    expected = {
        "whitespaces": "neither a tokenizer nor a file; did you mean 'whitespace'",
        "no/such/tokenizer.json": "there is no file 'no/such/tokenizer.json'",
        str(broken): r"is not a tokenizer\.json .* \(it has no 'model'\)",
        str(tmp_path): "there is no file",
    }
    for tokenizer, message in expected.items():
        with pytest.raises(ConfigError, match=message):
            Features(tokenizer=tokenizer)


def test_a_model_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="a tokenizer.json needs the extra [hf]")
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": {"type": "Telepathy"}}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not a tokenizer\.json"):
        Features(tokenizer=str(broken))


@pytest.mark.parametrize(("package", "extra"), [("tokenizers", "hf"), ("jieba", "jieba")])
def test_a_missing_package_is_named(package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for cached in (tokenizers.load, tokenizers._jieba_module):
        cached.cache_clear()
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}', encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"recipes-imbalanced\[{extra}\]"):
        Features(tokenizer="jieba" if package == "jieba" else str(path))
