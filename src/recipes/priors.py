"""The prior ledger: which class prior a network was made to fit, and the way back to the natural one.

N rows, C classes or labels.

If training deals class y with probability q_y, weighs it w_y, and adds a_y to its logit inside a proper loss, the optimum is
f_y(x) = log p(x | y) + log(q_y w_y) - a_y + c(x). Hence f + a - log(q w) + log(pi) are the logits of the natural prior pi, and with
log(pi*) in the place of log(pi) those of another prevalence (Saerens et al. 2002; Elkan 2001; Menon et al. 2021). Samplers show their q by
what they deal; losses declare w and a; nothing has to be fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from recipes.data.facts import Task
from recipes.errors import ConfigError, did_you_mean

_TINY = 1e-300


@dataclass(frozen=True)
class Declaration:
    """What a loss does to the posterior that a network fits; the default is plain cross-entropy.

    weights_C: w, the weight of each class; of a loss on sigmoids (multi-label, or link `sigmoid`) the weight of each label's positive
    side over its negative one. adjust_C: a, added to the logits inside the loss. temper_C: the logits are divided by it inside the loss.
    link: how the loss reads the logits of a single-label task: one `softmax`, or a `sigmoid` for each class against the rest.
    focus: gamma of a focal factor. approximate: why the optimum has no closed form, in words that end "...: <this>"; None where it has.
    """

    weights_C: np.ndarray | None = None
    adjust_C: np.ndarray | None = None
    temper_C: np.ndarray | None = None
    link: Literal["softmax", "sigmoid"] = "softmax"
    focus: float = 0.0
    approximate: str | None = None


@dataclass(frozen=True)
class Ledger:
    """The natural prior, what training made of it, and the correction between the two. Plain arrays: it travels with the model.

    natural_C: pi, the class shares of the train rows; for multi-label the share of rows that have each label. sampled_C: q, the same of
    what the sampler deals. Both count rows by their weight where the data has weights. approximate: why the correction is not exact, one
    reason each; empty where it is.
    """

    task: Task
    natural_C: np.ndarray
    sampled_C: np.ndarray
    loss: Declaration = field(default_factory=Declaration)
    approximate: tuple[str, ...] = ()

    @property
    def weights_C(self) -> np.ndarray:
        """w, (C,); 1 where the loss has none."""
        return _or(self.loss.weights_C, 1.0, len(self.natural_C))

    @property
    def adjust_C(self) -> np.ndarray:
        """a, (C,); 0 where the loss has none."""
        return _or(self.loss.adjust_C, 0.0, len(self.natural_C))

    @property
    def effective_C(self) -> np.ndarray:
        """The prior that the network fits, (C,): q w e^-a, as shares of one; for multi-label each label on its own."""
        if self.task == "multilabel":
            return _sigmoid(_logit(self.sampled_C) + np.log(np.maximum(self.weights_C, _TINY)) - self.adjust_C)
        joint_C = self.sampled_C * self.weights_C * np.exp(-self.adjust_C)
        return joint_C / max(joint_C.sum(), _TINY)

    @property
    def correction_C(self) -> np.ndarray:
        """What is added to the fitted logits, (C,): a - log(q w) + log(pi); a alone for a class that train has no rows of.

        For multi-label with logit(q) and logit(pi) in the place of the logarithms.
        """
        return self.adjust_C + self._shift_C()

    @property
    def trivial(self) -> bool:
        """Whether the network's own probabilities are the natural ones already: then nothing is corrected."""
        spread_C = self.correction_C if self.task == "multilabel" else self.correction_C - self.correction_C.mean()
        plain = self.loss.temper_C is None and self.loss.link == "softmax" and self.loss.focus == 0
        return plain and bool(np.abs(spread_C).max(initial=0.0) < 1e-9)

    @property
    def exact(self) -> bool:
        """Whether the correction is the closed form of the optimum."""
        return not self.approximate

    def natural(self, logits_NC: np.ndarray) -> np.ndarray:
        """(N, C) float64 logits whose softmax (multi-label: sigmoid) is the probability under the natural prior."""
        raw_NC = np.asarray(logits_NC, dtype=np.float64)
        if self.trivial:
            return raw_NC
        temper_C = _or(self.loss.temper_C, 1.0, raw_NC.shape[1])
        fitted_NC = raw_NC / temper_C + self.adjust_C
        if self.task == "multilabel":
            return _unfocus_labels(fitted_NC, self.loss.focus) + self._shift_C()
        if self.loss.link == "sigmoid":
            # One-vs-rest: each sigmoid is a posterior once its own positive weight is taken off; shares of them are the classes'.
            own_NC = -np.logaddexp(0.0, np.log(np.maximum(self.weights_C, _TINY)) - fitted_NC)
            return own_NC + self._shift_C(weighted=False)
        return _unfocus_classes(fitted_NC, self.loss.focus) + self._shift_C()

    def as_trained(self, logits_NC: np.ndarray, shift_C: np.ndarray) -> np.ndarray:
        """(N, C) float64 the network's own logits, moved to another prevalence: they decide as the raw ones do at that of training.

        shift_C: what `deployed` gives. It is a number of log-odds of the posterior, so what bends that in the logits (a focal factor, a
        divisor, one sigmoid a class) is unbent first, in the same order of classes: else a small change of the prior would count too much.
        """
        raw_NC = np.asarray(logits_NC, dtype=np.float64)
        if self.task != "multilabel" and self.loss.link == "sigmoid":
            return -np.logaddexp(0.0, -raw_NC) + shift_C
        temper_C = _or(self.loss.temper_C, 1.0, raw_NC.shape[1])
        straight_NC = raw_NC / temper_C
        if self.loss.focus > 0:
            unfocus = _unfocus_labels if self.task == "multilabel" else _unfocus_classes
            straight_NC = unfocus(straight_NC, self.loss.focus)
        return (straight_NC + shift_C) * temper_C

    def deployed(self, prior: float | Mapping[str, float], class_names: tuple[str, ...]) -> np.ndarray:
        """(C,) what is added to natural logits to serve another prevalence.

        prior: the share of the positive class (binary), or class name -> share. Shares of a single-label task that are not given keep
        their proportions in what the given ones leave. Raises ConfigError for unknown names, shares outside (0, 1) or a wrong sum.
        """
        wanted_C = _prior(prior, class_names, self.natural_C, self.task)
        if self.task == "multilabel":
            return np.asarray(_logit(wanted_C) - _logit(self.natural_C))
        known_C = (self.natural_C > 0) & (wanted_C > 0)
        ratio_C = np.divide(wanted_C, self.natural_C, out=np.ones_like(wanted_C), where=known_C)
        return np.asarray(np.where(wanted_C > 0, np.log(ratio_C), -np.inf))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self.loss).items()}
        return {
            "task": self.task,
            "natural": self.natural_C.tolist(),
            "sampled": self.sampled_C.tolist(),
            "loss": plain,
            "approximate": list(self.approximate),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Ledger:
        """The ledger that `as_dict` was asked of."""
        loss: dict[str, Any] = {name: np.array(value) if isinstance(value, list) else value for name, value in plain["loss"].items()}
        return cls(plain["task"], np.array(plain["natural"]), np.array(plain["sampled"]), Declaration(**loss), tuple(plain["approximate"]))

    def _shift_C(self, weighted: bool = True) -> np.ndarray:
        """log(pi) - log(q w), or the difference of the logits for multi-label; 0 where train or the sampler has no rows."""
        weights_C = self.weights_C if weighted else np.ones_like(self.natural_C)
        if self.task == "multilabel":
            return np.asarray(_logit(self.natural_C) - _logit(self.sampled_C) - np.log(np.maximum(weights_C, _TINY)))
        joint_C = self.sampled_C * weights_C
        known_C = (self.natural_C > 0) & (joint_C > 0)
        return np.log(np.divide(self.natural_C, joint_C, out=np.ones_like(joint_C), where=known_C))


def _unfocus_classes(fitted_NC: np.ndarray, gamma: float) -> np.ndarray:
    """Log-probabilities behind a focal softmax: log h(v) for h(v) = v / ((1-v)^g - g (1-v)^(g-1) v log v) (Charoenphakdee et al. 2021)."""
    log_v_NC = fitted_NC - np.logaddexp.reduce(fitted_NC, axis=1, keepdims=True)
    if gamma == 0:
        return log_v_NC
    rest_NC = np.stack([np.logaddexp.reduce(np.delete(log_v_NC, c, axis=1), axis=1) for c in range(log_v_NC.shape[1])], axis=1)
    return _log_h(log_v_NC, rest_NC, gamma)


def _unfocus_labels(fitted_NC: np.ndarray, gamma: float) -> np.ndarray:
    """The same for the sigmoid of each label: log h(v) - log h(1 - v)."""
    if gamma == 0:
        return fitted_NC
    log_v_NC, rest_NC = -np.logaddexp(0.0, -fitted_NC), -np.logaddexp(0.0, fitted_NC)
    return _log_h(log_v_NC, rest_NC, gamma) - _log_h(rest_NC, log_v_NC, gamma)


def _log_h(log_v: np.ndarray, log_rest: np.ndarray, gamma: float) -> np.ndarray:
    """log h(v) from log v and log(1 - v): both are given, since 1 - v has no digits left where v is near one."""
    # -v log v / (1 - v) tends to 1 as v does; exp keeps it a number where 1 - v is below the smallest one.
    safe = np.maximum(log_rest, -700.0)
    ratio = np.where(log_rest < -36.0, 1.0, np.exp(log_v - safe) * -log_v)
    return log_v - gamma * safe - np.log1p(gamma * ratio)


def _prior(prior: float | Mapping[str, float], class_names: tuple[str, ...], natural_C: np.ndarray, task: Task) -> np.ndarray:
    if not isinstance(prior, Mapping):
        if task != "binary":
            raise ConfigError(f"prior: one number is the share of the positive class, and this task is {task}; give name:share for classes")
        prior = {class_names[1]: float(prior)}
    for name, share in prior.items():
        if name not in class_names:
            raise ConfigError(f"prior: there is no class '{name}'; {did_you_mean(name, class_names)}")
        if natural_C[class_names.index(name)] <= 0:
            raise ConfigError(f"prior: train has no rows of '{name}', so nothing is known that another share could scale")
        if not 0 < share < 1:
            raise ConfigError(f"prior: the share of '{name}' must lie between 0 and 1, both excluded, got {share:g}")
    wanted_C, given = natural_C.astype(np.float64).copy(), [class_names.index(name) for name in prior]
    if task == "multilabel":
        wanted_C[given] = list(prior.values())
        return wanted_C
    others = np.setdiff1d(np.arange(len(class_names)), given)
    left = 1 - sum(prior.values())
    if left < -1e-9 or (len(others) == 0 and abs(left) > 1e-6):
        raise ConfigError(f"prior: the shares add up to {1 - left:g}, and those of all classes to 1")
    if len(others):
        if left <= 0 and natural_C[others].sum() > 0:
            raise ConfigError(f"prior: the shares add up to {1 - left:g}, which leaves nothing for {len(others)} more classes")
        wanted_C[others] *= left / max(natural_C[others].sum(), _TINY)
    wanted_C[given] = list(prior.values())
    return wanted_C


def _or(values: np.ndarray | None, default: float, size: int) -> np.ndarray:
    return np.full(size, default) if values is None else np.asarray(values, dtype=np.float64)


def _logit(share: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)); a label that all rows have, or none, counts as if a millionth lacked or had it."""
    clipped = np.clip(share, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))
