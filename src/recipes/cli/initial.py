"""First weights from a finished run, and which of them are trained."""

from __future__ import annotations

import numpy as np

from recipes.cli.settings import Settings
from recipes.data import Dataset
from recipes.errors import ConfigError
from recipes.inference import load_bundle
from recipes.inference.bundle import Bundle
from recipes.models import Model
from recipes.models.posthoc import freeze, reinitialised, scaled
from recipes.priors import Ledger


def initialise(model: Model, settings: Settings, data: Dataset) -> Ledger | None:
    """Do to a model of first weights what `init` says; returns the prior that its weights fit now, None where nothing is trained.

    Raises ConfigError where the run's model or data is another.
    """
    init = settings.top.init
    if init.run is None:
        if init.train != "all" or init.reset_head:
            which = "train" if init.train != "all" else "reset_head"
            raise ConfigError(
                f"init.{which}: it is about the weights of a finished run, and init.run names none; add init.run=<run directory>"
            )
        return None
    bundle = load_bundle(init.run)
    check_same(bundle, data, init.run, "init.run")
    if bundle.model_settings.get("head") == "hierarchical" and (bundle.facts.class_counts != data.facts.class_counts).any():
        raise ConfigError(
            f"init.run: {init.run} has a tree of other class counts, so its decisions are not those of this one; "
            "take its data, or a run with model.head=linear"
        )
    weights = {name: w for name, w in bundle.weights.items() if not (init.reset_head and name.startswith("head."))}
    own = model.state_dict()
    wrong = [n for n in own.keys() | weights.keys() if n in weights and (n not in own or own[n].shape != weights[n].shape)]
    lacking = [n for n in own if n not in weights and not (init.reset_head and n.startswith("head."))]
    if wrong or lacking:
        raise ConfigError(
            f"init.run: the model of {init.run} has other weights than this one ({', '.join(sorted([*wrong, *lacking])[:4])}); "
            "take the same model settings, as `scripts/mine.py` and `scripts/posthoc.py` do"
        )
    model.load_state_dict(own | weights)
    if init.reset_head:
        model.head = reinitialised(model.head)
    if init.train == "scale":
        model.head = scaled(model.head)
    freeze(model, "all" if init.train == "all" else "head")
    return None if init.reset_head else bundle.readout.ledger


def inexact(settings: Settings) -> tuple[str, ...]:
    """Why weights that start as `init` or `reweight` say may not come to fit what they are shown last, in words; none where they may."""
    reasons = []
    if settings.top.init.train == "scale":
        reasons.append("init.train=scale: one factor a class cannot take in the prior of what is dealt")
    if settings.top.reweight.start is not None:
        reasons.append("reweight.start: weights that fitted the rows as they are have not forgotten that prior at the end")
    return tuple(reasons)


def check_same(bundle: Bundle, data: Dataset, run: str, key: str) -> None:
    """Raise ConfigError unless the run saw the same features and classes: its weights mean something else otherwise."""
    if bundle.facts.class_names != data.facts.class_names:
        raise ConfigError(f"{key}: {run} knows other classes: {_some(bundle.facts.class_names)}; here {_some(data.facts.class_names)}")
    theirs, ours = bundle.encoder.state(), data.encoder.state()
    same = theirs[1].keys() == ours[1].keys() and all(np.array_equal(theirs[1][name], ours[1][name]) for name in ours[1])
    if not same or theirs[0] != ours[0]:
        raise ConfigError(
            f"{key}: {run} was trained on other features: another vocabulary, other columns or another seed's split; "
            "take the data, features and seed settings of that run"
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
