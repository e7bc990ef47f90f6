"""Offsets on the logits of several classes, found one class at a time; each step is exact.

N rows, C classes, S sums that an objective is made of, R resamples. With all other offsets fixed, row n goes to class c once offset_c
exceeds the best of the others less its own logit. Along those N points only two classes change with a row, so every cut is scored in one
sort and a few cumulated sums, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from recipes.evaluation.counts import ratio

_GAIN = 1e-12  # less than that is rounding


@dataclass(frozen=True)
class Sums:
    """An objective made of sums over classes.

    terms: (right, support, decided) by weight -> (S, ...), 0 for a class that does not occur. finish: (sums (S, ...), support_C) -> value.
    """

    terms: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def of(self, targets_N: np.ndarray, decided_N: np.ndarray, weights_N: np.ndarray, classes: int) -> float:
        """The value of decisions."""
        support_C = np.bincount(targets_N, weights_N, classes)
        right_C = np.bincount(targets_N, weights_N * (targets_N == decided_N), classes)
        sums_S = self.terms(right_C, support_C, np.bincount(decided_N, weights_N, classes)).sum(axis=-1)
        return float(self.finish(sums_S, support_C))


def _mean(sums: np.ndarray, support_C: np.ndarray) -> np.ndarray:
    return sums[0] / (support_C > 0).sum()


def _recalls(right: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Sums of weights that cancel leave crumbs, which a logarithm would make much of."""
    recall = ratio(right, support)
    return np.where(recall < 1e-9, 0.0, recall)


def _log_recalls(right: np.ndarray, support: np.ndarray, decided: np.ndarray) -> np.ndarray:
    recall, occurs = _recalls(right, support), support > 0
    return np.stack([np.log(np.where(recall > 0, recall, 1.0)), (recall == 0) & occurs])


def _g_mean(sums: np.ndarray, support_C: np.ndarray) -> np.ndarray:
    """While classes have no recall, minus their number: below every value, and better with each class fewer."""
    missed = np.rint(sums[1])
    return np.where(missed > 0, -missed, np.exp(sums[0] / (support_C > 0).sum()))


def _mcc(sums: np.ndarray, support_C: np.ndarray) -> np.ndarray:
    """R_K of Gorodkin (2004), eq. 8; 0 where it is 0/0."""
    rows = support_C.sum()
    spread = np.maximum((rows**2 - sums[2]) * (rows**2 - (support_C**2).sum()), 0.0)
    return ratio(sums[0] * rows - sums[1], np.where(spread > 1e-9 * rows**4, np.sqrt(spread), 0.0))


OBJECTIVES = {
    "f1_macro": Sums(lambda right, support, decided: np.where(support > 0, ratio(2 * right, support + decided), 0.0)[None], _mean),
    "balanced_accuracy": Sums(lambda right, support, decided: _recalls(right, support)[None], _mean),
    "g_mean": Sums(_log_recalls, _g_mean),
    "mcc": Sums(lambda right, support, decided: np.stack([right, decided * support, decided**2]), _mcc),
}


def ascend(
    logits_NC: np.ndarray,
    targets_N: np.ndarray,
    weights_N: np.ndarray,
    objective: Sums,
    free: np.ndarray,
    sweeps: int,
) -> tuple[np.ndarray, float]:
    """(C,) offsets and the value they reach, never below that of no offsets. Only classes in `free` get one.

    Two starts, since the value has local maxima: no offsets, and those that make the classes equally frequent.
    """
    classes = logits_NC.shape[1]
    shares_C = np.bincount(targets_N, weights_N, classes) / weights_N.sum()
    level_C = np.zeros(classes)
    level_C[free] = -np.log(np.maximum(shares_C[free], 1e-12))
    level_C[free] -= level_C[free].min()
    found = []
    for offsets_C in (np.zeros(classes), level_C):
        value = objective.of(targets_N, (logits_NC + offsets_C).argmax(axis=1), weights_N, classes)
        for _ in range(sweeps):
            before = value
            value = _sweep(logits_NC, targets_N, weights_N, objective, free, offsets_C, value)
            if value <= before + _GAIN:
                break
        found.append((offsets_C, value))
    return found[1] if found[1][1] > found[0][1] + _GAIN else found[0]


