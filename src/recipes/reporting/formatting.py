"""How numbers, names and paths are written for people, the same wherever they appear."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import Any

MAIN_METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "pr_auc", "roc_auc", "mcc", "log_loss", "ece")
_GROUPS = ("model", "sampler", "mining", "loss", "optimizer", "scheduler", "augment")


def number(value: float, decimals: int = 4) -> str:
    """A score or a loss in few characters; a dash where it is undefined."""
    if math.isnan(value):
        return "-"
    return f"{value:.{decimals}f}" if abs(value) < 100 else f"{value:.4g}"


def count(value: float) -> str:
    """Rows: whole, with thousands separators; one decimal where sample weights make them broken."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3:05`, `2:03:05`."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def one_line(name: str) -> str:
    """A class name as one line without control characters, whatever the data holds."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in str(name)).split()) or "(empty)"


def shorten(name: str, width: int) -> str:
    """A class name in at most `width` characters, cut in the middle: names that begin alike often end differently."""
    name = one_line(name)
    if len(name) <= width:
        return name
    tail = (width - 1) * 2 // 5
    return name[: width - 1 - tail].rstrip() + "…" + name[len(name) - tail :].lstrip()


def short_path(path: Path) -> str:
    """Relative to the current directory when beneath it: what the user would type."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def next_commands(run_dir: Path) -> list[str]:
    """The two commands that make sense after a run, ready to paste: the second only where TensorBoard was written."""
    run_dir = Path(run_dir).absolute()
    commands = [f"python scripts/predict.py run={shlex.quote(short_path(run_dir))} input=<file> output=<file>"]
    if (run_dir / "tensorboard").is_dir():
        commands.append(f"tensorboard --logdir {shlex.quote(short_path(run_dir.parent))}")
    return commands


def component(config: dict[str, Any], group: str) -> str | None:
    """The class name of a group's option, such as `TextCNN`; None where the group is absent or none."""
    settings = config.get(group)
    target = settings.get("_target_") if isinstance(settings, dict) else None
    return str(target).rpartition(".")[2] if target else None


def recipe(config: dict[str, Any]) -> list[tuple[str, str]]:
    """(group, class) of everything that the config puts together, in the order of its sentence; a `NoMining` says nothing."""
    named = ((group, component(config, group)) for group in _GROUPS)
    return [(group, name) for group, name in named if name and not re.match("No[A-Z]", name)]


def head_and_tail(items: list[Any], most: int) -> tuple[list[Any], list[Any]]:
    """All items, or the first two thirds and the last third of `most`, which leaves the middle out."""
    if len(items) <= most:
        return items, []
    tail = most // 3
    return items[: most - tail], items[len(items) - tail :]
