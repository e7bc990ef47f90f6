"""`posthoc`: other decisions, another head, or a little more training for a finished run (Kang et al. 2020; Menon et al. 2021).

    logit_adjust   tau times the log-frequencies is taken off the natural logits in decisions; nothing is trained, probabilities stay
    tau_norm       class weights divided by their norm to the power of tau
    ncm            the nearest class mean of what the head reads
    crt            the head trained anew on classes that are dealt equally often, the encoder fixed
    lws            one factor a class of the head trained on such batches

tau is the best on validation where it is not given; 0 is the run as it is. Test is scored once for each model that is shown: before, and
after. N rows, C classes or labels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from recipes.cli.finished import Finished, continued, open_run, task_of
from recipes.cli.readout import conformal_scores, fitted
from recipes.data import Split
from recipes.errors import ConfigError, did_you_mean
from recipes.evaluation import Readout, Rule, evaluate
from recipes.evaluation.calibrators import Raw
from recipes.inference import Predictor, bundle_of, save_bundle
from recipes.losses.weights import log_prior
from recipes.models import Model
from recipes.models.posthoc import nearest_class_mean, settings_with, tau_normalized
from recipes.priors import Ledger
from recipes.reporting.documents import write_json
from recipes.training.features import hidden
from recipes.training.precision import Precision
from recipes.training.scoring import score

TRAINED = {
    "crt": ["init.train=head", "init.reset_head=true"],
    "lws": ["init.train=scale"],
}
TAUS = [round(0.1 * i, 1) for i in range(21)]
SHOWN = ("f1_macro", "balanced_accuracy", "pr_auc", "log_loss", "ece")
OBJECTIVES = SHOWN[:3]


def posthoc(run: str, method: str, tau: str = "", output: str = "", objective: str = "", device: str = "auto") -> None:
    """Change the head or the decisions of a finished run without training, and write the new model to `output` (<run>/posthoc/<method>).

    tau: a number of at least 0; empty or `auto`: the best of 0 to 2 on validation by `objective` (f1_macro). Raises ConfigError where the
    method does not fit the run, and for arguments that it does not read.
    """
    if method not in _METHODS:
        raise ConfigError(f"method: '{method}' is not known; {did_you_mean(method, (*_METHODS, *TRAINED))}")
    taus = _taus(method, tau, objective)
    finished = open_run(run, device)
    if finished.data.val is None and len(taus) > 1:
        raise ConfigError("tau: it is chosen on validation, and this run has no validation split; give a number, such as tau=1.0")
    before = _Variant(Predictor(finished.bundle, device=device, trust=finished.settings.top.trust).model, finished.bundle.readout)
    context = _Context(finished, before, objective or OBJECTIVES[0])
    after, chosen = _METHODS[method](context, taus)
    found = {"before": context.scores(before), "after": context.scores(after)}
    folder = Path(output).expanduser() if output else finished.run_dir / "posthoc" / method
    context.save(after, folder / "model")
    about = {"run": str(finished.run_dir), "method": method, "tau": chosen, "objective": context.objective if len(taus) > 1 else None}
    write_json(folder / "metrics.json", {**about, "before": found["before"], **found["after"], "readout": after.readout.describe()})
    _show(method, chosen, found)
    print(f"{after.readout.describe()}\nmodel: {folder}")  # noqa: T201


def trained(run: str, method: str, typed: list[str]) -> list[str]:
    """The overrides of a run that trains the head of a finished one anew: classes equally often, no other technique, the usual length."""
    loss = "bce" if task_of(run) == "multilabel" else "cross_entropy"
    plain = ["sampler=class_balanced", "mining=none", "augment=none", f"loss={loss}", "reweight.start=null"]
    length = ["trainer.max_epochs=null", "trainer.max_steps=null", "trainer.early_stopping.min_steps=0"]
    return continued(run, [*plain, *length, *TRAINED[method]], typed, ("sampler", "mining", "augment", "loss", "reweight", "recipe"))


@dataclass(frozen=True, eq=False)
class _Variant:
    """A network with the way from its logits to decisions."""

    model: Model
    readout: Readout


@dataclass(frozen=True, eq=False)
class _Context:
    finished: Finished
    before: _Variant
    objective: str

    @property
    def exact(self) -> Precision:
        return Precision("fp32", self.finished.settings.device)

    def raw(self, model: Model, split: Split) -> np.ndarray:
        """(N, C) raw logits."""
        settings = self.finished.settings
        return score(model, split.to(settings.device), settings.trainer.eval_batch_size, self.exact).cpu().numpy()

    def read_out(self, model: Model, ledger: Ledger) -> _Variant:
        """A changed model with calibration and threshold of the run's settings, fitted anew."""
        settings, val, facts = self.finished.settings, self.finished.data.val, self.finished.data.facts
        return _Variant(model, fitted(settings, facts, ledger, val, None if val is None else self.raw(model, val)))

    def best(self, variants: Iterator[tuple[float, _Variant]]) -> tuple[float, _Variant, float]:
        """The variant that is best on validation by the objective, the first of equals, and how far it comes; NaN without validation."""
        val = self.finished.data.val
        tried = [(tau, variant, np.nan if val is None else self.judged(variant, val)[self.objective]) for tau, variant in variants]
        return max(tried, key=lambda each: each[2])

    def judged(self, variant: _Variant, split: Split) -> dict[str, float]:
        facts, raw_NC = self.finished.data.facts, self.raw(variant.model, split)
        logits_NC, decided = variant.readout.logits(raw_NC), variant.readout.decide(raw_NC)
        return evaluate(logits_NC, split.labels(), facts.task, facts.class_names, split.given_weights, decided)[0]

    def scores(self, variant: _Variant) -> dict[str, dict[str, float]]:
        """Metrics of validation and test, those that there are."""
        return {split.name: self.judged(variant, split) for split in (self.finished.data.val, self.finished.data.test) if split is not None}

    def save(self, variant: _Variant, folder: Path) -> None:
        bundle, data = self.finished.bundle, self.finished.data
        settings = bundle.model_settings if variant.model is self.before.model else settings_with(variant.model.head, bundle.model_settings)
        sets = conformal_scores(variant.readout, data.val, None if data.val is None else self.raw(variant.model, data.val))
        save_bundle(folder, bundle_of(variant.model, settings, data, bundle.needs, variant.readout, sets))


