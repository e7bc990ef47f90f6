"""`status.json` of a run directory: whether it is running, finished, interrupted or failed, and why. Imports no torch."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Literal

Status = Literal["running", "finished", "interrupted", "failed"]


def write_status(run_dir: Path, status: Status, error: str | None = None) -> None:
    """Best effort: a full disk must not hide the error that is being reported."""
    content: dict[str, Any] = {"status": status}
    if status == "running":
        content |= {"pid": os.getpid(), "host": socket.gethostname()}
    if error and error.strip():
        first, *rest = error.strip().splitlines()
        content["error"] = f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first
    try:
        (run_dir / "status.json").write_text(json.dumps(content), encoding="utf-8")
    except OSError:
        return


def write_failure(run_dir: Path, error: str) -> None:
    """Record why this process's run failed. A run that was only to be resumed, and could not be, keeps the status that it had."""
    told = _read(run_dir)
    if told is None or (told.get("status") == "running" and told.get("pid") == os.getpid()):
        write_status(run_dir, "failed", error)


def read_status(run_dir: Path) -> str | None:
    """The status, or None when nothing (readable) is there."""
    told = _read(run_dir)
    return None if told is None else str(told.get("status"))


def running_process(run_dir: Path) -> int | None:
    """The process that trains in this directory now, as far as this machine can tell; None for a run that was killed."""
    told = _read(run_dir) or {}
    pid = told.get("pid")
    if told.get("status") != "running" or told.get("host") != socket.gethostname() or not isinstance(pid, int) or pid == os.getpid():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # it lives, and belongs to somebody else
        return pid
    return pid


def _read(run_dir: Path) -> dict[str, Any] | None:
    try:
        told = json.loads((run_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
