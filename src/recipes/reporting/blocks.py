"""The blocks at the start and at the end of a run, laid out for a width in characters. C classes or labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from recipes.data.facts import Facts
from recipes.evaluation import absent, direction
from recipes.reporting import formatting as form
from recipes.reporting.audit import audit_lines, audit_table, outcome_lines
from recipes.training.events import Evaluation, Result, RunInfo

_WIDE = 110  # from here on both splits stand side by side in the table of classes
_START_CLASSES, _END_CLASSES = 10, 40
_EACH_OF_TWO = 6  # rows of a table at the start where two of them share the screen
NAN = float("nan")


def start_block(run: RunInfo, width: int) -> RenderableType:
    """What is about to happen: data, recipe, size and pace; one screen."""
    lines: list[tuple[str, str]] = [
        ("run", form.short_path(run.run_dir)),
        *([("resumed", f"from step {run.resumed_from_step:,}")] if run.resumed_from_step else []),
        ("data", _data(run)),
        ("recipe", _recipe(run)),
        ("model", f"{run.model}, {run.parameters:,} parameters"),
        ("device", f"{run.device}, {run.precision}"),
        *([("step", run.step)] if run.step else []),
        ("steps", _steps(run)),
        ("monitor", f"{run.monitor}, {'higher' if direction(run.monitor) == 'max' else 'lower'} is better"),
        *(("note", note) for note in run.notes),
    ]
    table = audit_table(run.audit, run.facts)
    counts = _class_counts(run, width, _EACH_OF_TWO if table else _START_CLASSES)
    parts: list[RenderableType] = [Rule("start", align="left", style="dim"), _labelled(lines), Text(), counts, Text()]
    parts += [Rule("audit", align="left", style="dim"), _labelled(audit_lines(run.audit, run.facts)), Text()]
    if table:
        parts += [_table(table[0], table[1], width, _EACH_OF_TWO), Text()]
    return Group(*parts)


def end_block(result: Result, run: RunInfo, width: int) -> RenderableType:
    """How it went: the scores of each split and class, why training stopped, and what to do next."""
    best = "no validation split: these are the last weights"
    if "val" in run.split_rows:
        best = "no evaluation improved: these are the last weights"
    if result.monitor in result.best_metrics:
        best = f"{result.monitor} {form.number(result.monitored)} at step {result.best_step:,}"
    lines = [
        ("stopped", result.reason),
        ("took", f"{form.duration(result.seconds)}, {result.steps:,} steps, {result.epochs:.3g} epochs"),
        ("best", best),
        *outcome_lines(result),
        ("run", form.short_path(run.run_dir)),
    ]
    parts: list[RenderableType] = [Rule("end", align="left", style="dim")]
    if result.evaluations:
        parts += [_split_scores(result.evaluations, width), Text(), _class_scores(result.evaluations, run.facts, width)]
        parts += [Text(note, style="dim") for note in _absent_notes(result.evaluations)]
        parts.append(Text())
    return Group(*parts, _labelled(lines))


def evaluation_line(evaluation: Evaluation, monitor: str) -> Text:
    """One evaluation in one line; the monitored metric comes first and has a star when it improved."""
    split = evaluation.split
    monitored = monitor.partition("/")[2] if monitor.startswith(f"{split}/") else None
    names = dict.fromkeys(name for name in (monitored, "loss", "f1_macro", "pr_auc", "accuracy") if name in evaluation.metrics)
    line = Text(f"epoch {evaluation.epoch:<5.2f} step {evaluation.step:<7,} {split} ")
    for name in list(names)[:3]:
        starred = name == monitored and evaluation.improved
        line.append(f" {name} {form.number(evaluation.metrics[name])}{'*' if starred else ' '}", style="bold green" if starred else "")
    line.rstrip()
    return line


def _labelled(lines: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for previous, (label, text) in zip([("", ""), *lines], lines, strict=False):
        grid.add_row("" if label == previous[0] else label, text)
    return grid


def _data(run: RunInfo) -> str:
    facts = run.facts
    source = form.component(run.config, "data")
    parts = [f"{source}: {facts.modality}" if source else facts.modality, facts.task, f"{facts.num_classes:,} {_noun(facts)}"]
    occurring = facts.class_counts[facts.class_counts > 0]
    if len(occurring):
        ratio = occurring.max() / occurring.min()
        parts.append(f"imbalance {ratio:,.{0 if ratio >= 10 else 1}f} : 1")
    if facts.vocab_size:
        parts.append(f"vocabulary {facts.vocab_size:,}")
    elif facts.num_features:
        parts.append(f"{facts.num_features:,} {'TF-IDF features' if facts.modality == 'text' else 'features'}")
    if facts.category_sizes:
        parts.append(f"{len(facts.category_sizes):,} embedded columns")
    return ", ".join(parts)


def _recipe(run: RunInfo) -> str:
    return " · ".join(f"{group} {name}" for group, name in form.recipe(run.config) if group != "model") or "-"


def _steps(run: RunInfo) -> str:
    rows = run.batch_size * run.accumulate
    batch = f"{run.batch_size:,} x {run.accumulate:,} = {rows:,} rows" if run.accumulate > 1 else f"{rows:,} rows"
    epochs = run.total_steps / run.steps_per_epoch
    return f"{batch} each, {run.steps_per_epoch:,} an epoch, {run.total_steps:,} in all ({epochs:.3g} epochs)"


def _class_counts(run: RunInfo, width: int, most: int) -> Table:
    """Class counts of each split, and of an epoch as it is sampled; the largest classes first, the middle of a long list left out."""
    columns: dict[str, np.ndarray] = {}
    totals: dict[str, str] = {}
    for split in ("train", "val", "test"):
        if split in run.split_counts:
            columns[split], totals[split] = run.split_counts[split], f"{run.split_rows[split]:,}"
        if split == "train":
            # A row may have several labels, so label counts do not add up to rows.
            columns["sampled"] = run.sampled_counts
            totals["sampled"] = "" if run.facts.task == "multilabel" else form.count(run.sampled_counts.sum())
    rows = [[run.facts.class_names[c], *(form.count(column[c]) for column in columns.values())] for c in _by_frequency(run.facts)]
    synthetic = f" ({run.synthetic_rows:,} synthetic)" if run.synthetic_rows else ""
    return _table([_noun(run.facts, 1), *columns], rows, width, most, total=[f"rows{synthetic}", *totals.values()])


def _split_scores(evaluations: Mapping[str, Evaluation], width: int) -> Table:
    """One row a split, one column a main metric."""
    names = [name for name in form.MAIN_METRICS if any(name in evaluation.metrics for evaluation in evaluations.values())]
    rows = [[split, *(form.number(evaluation.metrics.get(name, NAN)) for name in names)] for split, evaluation in evaluations.items()]
    return _table(["split", *(name.replace("_", "\n") for name in names)], rows, width)


def _class_scores(evaluations: Mapping[str, Evaluation], facts: Facts, width: int) -> Table:
    """Scores of each class in each split; two decimals where the width is small."""
    decimals = 3 if width >= _WIDE else 2
    keys = ("precision", "recall", "f1", "pr_auc") if width >= _WIDE else ("prec", "rec", "f1", "pr_auc")
    header = [_noun(facts, 1)]
    for split in evaluations:
        header += [f"{split}\nrows", *(key.replace("_", "\n") for key in keys)]
    rows = []
    for index in _by_frequency(facts):
        name = facts.class_names[index]
        row = [name]
        for evaluation in evaluations.values():
            scores = evaluation.per_class[name]
            row.append(form.count(scores["support"]))
            row += [form.number(scores[key], decimals) for key in ("precision", "recall", "f1", "pr_auc")]
        rows.append(row)
    return _table(header, rows, width, _END_CLASSES)


def _absent_notes(evaluations: Mapping[str, Evaluation]) -> list[str]:
    notes = []
    for split, evaluation in evaluations.items():
        names = absent(evaluation.per_class)
        if names:
            shown = ", ".join(form.shorten(name, 30) for name in names[:5]) + (", ..." if len(names) > 5 else "")
            notes.append(f"{split}: the means leave out {len(names):,} of {len(evaluation.per_class):,} that have no rows here: {shown}")
    return notes


def _by_frequency(facts: Facts) -> list[int]:
    return [int(index) for index in np.argsort(-facts.class_counts, kind="stable")]


def _noun(facts: Facts, number: int = 2) -> str:
    singular, plural = ("label", "labels") if facts.task == "multilabel" else ("class", "classes")
    return singular if number == 1 else plural


def _table(header: list[str], rows: list[list[str]], width: int, most: int = 10_000, total: list[str] | None = None) -> Table:
    """Names on the left, numbers on the right. The names give way where the width is small, the middle rows where there are too many."""
    gap = 2 if width >= _WIDE or len(header) < 8 else 1
    every = [*rows, *([total] if total else [])]
    cells = [max(map(len, [*header[i].split("\n"), *(row[i] for row in every)])) for i in range(1, len(header))]
    names = max(10, width - sum(cells) - gap * len(cells) - 1)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, gap - 1), header_style="bold")
    table.add_column(header[0], no_wrap=True, vertical="bottom", max_width=names)
    for title in header[1:]:
        table.add_column(title, justify="right", no_wrap=True, vertical="bottom")
    head, tail = form.head_and_tail(rows, most)
    for row in head:
        table.add_row(form.shorten(row[0], names), *row[1:])
    if tail:
        table.add_row(f"… {len(rows) - len(head) - len(tail):,} more", style="dim")
    for row in tail:
        table.add_row(form.shorten(row[0], names), *row[1:])
    if total:
        table.add_section()
        table.add_row(*total)
    return table
