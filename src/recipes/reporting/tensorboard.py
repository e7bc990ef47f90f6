"""A run as TensorBoard events, under tensorboard/ of the run directory."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.config.types import PositiveInt
from recipes.evaluation import probabilities
from recipes.reporting.documents import writing
from recipes.reporting.formatting import MAIN_METRICS, component, one_line
from recipes.training.events import Evaluation, Listener, Result, RunInfo, StepLog

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_THRESHOLDS = 127  # the most that TensorBoard's PR plugin takes


class TensorBoard(Listener):
    """Scalars at each log point and evaluation; PR curves at each evaluation; config, pictures and hparams at the ends.

    `curves`: PR curves of every class at each evaluation; `max_classes`: of at most so many, the largest in train. `figures`: the pictures
    of figures/ at the end. A resumed run hides what an interrupted one had logged beyond the step that it resumes from.
    """

    def __init__(self, *, curves: bool = True, figures: bool = True, max_classes: PositiveInt = 30) -> None:
        self._curves, self._figures, self._max_classes = curves, figures, max_classes
        self._open: SummaryWriter | None = None

    def start(self, run: RunInfo) -> None:
        self._run = run
        self._folder = run.run_dir / "tensorboard"

    def log(self, log: StepLog) -> None:
        numbers = {
            "train/loss": log.loss,
            "optimizer/lr": log.lr,
            "optimizer/grad_norm": log.grad_norm,
            "speed/rows_per_second": log.rows_per_second,
        }
        with writing(self._folder):
            self._scalars(numbers, log.step)

    def evaluated(self, evaluation: Evaluation) -> None:
        split = evaluation.split
        with writing(self._folder):
            self._scalars({f"{split}/{name}": value for name, value in evaluation.metrics.items()}, evaluation.step)
            if self._curves:
                self._pr_curves(evaluation, f"pr_{split}")
            # What is in the file survives a kill; an evaluation is where a checkpoint is written.
            self._writer.flush()

    def end(self, result: Result) -> None:
        final: dict[str, float] = {}
        with writing(self._folder):
            for split, evaluation in result.evaluations.items():
                metrics = {f"final_{split}/{name}": value for name, value in evaluation.metrics.items()}
                self._scalars(metrics, evaluation.step)
                final |= {tag: value for tag, value in metrics.items() if tag.partition("/")[2] in MAIN_METRICS}
                if self._curves:
                    self._pr_curves(evaluation, f"pr_final_{split}")
            if self._figures:
                self._pictures(result.steps)
            self._hparams(final)

    def close(self) -> None:
        if self._open is not None:
            with suppress(OSError):  # what a full disk did not take was already told
                self._open.close()
            self._open = None

    @property
    def _writer(self) -> SummaryWriter:
        """Opened by the first thing that is written, since its import costs up to a second."""
        if self._open is None:
            from torch.utils.tensorboard import SummaryWriter

            resumed = self._run.resumed_from_step
            # Events of the resumed step itself were written before the checkpoint, so they stay.
            self._open = SummaryWriter(str(self._folder), purge_step=resumed + 1 if resumed else None, flush_secs=30)
            self._open.add_text("config", _as_code(self._run), global_step=resumed)
        return self._open

    def _scalars(self, numbers: Mapping[str, float | None], step: int) -> None:
        for tag, value in numbers.items():
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(tag, value, step)

    def _pr_curves(self, evaluation: Evaluation, group: str) -> None:
        facts = self._run.facts
        if np.isnan(evaluation.logits).any():
            return
        probabilities_NC = probabilities(evaluation.logits, facts.task)
        largest = np.argsort(-facts.class_counts, kind="stable")[: self._max_classes]
        for index in [1] if facts.task == "binary" else largest:
            name = facts.class_names[index]
            if not evaluation.per_class[name]["support"]:
                continue
            positive_N = evaluation.targets[:, index] >= 0.5 if evaluation.targets.ndim == 2 else evaluation.targets == index
            self._writer.add_pr_curve(
                f"{group}/{one_line(name)}", positive_N, probabilities_NC[:, index], evaluation.step, _THRESHOLDS, evaluation.weights
            )

    def _pictures(self, step: int) -> None:
        """The PNG files as they are; the writer's own way would decode and encode them again."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for path in sorted((self._run.run_dir / "figures").glob("*.png")):
            png = path.read_bytes()
            width, height = struct.unpack(">II", png[16:24])
            image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
            self._writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=f"final/{path.stem}", image=image)]), step)

    def _hparams(self, final: dict[str, float]) -> None:
        """The settings beside the final scores, which are scalars of this same run."""
        from torch.utils.tensorboard.summary import hparams

        numbers = {tag: value for tag, value in final.items() if math.isfinite(value)}
        for summary in hparams(_flat(self._run.config), numbers):
            self._writer._get_file_writer().add_summary(summary)


def _as_code(run: RunInfo) -> str:
    import yaml

    command = " ".join(run.overrides) or "(the defaults)"
    # Markdown shows a block that is indented by four spaces as code.
    lines = [f"overrides: {command}", "", *yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True).splitlines()]
    return "\n".join(f"    {line}" for line in lines)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, str | float]:
    """Dotted keys to numbers and strings; a component's class stands under the name of its group."""
    found: dict[str, str | float] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
            if not prefix and (name := component(config, key)):
                found[key] = name
        elif key == "_target_" or value is None:
            continue
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            found[f"{prefix}{key}"] = str(value).lower() if isinstance(value, bool) else str(value)
        else:
            found[f"{prefix}{key}"] = value
    return found
