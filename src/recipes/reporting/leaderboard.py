"""One table of all jobs of a sweep. Imports no torch: it also runs where every job failed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from recipes.evaluation import METRICS, direction
from recipes.reporting.console import Console
from recipes.reporting.documents import write_text
from recipes.reporting.formatting import duration, number, short_path
from recipes.reporting.repeats import REPEATED, Repeats, repeats

_PRINTED = ("f1_macro", "pr_auc", "balanced_accuracy", "log_loss", "ece")


@dataclass
class JobRow:
    """One job of a sweep as its directory tells it."""

    job: str  # its directory, relative to the sweep's
    status: str  # of its status.json: finished, failed, interrupted, running; unfinished where there is none
    overrides: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # with the split's prefix; val are those of the best weights
    monitored: float = math.nan
    seconds: float = math.nan
    error: str = ""


def write_leaderboard(sweep_dir: Path, monitor: str | None = None, console: Console | None = None) -> list[JobRow]:
    """Print a sweep's table, write `leaderboard.csv` into its directory, and return the rows: best first, failed jobs last.

    `monitor` is what the jobs are sorted by, such as `val/f1_macro`; None takes what the first finished job monitored.
    """
    sweep_dir = Path(sweep_dir)
    found = [(path, _document(path / "metrics.json")) for path in _job_dirs(sweep_dir)]
    monitor = monitor or next((metrics["monitor"] for _, metrics in found if metrics), None)
    rows = [_row(path, sweep_dir, metrics, monitor) for path, metrics in found]
    lower_is_better = monitor is not None and monitor.rpartition("/")[2] in METRICS and direction(monitor) == "min"
    rows.sort(key=lambda row: _place(row, lower_is_better))
    keys = _differing(rows)
    write_text(sweep_dir / "leaderboard.csv", _csv(rows, keys, monitor))
    _show(rows, keys, monitor, sweep_dir, console or Console())
    return rows


def _place(row: JobRow, lower_is_better: bool) -> tuple[bool, bool, float]:
    """Scored jobs by score, then those without one, failed jobs at the very end."""
    unscored = math.isnan(row.monitored)
    return row.status == "failed", unscored, 0.0 if unscored else row.monitored if lower_is_better else -row.monitored


def _job_dirs(sweep_dir: Path) -> list[Path]:
    """Where Hydra left the config of a job, in the order of the jobs' numbers."""
    folders = {path.parent.parent for path in sweep_dir.glob("**/.hydra/overrides.yaml")} - {sweep_dir}
    return sorted(folders, key=lambda path: [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in path.parts])


def _document(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where a job never came so far."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _row(path: Path, sweep_dir: Path, content: dict[str, Any], monitor: str | None) -> JobRow:
    told = _document(path / "status.json")
    status = told.get("status", "finished" if content else "unfinished")
    metrics = {name: value for name, value in content.get("best", {}).items() if value is not None}
    for split in ("val", "test"):
        metrics |= {f"{split}/{name}": value for name, value in content.get(split, {}).items() if value is not None}
    return JobRow(
        job=str(path.relative_to(sweep_dir)),
        status=status,
        overrides=_overrides(path / ".hydra" / "overrides.yaml"),
        metrics=metrics,
        monitored=_number(content.get("best", {}).get(monitor)) if status != "failed" else math.nan,
        seconds=_number(content.get("seconds")),
        error=told.get("error", ""),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _overrides(path: Path) -> dict[str, str]:
    import yaml

    try:
        typed = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, yaml.YAMLError):
        return {}
    pairs = (re.match(r"([^=]+)=(.*)", str(each), re.DOTALL) for each in typed)
    return {pair[1].lstrip("+"): pair[2] for pair in pairs if pair}


def _differing(rows: list[JobRow]) -> list[str]:
    """The overrides that the jobs do not all share, in the order in which they were typed."""
    keys = dict.fromkeys(key for row in rows for key in row.overrides)
    return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]