def logit_adjusted(natural_C: np.ndarray, tau: float) -> Rule:
    """Decide by natural logits - tau log pi (Menon et al. 2021, equation 9).

    A class without train rows is adjusted as the rarest one, as in training: by its own share of 0 it would win every row.
    """
    return Rule("logit_adjust", -tau * log_prior(natural_C))


def _logit_adjust(context: _Context, taus: list[float]) -> tuple[_Variant, float]:
    """In the place of the run's threshold."""
    model, readout = context.before.model, context.before.readout
    ledger = readout.ledger
    if ledger.task == "multilabel":
        raise ConfigError("method=logit_adjust is for one class a row, and this task is multilabel; train with threshold=per_label")
    if np.ptp(ledger.adjust_C) > 1e-9:
        raise ConfigError(
            "method=logit_adjust: the run was trained with logits adjusted in its loss, and to adjust them again counts twice; "
            "take a run of loss=cross_entropy, or method=ncm"
        )
    if isinstance(readout.calibrator, Raw) and not ledger.trivial:
        raise ConfigError(
            "method=logit_adjust: the sampler or the loss of the run rebalances classes, and calibration=none leaves that in the logits, "
            "so to adjust them counts twice; train with calibration=auto"
        )

    def adjusted(tau: float) -> _Variant:
        return _Variant(model, replace(readout, rule=logit_adjusted(ledger.natural_C, tau))) if tau else context.before

    tau, variant, reached = context.best((tau, adjusted(tau)) for tau in taus)
    if not tau or len(taus) == 1:
        return variant, tau
    rule = replace(variant.readout.rule, objective=context.objective, value=reached)
    return replace(variant, readout=replace(variant.readout, rule=rule)), tau


