"""Does the prior ledger give true probabilities back? Measured where they are known: two classes, one of them rare.

    python scripts/benchmark_ledger.py                   tokens: each row is one of 50, more or less frequent in either class
    python scripts/benchmark_ledger.py world=normal      normal rows in five dimensions, with means 0.7 apart
    python scripts/benchmark_ledger.py prevalence=0.05 seeds=5

Each recipe trains the same linear model on the same rows; its mean absolute error |p - P(1 | x)| on fresh rows stands beside that of its
uncorrected probabilities, and beside the error of plain cross-entropy. With tokens the model can fit any probabilities, so nothing but the
correction tells the recipes apart. With normal rows it fits the log-odds, and not what a focal loss makes of them, which are no line; and
weights cost a little precision, as theory has it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recipes.cli import entry
from recipes.cli.compose import composed
from recipes.errors import ConfigError, did_you_mean

RECIPES: dict[str, list[str]] = {
    "cross_entropy": [],
    "bce": ["loss=bce"],
    "weighted_ce": ["loss=weighted_ce"],
    "weighted_ce sqrt": ["loss=weighted_ce", "loss.weights=sqrt"],
    "weighted_bce": ["loss=weighted_bce"],
    "cb_ce": ["loss=cb_ce"],
    "focal": ["loss=focal"],
    "focal alpha .75": ["loss=focal", "loss.alpha=0.75"],
    "cb_focal": ["loss=cb_focal"],
    "balanced_softmax": ["loss=balanced_softmax"],
    "logit_adjusted tau .5": ["loss=logit_adjusted", "loss.tau=0.5"],
    "balanced_batch": ["sampler=balanced_batch"],
    "balanced_batch + weighted_bce": ["sampler=balanced_batch", "loss=weighted_bce"],
    "class_balanced": ["sampler=class_balanced"],
    "sqrt": ["sampler=sqrt"],
    "effective_number": ["sampler=effective_number"],
    "random_over": ["sampler=random_over"],
    "random_under": ["sampler=random_under"],
    "stratified_batch": ["sampler=stratified_batch"],
    "class_balanced + focal": ["sampler=class_balanced", "loss=focal"],
}
DEFAULTS = {"world": "tokens", "prevalence": "0.01", "rows": "200000", "seeds": "3", "steps": "3000"}
TOKENS, DIMS, SHIFT = 50, 5, 0.5


def tokens(count: int, prevalence: float, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows with a token and a label, and the true P(1 | token), (N,)."""
    negative = 1 / np.arange(1, TOKENS + 1) ** 0.5
    positive = negative * np.exp(np.linspace(-1.5, 1.5, TOKENS)[np.random.default_rng(0).permutation(TOKENS)])
    shares = np.stack([negative / negative.sum(), positive / positive.sum()])
    labels = (rng.random(count) < prevalence).astype(np.int64)
    drawn = np.where(labels == 1, rng.choice(TOKENS, count, p=shares[1]), rng.choice(TOKENS, count, p=shares[0]))
    joint = shares * np.array([[1 - prevalence], [prevalence]])
    return pl.DataFrame({"token": [f"t{i}" for i in drawn], "label": labels}), (joint[1] / joint.sum(0))[drawn]


def normal(count: int, prevalence: float, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows with numbers and a label, and the true P(1 | x), (N,): the sigmoid of a linear function."""
    labels = (rng.random(count) < prevalence).astype(np.int64)
    shift = np.zeros(DIMS)
    shift[:2] = SHIFT
    x = rng.normal(size=(count, DIMS)) + labels[:, None] * shift
    odds = x @ shift - shift @ shift / 2 + np.log(prevalence / (1 - prevalence))
    return pl.DataFrame({f"x{i}": x[:, i] for i in range(DIMS)} | {"label": labels}), 1 / (1 + np.exp(-odds))


WORLDS = {"tokens": tokens, "normal": normal}


def errors(overrides: list[str], train: Path, fresh: pl.DataFrame, truth: np.ndarray, seed: int, steps: int) -> tuple[float, float]:
    """Mean absolute error of the corrected and of the network's own probability of class 1."""
    from recipes import load
    from recipes.cli.train import run
    from recipes.evaluation import probabilities
    from recipes.reporting import Console

    fixed = [
        "data=file", f"data.train={train}", "data.val_fraction=0", "model=mlp", "model.widths=[]", "model.dropout=0.0",
        "model.bias_init=prior",
        f"seed={seed}", f"trainer.max_steps={steps}", "trainer.max_epochs=100000", "trainer.batch_size=512", "trainer.eval_every=50%",
        "optimizer.lr=0.02", "optimizer.weight_decay=0.0", "logger=none",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        with Console(Path(folder) / "train.log", stream=nowhere) as console:
            run(composed(*fixed, *overrides), Path(folder), [], console)
        predictor = load(folder)
        raw_NC = predictor.score(fresh)
    own, corrected = probabilities(raw_NC, "binary")[:, 1], predictor.proba(raw_NC)[:, 1]
    return float(np.abs(corrected - truth).mean()), float(np.abs(own - truth).mean())


def measured(settings: dict[str, str]) -> Iterator[tuple[str, float, float]]:
    """For each recipe, its name and the two errors, means over the seeds."""
    world, prevalence = WORLDS[settings["world"]], float(settings["prevalence"])
    with tempfile.TemporaryDirectory() as folder:
        data = []
        for seed in range(int(settings["seeds"])):
            rng = np.random.default_rng(seed)
            path = Path(folder) / f"{seed}.csv"
            world(int(settings["rows"]), prevalence, rng)[0].write_csv(path)
            fresh, truth = world(50_000, prevalence, rng)
            data.append((path, fresh.drop("label"), truth))
        for name, overrides in RECIPES.items():
            found = [errors(overrides, *each, seed, int(settings["steps"])) for seed, each in enumerate(data)]
            yield name, statistics.mean(f[0] for f in found), statistics.mean(f[1] for f in found)


def main(argv: list[str]) -> None:
    settings = dict(DEFAULTS)
    for argument in argv:
        key, _, value = argument.partition("=")
        if key not in settings:
            raise ConfigError(f"'{key}' is not an argument; {did_you_mean(key, settings)}")
        settings[key] = value
    if settings["world"] not in WORLDS:
        raise ConfigError(f"world: '{settings['world']}' is not known; {did_you_mean(settings['world'], WORLDS)}")
    print(", ".join(f"{key} {value}" for key, value in settings.items()) + ": mean |p - true p|")
    print(f"{'recipe':32} {'corrected':>10} {'of plain':>9} {'uncorrected':>12}")
    plain = None
    for name, corrected, own in measured(settings):
        plain = corrected if plain is None else plain
        print(f"{name:32} {corrected:10.5f} {corrected / plain:8.2f}x {own:12.5f}", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        entry.leave(str(error))
