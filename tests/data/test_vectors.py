"""Word vectors in the forms that are found in the wild, and files that are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.data.vectors import is_writable, read_vectors, write_vectors
from recipes.errors import ConfigError, DataError

VOCABULARY = ("", "<unk>", "the", "été", "2", "cat")


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "words.vec"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "3 2\nthe 1 2\nété -0.5 1e-3\ndog 9 9\n",  # word2vec
        "3 2\nthe 1 2 \nété -0.5 1e-3 \ndog 9 9 \n",  # fastText ends its lines with a blank
        "the 1 2\nété -0.5 1e-3\ndog 9 9",  # GloVe
        "the 1 2\r\nété -0.5 1e-3\r\ndog 9 9\r\n",
        "the 1 2\nthe cat 7 7\nété -0.5 1e-3\nthe 8 8\n",  # a phrase that begins with a word of ours; a word twice
    ],
    ids=["word2vec", "fasttext", "glove", "windows", "phrases"],
)
def test_forms(tmp_path: Path, text: str) -> None:
    found = read_vectors(write(tmp_path, text), VOCABULARY, "model.vectors")
    assert found.dim == 2
    assert found.ids.tolist() == [2, 3]
    np.testing.assert_array_equal(found.rows_VE, np.array([[1, 2], [-0.5, 1e-3]], dtype=np.float32))


def test_a_first_word_that_is_a_number_is_no_header(tmp_path: Path) -> None:
    found = read_vectors(write(tmp_path, "2 0.5 1.5\nthe 1 2\n"), VOCABULARY, "model.vectors")
    assert found.ids.tolist() == [4, 2]
    assert found.rows_VE.tolist() == [[0.5, 1.5], [1, 2]]


def test_nothing_in_common(tmp_path: Path) -> None:
    found = read_vectors(write(tmp_path, "dog 1 2\n"), VOCABULARY, "model.vectors")
    assert found.rows_VE.shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 3\nthe 1 2 3\ncat 1 2\n", r"words\.vec:3: 'cat' is not followed by 3 numbers"),
        ("the 1 2\ncat 1 x\n", r"words\.vec:2: 'cat' is not followed by 2 numbers"),
        ("the 1 2\ncat 1 nan\n", r"words\.vec:2: 'cat'"),
        ("the 1 2\ncat 1 2 3\n", r"words\.vec:2: 'cat'"),
        ("", r"words\.vec:1 holds no vector"),
        ("the\n", r"words\.vec:1 holds no vector"),
    ],
)
def test_broken_files_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_vectors(write(tmp_path, text), VOCABULARY, "model.vectors")


def test_a_missing_file_is_named_with_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"model.vectors: there is no file 'glove.txt' .*{tmp_path}"):
        read_vectors("glove.txt", VOCABULARY, "model.vectors")


AWKWARD = ("</s>", "été", "東京", "😀", "foo\u00a0bar", "a\u3000b", "x\u0085y", "e\u0301", "2", "0.5", "a\x00b")


def test_what_is_written_is_read_again_to_the_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, size=4000, dtype=np.uint32)
    values = bits.view(np.float32)[np.isfinite(bits.view(np.float32))]  # all magnitudes, subnormal numbers among them
    rows_VE = np.concatenate([values[: 11 * 300], [0.0, -0.0, 1e-45, np.finfo(np.float32).max, 0.1]])[-11 * 300 :].astype(np.float32)
    rows_VE = rows_VE.reshape(11, 300)
    write_vectors(tmp_path / "words.vec", AWKWARD, rows_VE)
    found = read_vectors(tmp_path / "words.vec", ("", *AWKWARD), "model.vectors")
    assert found.ids.tolist() == list(range(1, 12))
    np.testing.assert_array_equal(found.rows_VE.view(np.uint32), rows_VE.view(np.uint32))


def test_the_form_of_a_written_file(tmp_path: Path) -> None:
    write_vectors(tmp_path / "words.vec", ["été", "b"], np.array([[0.5, -1.0], [0.1, 3.0]], dtype=np.float32))
    assert (tmp_path / "words.vec").read_bytes() == "2 2\nété 0.5 -1\nb 0.100000001 3\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["words.vec"]


@pytest.mark.parametrize(
    ("words", "value", "message"),
    [
        (["a", "b c"], 1.0, "'b c' holds a blank"),
        (["a", "b\t"], 1.0, r"'b\\t' holds a blank"),
        (["a", ""], 1.0, "'' holds nothing"),
        (["a", "a"], 1.0, "'a' comes twice"),
        (["a", "b"], float("nan"), "1 words have numbers that are not finite, the first 'b'"),
    ],
)
def test_what_no_file_can_hold_is_refused(tmp_path: Path, words: list[str], value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_vectors(tmp_path / "words.vec", words, np.array([[1.0], [value]], dtype=np.float32))
    assert not list(tmp_path.iterdir())
    assert all(is_writable(word) for word in AWKWARD)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "words.vec").mkdir()
    with pytest.raises(DataError, match=r"output: .*words\.vec could not be written: Is a directory"):
        write_vectors(tmp_path / "words.vec", ["a"], np.ones((1, 2), dtype=np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["words.vec"]
