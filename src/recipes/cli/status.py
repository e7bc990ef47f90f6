"""`status.json` of a run directory: whether it is running, finished, interrupted or failed, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

Status = Literal["running", "finished", "interrupted", "failed"]


def write_status(run_dir: Path, status: Status, error: str | None = None) -> None:
    """Best effort: a full disk must not hide the error that is being reported."""
    content = {"status": status} | ({"error": error.strip().splitlines()[0]} if error and error.strip() else {})
    try:
        (run_dir / "status.json").write_text(json.dumps(content), encoding="utf-8")
    except OSError:
        return


def read_status(run_dir: Path) -> str | None:
    """The status, or None when nothing (readable) is there."""
    try:
        return str(json.loads((run_dir / "status.json").read_text(encoding="utf-8"))["status"])
    except (OSError, ValueError, KeyError):
        return None