def _tau_norm(context: _Context, taus: list[float]) -> tuple[_Variant, float]:
    """tau is chosen by the new network's own decisions; calibration and threshold are fitted for the chosen one."""
    model, ledger = context.before.model, context.before.readout.ledger
    changed = replace(ledger, approximate=(*ledger.approximate, "posthoc=tau_norm: the norms of the head are not those that were trained"))

    def normalized(tau: float) -> _Variant:
        return _Variant(_with_head(model, tau_normalized(model.head, tau)), Readout(changed if tau else ledger))

    tau, variant, _ = context.best((tau, normalized(tau)) for tau in taus)
    return (context.read_out(variant.model, changed) if tau else context.before), tau


def _nearest_class_mean(context: _Context, taus: list[float]) -> tuple[_Variant, None]:
    finished, model = context.finished, context.before.model
    if finished.data.facts.task == "multilabel":
        raise ConfigError("method=ncm is for one class a row, and this task is multilabel; use method=tau_norm")
    train = finished.data.train.to(finished.settings.device)
    features_NH = hidden(model, train, finished.settings.trainer.eval_batch_size, context.exact)
    head = nearest_class_mean(features_NH, train.targets, finished.data.facts.num_classes, train.weights)
    natural_C = context.before.readout.ledger.natural_C
    even_C = np.full_like(natural_C, 1 / len(natural_C))
    ledger = Ledger(
        finished.data.facts.task, natural_C, even_C, approximate=("posthoc=ncm: distances to class means are no probabilities",)
    )
    return context.read_out(_with_head(model, head), ledger), None


_METHODS: dict[str, Callable[[_Context, list[float]], tuple[_Variant, float | None]]] = {
    "logit_adjust": _logit_adjust,
    "tau_norm": _tau_norm,
    "ncm": _nearest_class_mean,
}


def _taus(method: str, tau: str, objective: str) -> list[float]:
    """The values of tau to choose from. Raises ConfigError for what is no number, and for arguments that nothing reads."""
    if objective and objective not in OBJECTIVES:
        raise ConfigError(f"objective: '{objective}' is not one to choose tau by; {did_you_mean(objective, OBJECTIVES)}")
    if method == "ncm":
        if tau or objective:
            raise ConfigError(f"{'tau' if tau else 'objective'}: method=ncm has no tau; leave it out, or use method=tau_norm")
        return []
    if tau in ("", "auto"):
        return TAUS
    if objective:
        raise ConfigError("objective: tau is given, so nothing is chosen; leave one of the two out")
    try:
        value = float(tau)
    except ValueError:
        value = -1.0
    if not 0 <= value < np.inf:
        raise ConfigError(f"tau: expected a number of at least 0, or auto, got '{tau}'")
    return [value]


def _with_head(model: Model, head: nn.Module) -> Model:
    """The same encoder under another head; nothing is copied."""
    changed = copy.copy(model)
    changed._modules = dict(model._modules) | {"head": head}
    return changed


def _show(method: str, tau: float | None, found: dict[str, dict[str, dict[str, float]]]) -> None:
    """One table: a row for each split, before and after."""
    titles = {"before": "before", "after": method if tau is None else f"{method} tau={tau:g}"}
    print(f"{'':26}" + "".join(f"{metric:>19}" for metric in SHOWN))  # noqa: T201
    for split in found["before"]:
        for when, title in titles.items():
            row = "".join(f"{found[when][split].get(metric, float('nan')):19.4f}" for metric in SHOWN)
            print(f"{split + ' ' + title:26}{row}")  # noqa: T201
