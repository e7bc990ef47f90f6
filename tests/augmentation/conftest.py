"""Texts of a small vocabulary as sequences and as bags, and a lexicon for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recipes.data.batch import Batch

_WORDS = "the a not don't big large huge fast quick film movie 7 3.5 été über run walk jog cat dog b12"
VOCABULARY = ("", "<unk>", *_WORDS.split())
LEXICON = {
    "big": "large|huge",
    "large": "big",
    "fast": "quick|speedy",
    "film": "movie|motion picture",
    "not": "non",
    "run": "jog|not|walk",
    "7": "the",
}


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(word) for word in text.split()]


def spell(batch: Batch) -> list[str]:
    """The texts of a batch; padding that is not zero shows."""
    if batch.tokens_BT is None:
        assert batch.ids is not None
        assert batch.offsets is not None
        rows = [batch.ids[a:b].tolist() for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
    else:
        assert batch.lengths_B is not None
        assert batch.tokens_BT.shape[1] == max(1, int(batch.lengths_B.max()))
        for row, length in zip(batch.tokens_BT, batch.lengths_B, strict=True):
            assert not row[length:].any()
            assert row[:length].all()
        rows = [row[:length].tolist() for row, length in zip(batch.tokens_BT, batch.lengths_B, strict=True)]
    return [" ".join(VOCABULARY[i] for i in row) for row in rows]


def batch_of(texts: list[str], form: str = "sequence", targets: list[int] | None = None) -> Batch:
    rows = [torch.tensor(ids(text), dtype=torch.int64) for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    common = (torch.arange(len(rows)), torch.tensor(targets or [0] * len(rows)), torch.ones(len(rows)))
    if form == "bag":
        return Batch(*common, ids=torch.cat(rows), offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]))
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Batch(*common, tokens_BT=tokens if tokens.shape[1] else tokens.new_zeros(len(rows), 1), lengths_B=lengths)


@pytest.fixture(scope="session")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("lexicon") / "synonyms.tsv"
    path.write_text("".join(f"{word}\tx\t{synonyms}\n" for word, synonyms in LEXICON.items()), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | bytes], Path]:
    folder, made = tmp_path_factory.mktemp("files"), iter(range(10**6))

    def written(text: str | bytes) -> Path:
        path = folder / f"{next(made)}.tsv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written
