"""Checkpoints: tensors, plain numbers and strings, written whole or not at all, loaded without running any code from them."""

from __future__ import annotations

import io
import os
import pickle
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import torch

from recipes.errors import CheckpointError

FORMAT = 3


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`. A crash, a kill or a full disk in between leaves the old file as it was.

    Raises CheckpointError when the disk does not take it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            _write({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_directory(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
        kept = f"the one before it is untouched: {path}" if path.is_file() else "there was none before it"
        raise CheckpointError(
            f"the checkpoint could not be written to {path}: {error.strerror or error}; {free / 2**20:,.0f} MiB are free there; {kept}. "
            f"Make room, then continue with `python train.py resume={shlex.quote(str(path.parent.parent))}`"
        ) from error


class _Watched(io.BufferedIOBase):
    """A file that remembers why a write failed: torch's writer makes of a full disk an error that does not say so."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.file = file
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.failure = error
            raise


def _write(content: dict[str, Any], file: io.BufferedWriter) -> None:
    """Straight into the file: a copy in memory would double what a large model takes."""
    watched = _Watched(file)
    try:
        torch.save(content, cast("IO[bytes]", watched))
    except Exception:
        if watched.failure is not None:
            raise watched.failure from None
        raise


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save` wrote. Raises CheckpointError for a missing, truncated or foreign file, naming what else is there."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint at {path}{_others(path)}") from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError, ValueError, OSError) as error:
        raise CheckpointError(f"the checkpoint {path} ({path.stat().st_size:,} bytes) is truncated or damaged{_others(path)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path} is not a checkpoint of this version (format {found!r}, expected {FORMAT})")
    return state


def rotate(path: Path, step: int, keep: int) -> None:
    """Before `path` is replaced: keep it as step-<n>.pt beside it, and of those only the newest `keep - 1`."""
    if keep <= 1 or not path.is_file():
        return
    kept = path.with_name(f"step-{step:09d}.pt")
    try:
        kept.unlink(missing_ok=True)
        try:
            os.link(path, kept)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, kept)
        for old in sorted(path.parent.glob("step-*.pt"))[: -(keep - 1)]:
            old.unlink()
    except OSError as error:
        raise CheckpointError(f"{path} could not be kept as {kept.name}: {error.strerror or error}; {path.name} is untouched") from error


def _others(path: Path) -> str:
    """The older checkpoints to continue from; best.pt is none, since it holds the weights alone."""
    older = sorted(path.parent.glob("step-*.pt"), reverse=True) if path.name == "last.pt" else []
    if not older:
        return "; there is no other one to continue from: start the run again without resume"
    return f"; older ones beside it: {', '.join(p.name for p in older)}; to continue from one, copy it to {path.name}"


def _sync_directory(folder: Path) -> None:
    """Make the rename itself durable; only POSIX systems can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
