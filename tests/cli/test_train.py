"""The command from end to end: what a run leaves behind, what it returns, and what it does not import."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from omegaconf import OmegaConf
from safetensors import safe_open

from recipes.cli import entry
from recipes.errors import ConfigError
from recipes.training.scoring import score

SMALL = ["model=textcnn", "loss=focal", "model.dim=8", "model.maps=4", "trainer.max_epochs=2", "trainer.eval_every=1 epochs",
         "trainer.device=cpu"]  # fmt: skip


def test_the_first_command_leaves_everything_readable(python: Callable, text_csv: Path, tmp_path: Path) -> None:
    done = python("train.py", *SMALL, "data=file", f"data.path={text_csv}", "hydra.run.dir=run", "logger=tensorboard", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "run"
    names = {p.name for p in run.iterdir()}
    files = {"train.log", "metrics.jsonl", "metrics.json", "status.json"}
    assert names >= files | {".hydra", "tensorboard", "checkpoints", "model", "predictions"}
    assert OmegaConf.load(run / ".hydra" / "config.yaml").loss.gamma == 2.0
    assert "loss=focal" in list(OmegaConf.load(run / ".hydra" / "overrides.yaml"))
    assert json.loads((run / "status.json").read_text()) == {"status": "finished"}
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"f1_macro", "pr_auc", "loss", "mcc"} <= metrics["test"].keys()
    assert metrics["best"]["val/f1_macro"] == metrics["monitored"] == metrics["val"]["f1_macro"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["train", "val", "train", "val"]
    for name in ("last.pt", "best.pt"):
        assert torch.load(run / "checkpoints" / name, weights_only=True)["format"] == 3
    for split in ("val", "test"):
        scores = pl.read_parquet(run / "predictions" / f"{split}.parquet")
        assert scores.columns == ["row", "label", "prediction", "p_common", "p_middle", "p_rare"]
        assert scores.select(pl.sum_horizontal(pl.selectors.starts_with("p_"))).to_series().to_list() == pytest.approx([1] * len(scores))
    log = (run / "train.log").read_text()
    for told in ("texts.csv", "TextCNN", "val/f1_macro", "python scripts/predict.py run=", "tensorboard --logdir"):
        assert told in log
        assert told in done.stdout
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert "val/f1_macro" in events.Tags()["scalars"]


FOLDER = ("model.safetensors", "encoder.safetensors", "conformal.safetensors")


def test_the_bundle_holds_no_pickle(text_run: Path) -> None:
    assert {p.name for p in (text_run / "model").iterdir()} == {"bundle.json", *FOLDER}
    assert json.loads((text_run / "model" / "bundle.json").read_text())["facts"]["class_names"] == ["common", "middle", "rare"]
    for name in FOLDER:
        with safe_open(text_run / "model" / name, "pt") as file:
            assert list(file.keys())


def test_the_monitored_value_is_returned(train_here: Callable, text_csv: Path, tmp_path: Path) -> None:
    data = ["data=file", f"data.path={text_csv}", "trainer.progress=off"]
    value = train_here(tmp_path / "run", *SMALL, *data, "monitor=val/loss")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert value == min(line["loss"] for line in lines if line["split"] == "val")
    assert math.isnan(train_here(tmp_path / "unscored", *SMALL, *data, "data.val_fraction=0"))


def test_the_test_split_is_scored_once_and_last(
    train_here: Callable, text_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []

    def counting(model, split, *rest):  # type: ignore[no-untyped-def]
        scored.append(split.name)
        return score(model, split, *rest)

    monkeypatch.setattr("recipes.training.loop.score", counting)
    monkeypatch.setattr("recipes.cli.conclude.score", counting)
    train_here(tmp_path / "run", *SMALL, "data=file", f"data.path={text_csv}", "trainer.progress=off")
    assert scored == ["val", "val", "val", "test"]


@pytest.mark.parametrize("flag", [["--help"], ["--cfg", "job"], ["--cfg", "job", "model=mlp"]])
def test_help_and_cfg_import_no_torch(python: Callable, tmp_path: Path, flag: list[str]) -> None:
    probe = (
        "import runpy, sys\n"
        "try:\n    runpy.run_path(sys.argv[1], run_name='__main__')\nexcept SystemExit as leaving:\n    assert not leaving.code\n"
        "heavy = {'torch', 'polars', 'sklearn', 'scipy', 'matplotlib', 'rich', 'numpy'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    code = probe.replace("sys.argv[1]", "sys.argv.pop(1)")
    done = python("-c", code, "train.py", *flag, cwd=tmp_path)
    assert done.stderr.strip() == "heavy: []"
    assert "early_stopping:" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_two_runs_of_one_second_get_two_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = str(tmp_path / "outputs" / "10-00-00")
    given = []
    for _ in range(3):  # three processes
        monkeypatch.setattr(entry, "_claimed", {})
        given.append(entry.unused_dir(wanted))
        assert entry.unused_dir(wanted) == given[-1]
    assert given == [wanted, f"{wanted}-2", f"{wanted}-3"]
    assert all(Path(path).is_dir() for path in given)


LOSS = '''
from recipes.losses import CrossEntropy

class Doubled(CrossEntropy):
    """Twice the cross-entropy."""

    def __init__(self, task, *, factor: float = 2.0) -> None:
        super().__init__(task)
        self.factor = factor

    def forward(self, logits_BC, targets):
        return self.factor * super().forward(logits_BC, targets)
'''


def test_a_loss_of_ones_own_needs_trust(train: Callable, text_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").write_text(LOSS)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ["loss._target_=mypkg.Doubled", "~loss.label_smoothing", "data=file", f"data.path={text_csv}", "trainer.progress=off"]
    own += [o for o in SMALL if not o.startswith("loss")]
    refused = train(*own, "hydra.run.dir=refused")
    assert refused.code == 2
    assert "if you trust it, add `trust=[mypkg]`" in refused.err
    wrong = train(*own, "trust=[mypkg]", "+loss.factr=3.0", "hydra.run.dir=wrong")
    assert "loss.factr: unknown setting of Doubled; did you mean 'factor'?" in wrong.err
    taken = train(*own, "trust=[mypkg]", "+loss.factor=3.0", "hydra.run.dir=taken")
    assert (taken.code, taken.err) == (0, "")
    scores = json.loads((tmp_path / "taken" / "metrics.json").read_text())["val"]
    assert scores["loss"] == pytest.approx(3 * scores["log_loss"], rel=1e-5)


MODEL = '''
import torch
from recipes.models import Model

class Linear(Model):
    """One linear layer on dense features."""

    representation = "dense"

    def __init__(self, num_classes, num_features, *, bias: bool = True) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(num_features, num_classes, bias=bias)

    def embed(self, batch):
        return batch.features_BF

    def classify(self, hidden, batch):
        return self.layer(hidden)
'''


def test_a_model_of_ones_own_trains_and_predicts(train: Callable, table_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipes.inference import Predictor

    (tmp_path / "ownmodel").mkdir()
    (tmp_path / "ownmodel" / "__init__.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tmp_path / "own"
    (config / "model").mkdir(parents=True)
    (config / "model" / "linear.yaml").write_text("_target_: ownmodel.Linear\nbias: false\n")
    done = train("model=linear", "trust=[ownmodel]", "data=file", f"data.path={table_csv}", "trainer.max_epochs=1", "trainer.device=cpu",
                 "trainer.progress=off", f"hydra.searchpath=[file://{config}]", "hydra.run.dir=run")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    rows = pl.read_csv(table_csv).head(5)
    assert Predictor.load(tmp_path / "run", trust=["ownmodel"]).predict_proba(rows).shape == (5, 2)
    with pytest.raises(ConfigError, match="belongs to the package 'ownmodel'"):
        Predictor.load(tmp_path / "run")
