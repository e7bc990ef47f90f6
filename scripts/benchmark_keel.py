"""One recipe over a folder of tabular data sets: mean test average precision, 5-fold.

    python scripts/benchmark_keel.py path=<folder of CSV files>              the recipe experiment=keel
    python scripts/benchmark_keel.py path=<folder> peers=true                and scikit-learn's MLP and random forest on the same rows
    python scripts/benchmark_keel.py path=<folder> loss=focal seed=1         any setting of train.py

Each file has its class in a column `label`. All jobs run in this process; a run directory lives as long as its job. `out=<file.csv>`
writes one line a data set and fold.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from recipes.cli import entry
from recipes.cli.compose import composed
from recipes.errors import ConfigError

FOLDS = 5
OWN = ("path", "peers", "out")
Scores = dict[tuple[str, int], dict[str, float]]  # (data set, fold) -> who -> average precision


def ours(config: dict[str, Any]) -> float:
    """Test average precision of one run, everything that `train.py` does included."""
    from recipes.cli.train import run
    from recipes.reporting import Console

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        run_dir = Path(folder)
        with Console(run_dir / "train.log", stream=nowhere) as console:
            run(config, run_dir, [], console)
        return float(json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))["test"]["pr_auc"])


def peers(config: dict[str, Any]) -> dict[str, float]:
    """scikit-learn with its default settings, on the same encoded rows; what we hold out for validation it may train on."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import average_precision_score
    from sklearn.neural_network import MLPClassifier

    from recipes.cli.assemble import read_data
    from recipes.cli.settings import read_settings

    data, _ = read_data(read_settings(config))
    assert data.test is not None
    parts = [data.train, *([data.val] if data.val is not None else [])]
    x = np.concatenate([part.space() for part in parts])
    y = np.concatenate([part.labels() for part in parts])
    found = {}
    for name, model in {"sklearn_mlp": MLPClassifier(random_state=0), "random_forest": RandomForestClassifier(random_state=0)}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the MLP's 200 epochs end before it converges
            model.fit(x, y)
        found[name] = float(average_precision_score(data.test.labels(), model.predict_proba(data.test.space())[:, 1]))
    return found


def table(scores: Scores) -> None:
    """A line a data set, the mean over its folds; the mean over data sets last."""
    names = list(next(iter(scores.values())))
    sets = list(dict.fromkeys(name for name, _ in scores))
    means = {name: [np.mean([by[who] for (n, _), by in scores.items() if n == name]) for who in names] for name in sets}
    width = max(map(len, sets))
    print(f"{'':{width}}  " + "  ".join(f"{who:>13}" for who in names))
    for name in sets:
        print(f"{name:{width}}  " + "  ".join(f"{value:13.3f}" for value in means[name]))
    print(f"{'mean':{width}}  " + "  ".join(f"{np.mean([row[i] for row in means.values()]):13.4f}" for i in range(len(names))))


def main() -> None:
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        return
    own = dict(a.split("=", 1) for a in sys.argv[1:] if a.partition("=")[0] in OWN)
    files = sorted(Path(own.get("path", "")).glob("*.csv")) if own.get("path") else []
    if not files:
        raise ConfigError(f"path={own.get('path', '')}: there are no CSV files; give the folder of the data sets, path=<folder>")
    given = [a for a in sys.argv[1:] if a.partition("=")[0] not in OWN]
    recipe = [] if any(a.startswith("experiment=") for a in given) else ["experiment=keel"]
    quick = ["logger=none", "trainer.progress=off", "trainer.threads=1", "trainer.device=cpu", "data.cache=off"]
    config = composed(*recipe, "data=file", "data.path=", "data.label=label", f"data.folds={FOLDS}", "data.fold=0", *quick, *given)
    scores: Scores = {}
    seconds = 0.0
    for file in files:
        for fold in range(FOLDS):
            config["data"] |= {"path": str(file), "fold": fold}
            started = time.perf_counter()
            scores[file.stem, fold] = {"recipes": ours(config)}
            seconds += time.perf_counter() - started
            if own.get("peers", "false") == "true":
                scores[file.stem, fold] |= peers(config)
    table(scores)
    print(f"{len(scores)} jobs of ours took {seconds:.0f} s")
    if "out" in own:
        with open(own["out"], "w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["set", "fold", *next(iter(scores.values()))])
            writer.writerows([name, fold, *by.values()] for (name, fold), by in scores.items())


if __name__ == "__main__":
    entry.run(main)
