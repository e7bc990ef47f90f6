"""Word vectors that are freed in the course of training: a killed run, resumed before or after that, ends in the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_resume import COMMON, assert_resumes


@pytest.mark.parametrize("optimizer", ["adamw", "adagrad"])
def test_resumed_on_either_side(make_job, tmp_path: Path, optimizer: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "words.vec"
    path.write_text(
        "".join(f"{word} {i} 1 -1 0.5 2 0 1 {i}\n" for i, word in enumerate(("alpha", "zeta", "iota", "the"))), encoding="utf-8"
    )
    frozen = ["model.mode=static", f"model.vectors={path}", "model.unfreeze=10 steps", f"optimizer={optimizer}"]
    job = assert_resumes(make_job, tmp_path, (6, 14), *COMMON, *frozen)
    assert job.model.embedding.weight.requires_grad
    assert job.model.embedding.sparse == (optimizer == "adagrad")
