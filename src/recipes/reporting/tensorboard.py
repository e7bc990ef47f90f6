"""A run as TensorBoard events, under tensorboard/ of the run directory."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from recipes.config.types import PositiveInt
from recipes.evaluation import probabilities
from recipes.reporting.documents import writing
from recipes.reporting.events_file import EventsFile
from recipes.reporting.formatting import MAIN_METRICS, component, one_line
from recipes.training.events import Evaluation, Listener, Result, RunInfo, StepLog

_THRESHOLDS = 127  # the most that TensorBoard's PR plugin takes


class TensorBoard(Listener):
    """Scalars at each log point and evaluation; PR curves at each evaluation; config, pictures and hparams at the ends.

    `curves`: PR curves of every class at each evaluation; `max_classes`: of at most so many, the largest in train. `figures`: draw the
    pictures of figures/ at the end and show them. A resumed run hides what an interrupted one had logged beyond the step that it
    resumes from.
    """

    def __init__(self, *, curves: bool = True, figures: bool = True, max_classes: PositiveInt = 30) -> None:
        self._curves, self.figures, self._max_classes = curves, figures, max_classes
        self._file: EventsFile | None = None

    def start(self, run: RunInfo) -> None:
        self._run = run

    def log(self, log: StepLog) -> None:
        numbers = {
            "train/loss": log.loss,
            "optimizer/lr": log.lr,
            "optimizer/grad_norm": math.nan if log.grad_norm is None else log.grad_norm,
            "speed/rows_per_second": log.rows_per_second,
        }
        self._add(log.step, _scalars(numbers))

    def evaluated(self, evaluation: Evaluation) -> None:
        split = evaluation.split
        metrics = {f"{split}/{name}": value for name, value in evaluation.metrics.items()}
        self._add(evaluation.step, _scalars(metrics), *self._pr_curves(evaluation, f"pr_{split}"))

    def end(self, result: Result) -> None:
        final: dict[str, float] = {}
        for split, evaluation in result.evaluations.items():
            metrics = {f"final_{split}/{name}": value for name, value in evaluation.metrics.items()}
            self._add(evaluation.step, _scalars(metrics), *self._pr_curves(evaluation, f"pr_final_{split}"))
            final |= {tag: value for tag, value in metrics.items() if tag.partition("/")[2] in MAIN_METRICS and math.isfinite(value)}
        if self.figures:
            self._add(result.steps, *self._pictures())
        self._add(0, *_hparams(self._run.config, final))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, step: int, *summaries: Any) -> None:
        """The first call opens the file, since TensorBoard's imports cost up to a second."""
        folder = self._run.run_dir / "tensorboard"
        with writing(folder):
            if self._file is None:
                resumed = self._run.resumed_from_step
                # Events of the resumed step itself were written before its checkpoint, so they stay.
                self._file = EventsFile(folder, purge_step=resumed + 1 if resumed else None)
                self._file.add(resumed, _config(self._run))
            self._file.add(step, *summaries)

    def _pr_curves(self, evaluation: Evaluation, group: str) -> Iterator[Any]:
        """A curve for each class that occurs, for TensorBoard's slider over steps."""
        from torch.utils.tensorboard.summary import pr_curve

        facts = self._run.facts
        if not self._curves or np.isnan(evaluation.logits).any():
            return
        probabilities_NC = probabilities(evaluation.logits, facts.task)
        largest = np.argsort(-facts.class_counts, kind="stable")[: self._max_classes]
        for index in [1] if facts.task == "binary" else largest:
            name = facts.class_names[index]
            if not evaluation.per_class[name]["support"]:
                continue
            positive_N = evaluation.targets[:, index] >= 0.5 if evaluation.targets.ndim == 2 else evaluation.targets == index
            yield pr_curve(f"{group}/{one_line(name)}", positive_N, probabilities_NC[:, index], _THRESHOLDS, evaluation.weights)

    def _pictures(self) -> Iterator[Any]:
        """The PNG files as they are."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for path in sorted((self._run.run_dir / "figures").glob("*.png")):
            png = path.read_bytes()
            width, height = struct.unpack(">II", png[16:24])
            image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
            yield Summary(value=[Summary.Value(tag=f"final/{path.stem}", image=image)])


def _scalars(numbers: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items() if math.isfinite(value)])


def _config(run: RunInfo) -> Any:
    import yaml
    from torch.utils.tensorboard.summary import text

    lines = [f"overrides: {' '.join(run.overrides) or '(none)'}", ""]
    lines += yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True).splitlines()
    # Markdown shows a block that is indented by four spaces as code.
    return text("config", "\n".join(f"    {line}" for line in lines))


def _hparams(config: dict[str, Any], final: dict[str, float]) -> tuple[Any, ...]:
    """The settings beside the final scores, which are scalars of this same run."""
    from torch.utils.tensorboard.summary import hparams

    return tuple(hparams(_flat(config), final))


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