def _csv(rows: list[JobRow], keys: list[str], monitor: str | None) -> str:
    """Every scalar metric of the splits, for a spreadsheet; an empty cell where there is none."""
    names = list(dict.fromkeys(name for row in rows for name in row.metrics if name != monitor))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "job", "status", *keys, *([monitor] if monitor else []), *names, "seconds", "error"])
    for rank, row in enumerate(rows, start=1):
        unscored = math.isnan(row.monitored)
        scores = [*([] if monitor is None else ["" if unscored else row.monitored]), *(row.metrics.get(name, "") for name in names)]
        seconds = "" if math.isnan(row.seconds) else round(row.seconds, 2)
        chosen = [row.overrides.get(key, "") for key in keys]
        table.writerow(["" if unscored else rank, row.job, row.status, *chosen, *scores, seconds, row.error])
    return text.getvalue()


def _show(rows: list[JobRow], keys: list[str], monitor: str | None, sweep_dir: Path, console: Console) -> None:
    console.show(lambda width: _table(rows, keys, monitor, width))
    repeated = repeats(rows)
    if repeated:
        console.show(lambda width: _means(repeated, [key for key in keys if key not in REPEATED], monitor, width))
    for row in rows:
        if row.error:
            console.say(f"job {row.job} {row.status}: {row.error}")
    done = sum(row.status == "finished" for row in rows)
    console.say(f"{done} of {len(rows)} jobs finished; all scores: {short_path(sweep_dir / 'leaderboard.csv')}")


def _table(rows: list[JobRow], keys: list[str], monitor: str | None, width: int) -> RenderableType:
    """The columns that tell the jobs apart, the monitor, and as many test scores as the width has room for."""
    columns = [["", *("" if math.isnan(row.monitored) else str(rank) for rank, row in enumerate(rows, start=1))]]
    columns.append(["job", *(row.job for row in rows)])
    columns += [[key, *_below([row.overrides.get(key, "") for row in rows])] for key in keys]
    left = len(columns)
    # A job without a score says why in the score's place.
    columns.append([monitor or "status", *(_score(row) for row in rows)])
    for name in (f"test/{name}" for name in _PRINTED):
        if any(name in row.metrics for row in rows):
            columns.append([name, *(number(row.metrics.get(name, math.nan)) for row in rows)])
    columns.append(["time", *(duration(row.seconds) for row in rows)])
    while len(columns) > left + 2 and _needed(columns) > width:
        del columns[-2]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for at, (title, *_) in enumerate(columns):
        header = title.replace("/", "\n") if "/" in title else f"\n{title}"
        text = 1 <= at < left
        table.add_column(header, justify="left" if text else "right", no_wrap=not text, overflow="fold" if text else "ellipsis")
    for row, cells in zip(rows, zip(*(column[1:] for column in columns), strict=True), strict=True):
        table.add_row(*cells, style="red" if row.status == "failed" else "")
    return table


def _means(repeated: list[Repeats], keys: list[str], monitor: str | None, width: int) -> RenderableType:
    """Mean and standard deviation over folds and seeds, recipe by recipe; as many scores as the width has room for."""
    metrics = [name for name in (*(f"test/{name}" for name in _PRINTED), monitor) if name and any(name in r.scores for r in repeated)]
    cells = [[each.overrides.get(key, "") for each in repeated] for key in keys]
    left = width - sum(max(map(len, [key, *column])) + 2 for key, column in zip(keys, cells, strict=True)) - 6
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    for title in [*keys, "jobs"]:
        table.add_column(f"\n{title}")
    shown = metrics[: max(1, left // 14)]
    for name in shown:
        table.add_column(name.replace("/", "\n"), justify="right", no_wrap=True)
    for each in repeated:
        scores = [f"{number(each.scores[n][0], 3)} ±{number(each.scores[n][1], 3)}" if n in each.scores else "" for n in shown]
        table.add_row(*(each.overrides.get(key, "") for key in keys), str(each.jobs), *scores)
    return table


def _below(values: list[str]) -> list[str]:
    """Paths without the folder that all of them share; values that are no paths as they are."""
    parts = [value.split("/") for value in values]
    shared = len(list(takewhile(lambda level: len(set(level)) == 1, zip(*(each[:-1] for each in parts), strict=False))))
    return ["/".join(each[shared:]) for each in parts]


def _score(row: JobRow) -> str:
    return row.status if math.isnan(row.monitored) and row.status != "finished" else number(row.monitored)


def _needed(columns: list[list[str]]) -> int:
    return sum(max(len(part) for cell in column for part in cell.split("/")) + 2 for column in columns)
