"""A checkpoint is written whole or not at all, and read without running code from it."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from recipes.errors import CheckpointError
from recipes.training import checkpoint


def test_round_trip_is_safe_to_load(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.pt"
    checkpoint.save(path, {"model": {"w": torch.arange(3.0)}, "config": "{}", "list": [1, 2.5, "x", None]})
    raw = torch.load(path, weights_only=True)
    assert raw["list"] == [1, 2.5, "x", None]
    assert torch.equal(checkpoint.load(path)["model"]["w"], torch.arange(3.0))
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("keep_bytes", [0, 10, 500, -20])
def test_a_truncated_file_is_named_with_what_else_is_there(tmp_path: Path, keep_bytes: int) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"w": torch.zeros(1000)})
    checkpoint.save(tmp_path / "best.pt", {"w": torch.zeros(10)})  # weights alone: nothing to continue from
    content = path.read_bytes()
    path.write_bytes(content[:keep_bytes])
    with pytest.raises(CheckpointError, match="truncated or damaged; there is no other one to continue from: start the run again"):
        checkpoint.load(path)
    for step in (10, 20):
        checkpoint.save(tmp_path / f"step-{step:09d}.pt", {"w": torch.zeros(10)})
    older = r"truncated or damaged; older ones beside it: step-000000020\.pt, step-000000010\.pt; to continue from one, copy it to last\.pt"
    with pytest.raises(CheckpointError, match=older):
        checkpoint.load(path)


def test_a_missing_file_and_a_foreign_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        checkpoint.load(tmp_path / "last.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        checkpoint.load(tmp_path / "other.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"format": checkpoint.FORMAT, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1})
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="could not be written") as caught:
            checkpoint.save(path, {"w": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "the one before it is untouched" in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    for step in range(0, 50, 10):
        checkpoint.rotate(path, max(0, step - 10), keep=3)
        checkpoint.save(path, {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "step-000000020.pt", "step-000000030.pt"]
    assert checkpoint.load(tmp_path / "step-000000030.pt")["step"] == 30
    assert checkpoint.load(path)["step"] == 40


def test_rotation_without_hard_links_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 7})

    def unsupported(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", unsupported)
    checkpoint.rotate(path, 7, keep=2)
    assert checkpoint.load(tmp_path / "step-000000007.pt")["step"] == 7
    monkeypatch.setattr("shutil.copyfile", unsupported)
    with pytest.raises(CheckpointError, match=r"could not be kept as step-000000008\.pt: Operation not permitted; last\.pt is untouched"):
        checkpoint.rotate(path, 8, keep=2)
    assert checkpoint.load(path)["step"] == 7
