"""A sampler that sets in later: natural training first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.errors import ConfigError
from recipes.sampling.base import START, Moment, Plan, Sampler
from recipes.sampling.pools import Remembered

if TYPE_CHECKING:
    from torch import Tensor

    from recipes.data.split import TrainSplit


class Deferred(Sampler):
    """Deals the train rows as they are before update number `start_step`, and what `sampler` deals from then on (Cao et al. 2019).

    Before that, windows come from permutations of all train rows: to the samples of the sampler's plan, `resample` adds the rows that it
    leaves out. Where the sampler's own `resample` was called instead, the rows that its plan holds have to do. An epoch has the sampler's
    windows, in number and size, and from the switch on exactly those that it would deal without deferral; the switch may fall inside an
    epoch. Selection and scoring are not deferred. Raises ConfigError for a sampler that stands for the weights of the data.

    start_step may be set later, since it often depends on the number of steps.
    """

    def __init__(self, sampler: Sampler, start_step: int = 0) -> None:
        if sampler.consumes_weights:
            raise ConfigError(
                "reweight.start: sampler=weighted deals rows by the data's weights, which hold from the first step on; "
                "leave reweight.start out, or use another sampler"
            )
        self.sampler = sampler
        self.start_step = start_step
        self.approximate = sampler.approximate
        self._own: int | None = None  # samples of the sampler's own plan, which come first
        self._natural: tuple[Plan, np.ndarray] | None = None  # a plan, and one of its samples for each train row
        self._labels = Remembered(lambda labels: labels[: self._own])

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        plan = self.sampler.resample(train, rng)
        self._own = len(plan)
        missing = np.setdiff1d(np.arange(len(train)), plan.rows[~plan.synthetic])
        return _extended(plan, missing) if len(missing) else plan

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        return self.sampler.steps_per_epoch(self._inner(plan), self._inner_labels(labels), size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        windows = self.sampler.batches(self._inner(plan), self._inner_labels(labels), size, rng, moment)
        # A generator of its own: the sampler's draws are then the same with and without deferral.
        own, natural = rng.spawn(1)[0], np.empty(0, dtype=np.int64)
        for step, window in enumerate(windows, start=moment.step):
            if step >= self.start_step:
                yield window
                continue
            while len(natural) < len(window):
                natural = np.append(natural, own.permutation(self._originals(plan)))
            yield natural[: len(window)]
            natural = natural[len(window) :]

    def select(self, difficulty_B: Tensor, targets: Tensor, epoch: int) -> Tensor | None:
        return self.sampler.select(difficulty_B, targets, epoch)

    def rescore(self, logits_NC: np.ndarray) -> None:
        self.sampler.rescore(logits_NC)

    def state_dict(self) -> dict[str, Any]:
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state)

    @property
    def rescored(self) -> bool:
        return self.sampler.rescored

    @property
    def mines(self) -> bool:
        return self.sampler.mines

    def _originals(self, plan: Plan) -> np.ndarray:
        """(N,) int64 one sample of the plan for each train row in it."""
        if self._natural is None or self._natural[0] is not plan:
            real = np.flatnonzero(~plan.synthetic)
            if not len(real):
                raise ValueError("the plan holds no train row, and natural windows are made of these")
            self._natural = plan, real[np.unique(plan.rows[real], return_index=True)[1]]
        return self._natural[1]

    def _inner(self, plan: Plan) -> Plan:
        """The plan as the sampler made it."""
        if self._own is None or self._own == len(plan):
            return plan
        partners, mix = (None if part is None else part[: self._own] for part in (plan.partners, plan.mix))
        return dataclasses.replace(plan, rows=plan.rows[: self._own], partners=partners, mix=mix)

    def _inner_labels(self, labels: np.ndarray) -> np.ndarray:
        return labels if self._own is None or self._own == len(labels) else self._labels(labels)


def _extended(plan: Plan, rows: np.ndarray) -> Plan:
    """The plan and, behind its samples, these rows as they are."""
    partners = None if plan.partners is None else np.append(plan.partners, rows)
    mix = plan.mix
    if mix is not None:
        mix = np.concatenate([mix, np.tile(np.array([[1, 0]], dtype=mix.dtype), (len(rows), 1))])
    return dataclasses.replace(plan, rows=np.append(plan.rows, rows), partners=partners, mix=mix)