def resampled(
    logits_NC: np.ndarray,
    targets_N: np.ndarray,
    weights_N: np.ndarray,
    objective: Sums,
    free: np.ndarray,
    offsets_C: np.ndarray,
    draws: Iterable[np.ndarray],
) -> np.ndarray:
    """(R, C) offsets where row n comes draws[r][n] times: one sweep from those that `ascend` found, so a tenth of its cost.

    Decisions depend on differences of offsets alone. Where no class is held at 0, each resample is moved to the mean of `offsets_C`.
    """
    classes, found = logits_NC.shape[1], []
    for counts_N in draws:
        kept_N = counts_N > 0
        logits, targets, weights = logits_NC[kept_N], targets_N[kept_N], (weights_N * counts_N)[kept_N]
        moved_C = offsets_C.copy()
        value = objective.of(targets, (logits + moved_C).argmax(axis=1), weights, classes)
        _sweep(logits, targets, weights, objective, free, moved_C, value)
        found.append(moved_C if len(free) < classes else moved_C + (offsets_C - moved_C).mean())
    return np.array(found)


def _sweep(
    logits_NC: np.ndarray,
    targets_N: np.ndarray,
    weights_N: np.ndarray,
    objective: Sums,
    free: np.ndarray,
    offsets_C: np.ndarray,
    value: float,
) -> float:
    """Set the offset of each class in `free` to its best place, one after another; returns the value then."""
    for c in free:
        value = _step(logits_NC, targets_N, weights_N, objective, offsets_C, int(c), value)
    return value


def _step(
    logits_NC: np.ndarray,
    targets_N: np.ndarray,
    weights_N: np.ndarray,
    objective: Sums,
    offsets_C: np.ndarray,
    c: int,
    value: float,
) -> float:
    """Set offsets_C[c] to its best place if that is better than `value`; returns the value then."""
    others_NC = logits_NC + offsets_C
    others_NC[:, c] = -np.inf
    rival_N = others_NC.argmax(axis=1)
    need_N = others_NC[np.arange(len(rival_N)), rival_N] - logits_NC[:, c]
    order_N = np.argsort(need_N)
    need_N = need_N[order_N]
    value_L = _values(targets_N[order_N], rival_N[order_N], weights_N[order_N], objective, c, logits_NC.shape[1])
    value_L[1:-1][need_N[1:] == need_N[:-1]] = -np.inf  # ties go together
    best = value_L.max()
    if best <= value + _GAIN:
        return value
    places_L = np.concatenate([[need_N[0] - 1], (need_N[1:] + need_N[:-1]) / 2, [need_N[-1] + 1]])
    equals = np.flatnonzero(value_L >= best - _GAIN)
    old, offsets_C[c] = offsets_C[c], places_L[equals[np.abs(places_L[equals]).argmin()]]
    reached = objective.of(targets_N, (logits_NC + offsets_C).argmax(axis=1), weights_N, logits_NC.shape[1])
    if reached <= value + _GAIN:  # logits too close for a number between them
        offsets_C[c] = old
        return value
    return reached


def _values(targets_N: np.ndarray, rival_N: np.ndarray, weights_N: np.ndarray, objective: Sums, c: int, classes: int) -> np.ndarray:
    """(N + 1,) values while class c takes one row after another from its rivals, in the order given."""
    support_C = np.bincount(targets_N, weights_N, classes)
    decided_C = np.bincount(rival_N, weights_N, classes)
    right_C = np.bincount(rival_N, weights_N * (rival_N == targets_N), classes)
    start_SC = objective.terms(right_C, support_C, decided_C)

    # What each rival loses: rows in groups of one rival, cumulated within the group.
    group_N = np.argsort(rival_N, kind="stable")
    rival, own = rival_N[group_N], weights_N[group_N]
    hit = own * (rival == targets_N[group_N])
    first = np.searchsorted(rival, rival)
    lost, missed = (np.cumsum(each) - np.append(0.0, np.cumsum(each))[first] for each in (own, hit))
    support, decided, right = support_C[rival], decided_C[rival] - lost, right_C[rival] - missed
    change_SN = np.empty((len(start_SC), len(rival)))
    change_SN[:, group_N] = objective.terms(right, support, decided) - objective.terms(right + hit, support, decided + own)

    others_SL = np.cumsum(np.concatenate([(start_SC.sum(axis=1) - start_SC[:, c])[:, None], change_SN], axis=1), axis=1)
    taken_L, won_L = (np.append(0.0, np.cumsum(each)) for each in (weights_N, weights_N * (targets_N == c)))
    own_SL = objective.terms(won_L, np.full(len(won_L), support_C[c]), taken_L)
    return objective.finish(others_SL + own_SL, support_C)
