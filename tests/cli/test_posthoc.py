"""`posthoc`: what changes, what stays, what is refused, and that the saved model gives the numbers that were shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from finished_runs import Command, finish, in_process, write_table
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

import recipes
from recipes.cli.posthoc import logit_adjusted
from recipes.errors import ConfigError

SHORT = ("trainer.progress=off", "trainer.device=cpu", "logger=none")
TABLE = ("data=file", "model=mlp", "model.widths=[8]", "trainer.max_epochs=12", "trainer.batch_size=64", "optimizer.lr=0.01", *SHORT)
TEXT = ("data=file", "trainer.max_epochs=6", "optimizer.lr=0.01", "trainer.batch_size=32", *SHORT)
RUNS: dict[str, tuple[str, ...]] = {
    "table": TABLE,
    "balanced": (*TABLE, "recipe=class_balanced"),
    "uncorrected": (*TABLE, "recipe=class_balanced", "calibration=none"),
    "adjusted": (*TABLE, "recipe=balanced_softmax"),
    "ldam": (*TABLE, "recipe=ldam_drw"),
    "no validation": (*TABLE, "data.val_fraction=0"),
    "binary": (*TABLE, "threshold=f1", "threshold.min_positives=3"),
    "textcnn": (*TEXT, "model=textcnn", "model.dim=8", "model.maps=4"),
    "fasttext": (*TEXT, "model=fasttext", "model.dim=8"),
    "tfidf": (*TEXT, "model=mlp", "model.widths=[]"),
    "tags": (*TEXT, "model=textcnn", "model.dim=8", "model.maps=4", "loss=bce", "data.label=tags", "data.label_separator=';'"),
}


@pytest.fixture(scope="module")
def runs(
    train_here: Callable, compose: Callable, text_csv: Path, tags_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A finished run of each kind, trained when it is asked for first."""
    folder = tmp_path_factory.mktemp("runs")
    several = write_table(folder / "several.csv", 1500, [0.75, 0.2, 0.05])
    data = {"binary": write_table(folder / "binary.csv", 800, [0.9, 0.1]), "tags": tags_csv}
    data |= dict.fromkeys(("textcnn", "fasttext", "tfidf"), text_csv)

    def run(kind: str) -> Path:
        run_dir = folder / kind
        return run_dir if run_dir.exists() else finish(train_here, compose, run_dir, *RUNS[kind], f"data.path={data.get(kind, several)}")

    return run


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`command("posthoc", "run=...", ...)` in an empty directory: (exit code, what was printed)."""
    return in_process(tmp_path, monkeypatch, capfd)


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def scored(model: Path, run: Path, source: Path) -> tuple[np.ndarray, list, np.ndarray]:
    """Labels, decisions and probabilities of the test rows by what `recipes.load` opens."""
    rows = pl.read_parquet(run / "predictions" / "test.parquet")
    frame = pl.read_csv(source)[rows["row"].to_list()]
    predictor = recipes.load(model)
    return rows["label"].to_numpy(), predictor.predict(frame), softmax(np.log(predictor.predict_proba(frame).astype(np.float64)), axis=1)


WORKS = {
    "table": ("logit_adjust", "tau_norm", "ncm"),
    "balanced": ("logit_adjust", "tau_norm"),
    "binary": ("logit_adjust", "tau_norm", "ncm"),
    "textcnn": ("logit_adjust", "tau_norm", "ncm"),
    "fasttext": ("tau_norm", "ncm"),
    "tfidf": ("logit_adjust", "tau_norm"),
    "ldam": ("ncm",),
    "tags": ("tau_norm",),
}


@pytest.mark.parametrize(("kind", "method"), [(kind, method) for kind, methods in WORKS.items() for method in methods])
def test_the_saved_model_gives_what_was_shown(command: Command, runs: Callable[[str], Path], kind: str, method: str) -> None:
    run = runs(kind)
    code, told = command("posthoc", f"run={run}", f"method={method}", "device=cpu")
    assert code == 0, told
    found = metrics(run / "posthoc" / method)
    original = metrics(run)
    for split in ("val", "test"):
        known = {name: value for name, value in original[split].items() if name != "loss"}
        assert found["before"][split] == pytest.approx(known, abs=1e-6, nan_ok=True)
        assert f"{found[split]['f1_macro']:.4f}" in told
    if found["tau"] is not None:
        assert found["val"]["f1_macro"] >= found["before"]["val"]["f1_macro"] or kind == "binary"
    if kind != "tags":
        source = Path(next(o for o in (run / ".hydra" / "overrides.yaml").read_text().splitlines() if "data.path" in o).partition("=")[2])
        labels, decided, proba = scored(run / "posthoc" / method, run, source)
        assert found["test"]["f1_macro"] == pytest.approx(f1_score(labels, decided, average="macro"), abs=1e-9)
        assert found["test"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, decided), abs=1e-9)
        assert found["test"]["log_loss"] == pytest.approx(log_loss(labels, proba), rel=1e-4)


@pytest.mark.parametrize("kind", ["table", "balanced", "adjusted", "binary", "tfidf", "tags"])
@pytest.mark.parametrize("method", ["tau_norm", "logit_adjust"])
def test_tau_of_zero_is_the_run_as_it_is(command: Command, runs: Callable[[str], Path], tmp_path: Path, kind: str, method: str) -> None:
    if method == "logit_adjust" and kind in ("adjusted", "tags"):
        return
    run = runs(kind)
    code, told = command("posthoc", f"run={run}", f"method={method}", "tau=0", "device=cpu", f"output={tmp_path / 'same'}")
    assert code == 0, told
    found = metrics(tmp_path / "same")
    assert found["val"] == found["before"]["val"]
    assert found["test"] == found["before"]["test"]
    assert (tmp_path / "same" / "model" / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()


def test_logit_adjustment_of_known_logits() -> None:
    logits = np.array([[2, 0.5, -1], [0.1, 0.2, 0.3], [-1, 3, 0], [0, 0, 0]])
    shares = np.array([1000, 100, 10]) / 1110
    assert logit_adjusted(shares, 1.0).decide(logits, logits, "multiclass").tolist() == [2, 2, 1, 2]
    assert logit_adjusted(shares, 0.0).decide(logits, logits, "multiclass").tolist() == [0, 2, 1, 0]


def test_logit_adjustment_does_not_give_every_row_to_a_class_without_train_rows() -> None:
    logits = np.array([[2.0, 1.5, -9.0], [4.0, 0.0, -9.0]])
    rule = logit_adjusted(np.array([0.7, 0.3, 0.0]), 1.0)
    assert rule.decide(logits, logits, "multiclass").tolist() == [1, 0]
    assert rule.offsets_C is not None
    assert rule.offsets_C[1] == rule.offsets_C[2]


def test_logit_adjustment_by_hand(command: Command, runs: Callable[[str], Path], tmp_path: Path) -> None:
    run = runs("table")
    assert command("posthoc", f"run={run}", "method=logit_adjust", "tau=1.0", "device=cpu", f"output={tmp_path / 'one'}")[0] == 0
    before, after = recipes.load(run), recipes.load(tmp_path / "one")
    frame = pl.DataFrame({"x": np.linspace(-2, 4, 200), "y": np.zeros(200)})
    np.testing.assert_array_equal(before.predict_proba(frame), after.predict_proba(frame))
    log_pi = np.log(before.readout.ledger.natural_C)
    expected = (log_softmax(before.readout.logits(before.score(frame)), axis=1) - log_pi).argmax(axis=1)
    assert after.predict(frame) == [before.classes[c] for c in expected]
    assert "logit_adjust: offsets" in after.readout.describe()


def test_logit_adjustment_of_a_balanced_run_does_not_count_twice(command: Command, runs: Callable[[str], Path], tmp_path: Path) -> None:
    """Its probabilities are natural again, so tau of one gives the decisions that the network itself makes."""
    run = runs("balanced")
    assert command("posthoc", f"run={run}", "method=logit_adjust", "tau=1", "device=cpu", f"output={tmp_path / 'one'}")[0] == 0
    frame = pl.DataFrame(np.random.default_rng(0).normal(1, 2, size=(300, 2)), schema=["x", "y"])
    given = [a == b for a, b in zip(recipes.load(run).predict(frame), recipes.load(tmp_path / "one").predict(frame), strict=True)]
    assert np.mean(given) > 0.98  # the sampler's shares are counted, and nearly even


REFUSED = {
    "two adjustments": ("adjusted", "method=logit_adjust", "to adjust them again counts twice"),
    "an uncorrected sampler": ("uncorrected", "method=logit_adjust", "so to adjust them counts twice; train with calibration=auto"),
    "several labels adjusted": ("tags", "method=logit_adjust", "this task is multilabel; train with threshold=per_label"),
    "means of several labels": ("tags", "method=ncm", "this task is multilabel; use method=tau_norm"),
    "norms of cosines": ("ldam", "method=tau_norm", "a cosine head divides by them; use a model with head=linear"),
    "means of words": ("tfidf", "method=ncm", "give one, as in model.widths=[64]"),
    "no validation": ("no validation", "method=tau_norm", "this run has no validation split; give a number, such as tau=1.0"),
    "a method": ("table", "method=tau_nrm", "method: 'tau_nrm' is not known; did you mean 'tau_norm'?"),
    "a word for tau": ("table", "method=tau_norm tau=much", "tau: expected a number of at least 0, or auto, got 'much'"),
    "a negative tau": ("table", "method=tau_norm tau=-1", "tau: expected a number of at least 0, or auto, got '-1'"),
    "a tau that is not read": ("table", "method=ncm tau=1", "tau: method=ncm has no tau"),
    "an objective that is not read": ("table", "method=tau_norm tau=1 objective=pr_auc", "objective: tau is given, so nothing is chosen"),
    "an objective": (
        "table",
        "method=tau_norm objective=f1",
        "objective: 'f1' is not one to choose tau by; allowed: f1_macro, balanced_accuracy, pr_auc",
    ),
    "an argument": ("table", "method=tau_norm tua=1", "'tua' is not an argument; did you mean 'tau'?"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_refused(command: Command, runs: Callable[[str], Path], tmp_path: Path, mistake: str) -> None:
    kind, typed, message = REFUSED[mistake]
    code, told = command("posthoc", f"run={runs(kind)}", *typed.split(), "device=cpu", f"output={tmp_path / 'new'}")
    assert (code, message in told) == (2, True), told
    assert not (tmp_path / "new").exists()


def test_other_data_is_refused(command: Command, runs: Callable[[str], Path], tmp_path: Path) -> None:
    run = runs("no validation")
    config = run / ".hydra" / "config.yaml"
    old, other = config.read_text(), write_table(tmp_path / "other.csv", 900, [0.75, 0.2, 0.05], seed=9)
    path = next(line for line in old.splitlines() if line.startswith("  path:"))
    config.write_text(old.replace(path, f"  path: {other}"))
    try:
        code, told = command("posthoc", f"run={run}", "method=ncm", "device=cpu")
    finally:
        config.write_text(old)
    assert (code, "was trained on other features" in told) == (2, True), told


@pytest.mark.parametrize(
    ("kind", "method"), [("table", "crt"), ("table", "lws"), ("ldam", "crt"), ("textcnn", "lws"), ("tfidf", "crt"), ("tags", "crt")]
)
def test_heads_that_are_trained(command: Command, runs: Callable[[str], Path], tmp_path: Path, kind: str, method: str) -> None:
    """The encoder stays, bit by bit; a head of cosines stays one; the learned scales travel as a plain head."""
    run = runs(kind)
    code, told = command("posthoc", f"run={run}", f"method={method}", "trainer.max_epochs=4", "hydra.run.dir=new")
    assert code == 0, told
    before, after = recipes.load(run).model.state_dict(), recipes.load(tmp_path / "new").model.state_dict()
    assert before.keys() == after.keys()
    heads = [name for name in before if name.startswith("head.")]
    assert all(np.array_equal(before[name].numpy(), after[name].numpy()) for name in before if name not in heads)
    assert kind != "ldam" or heads == ["head.weight"]
    if (kind, method) == ("table", "crt"):
        assert not np.array_equal(before["head.weight"].numpy(), after["head.weight"].numpy())
        assert metrics(tmp_path / "new")["test"]["balanced_accuracy"] > metrics(run)["test"]["balanced_accuracy"]
    if method == "lws":  # each row of the head is a multiple of what it was, and the start competed
        ratio = after["head.weight"].numpy() / before["head.weight"].numpy()
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-4)
        assert metrics(tmp_path / "new")["monitored"] >= metrics(run)["monitored"]


def test_a_tree_goes_on_only_over_the_class_counts_that_made_it(train_here: Callable, tmp_path: Path) -> None:
    """Other labels on the same texts leave the features as they are, and make another tree."""
    for name, rare in (("one", 4), ("other", 5)):
        rows = [f"alpha {'beta' if i % 2 else 'gamma'},{'rare' if i % rare == 0 else 'ab'[i % 2]}" for i in range(60)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    typed = ["data=file", "data.val_fraction=0", "data.test_fraction=0", "data.duplicates=keep", "model=fasttext", "model.dim=4",
             "loss=hierarchical_softmax", "trainer.max_steps=2", *SHORT]  # fmt: skip
    train_here(tmp_path / "run", *typed, f"data.path={tmp_path / 'one.csv'}")
    train_here(tmp_path / "again", *typed, f"data.path={tmp_path / 'one.csv'}", f"init.run={tmp_path / 'run'}")
    with pytest.raises(ConfigError, match="has a tree of other class counts"):
        train_here(tmp_path / "new", *typed, f"data.path={tmp_path / 'other.csv'}", f"init.run={tmp_path / 'run'}")


def test_tau_normalisation_by_hand(command: Command, runs: Callable[[str], Path], tmp_path: Path) -> None:
    run = runs("table")
    assert command("posthoc", f"run={run}", "method=tau_norm", "tau=0.7", "device=cpu", f"output={tmp_path / 'new'}")[0] == 0
    before, after = recipes.load(run), recipes.load(tmp_path / "new")
    weight = before.model.head.weight.detach().numpy()
    expected = weight / np.linalg.norm(weight, axis=1, keepdims=True) ** 0.7
    np.testing.assert_allclose(after.model.head.weight.detach().numpy(), expected, rtol=1e-5)
    frame = pl.DataFrame({"x": [0.5, 2.0], "y": [0.0, 1.0]})
    np.testing.assert_allclose(after.predict_proba(frame), softmax(after.readout.logits(after.score(frame)), axis=1), rtol=1e-5)
