"""Word vectors in the forms that are found in the wild, and files that are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.data.vectors import read_vectors
from recipes.errors import ConfigError

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
