"""Settings that are legal alone and not together: refused before the first step with the way out, adapted with a note, or warned of."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recipes.cli.assemble import assemble, read_data
from recipes.cli.settings import read_settings
from recipes.training.events import Listener
from recipes.training.job import Job

SHORT = ("trainer.max_steps=2", "trainer.progress=off", "trainer.device=cpu", "logger=none")
BEFORE_DATA = {
    "plateau": ("scheduler=plateau data.val_fraction=0", "scheduler=plateau follows a validation metric"),
    "a chosen threshold": (
        "threshold=f1 data.val_fraction=0",
        "threshold=f1: it is chosen on validation, and there is no validation split",
    ),
    "agc": ("trainer.clip=agc", "trainer.clip_value: 1 lets agc clip nothing"),
    "batch norm of one": ("model.norm=batch trainer.batch_size=1", "use model.norm=layer, or larger batches"),
    "scores and a fixed threshold": (
        "loss=pairwise_auc threshold=fixed calibration=prior",
        "loss and threshold: PairwiseAUC fits no probabilities, and threshold=fixed reads the logits as such; use calibration=platt",
    ),
    "scores and costs": ("loss=hinge threshold=cost calibration=none", "loss and threshold: Hinge fits no probabilities"),
    "scores monitored": ("loss=auc_margin monitor=val/log_loss", "use monitor=val/pr_auc, or loss=cross_entropy"),
    "scores that stop": (
        "loss=hinge trainer.early_stopping.monitor=val/ece",
        "trainer.early_stopping.monitor=val/ece measures them while it trains",
    ),
    "two that select": ("sampler=ohem mining=ohem", "sampler and mining both select samples; choose sampler=shuffle"),
    "mining and pairs": ("loss=pairwise_auc mining=ohem", "mining and loss: PairwiseAUC compares all samples of a batch"),
    "a mining sampler and pairs": ("loss=pairwise_auc sampler=ohem", "sampler and loss: PairwiseAUC compares all samples of a batch"),
    "mining and mixtures": ("augment=mixup mining=ohem", "mining and augment: mixtures are the hardest samples always"),
    "mining of nothing": ("mining=ohem mining.keep_ratio=0.005", "mining.keep_ratio: 0.005 of a batch of 128 is less than one sample"),
    "a sampler that keeps nothing": ("sampler=ohem sampler.keep_ratio=0.005", "sampler.keep_ratio: 0.005 of a batch of 128"),
    "mixtures and pairs": ("augment=mixup loss=pairwise_auc", "augment and loss: PairwiseAUC compares samples by their label"),
    "a start at the end": ("loss=weighted_ce reweight.start=100%", "reweight.start: 100% is the end of training"),
    "a start after the end": ("loss=weighted_ce 'reweight.start=2 steps'", "reweight.start: 2 steps is the end of training"),
    "sam and sparse gradients": (
        "model=fasttext model.sparse=true optimizer.sam_rho=0.05",
        "use model.sparse=false, or optimizer.sam_rho=null",
    ),
    "several at once": ("scheduler=plateau threshold=f1 data.val_fraction=0 mining=ohem augment=mixup", "has 3 problems:"),
}


@pytest.mark.parametrize("conflict", BEFORE_DATA)
def test_refused_before_data_is_read(train: Callable, conflict: str) -> None:
    typed, message = BEFORE_DATA[conflict]
    outcome = train("data=file", "data.path=nowhere.csv", "model=mlp", *SHORT, *shlex.split(typed))
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


REFUSED = {
    "edits and characters": (
        "texts",
        "model=fasttext model.word_ngrams=1 model.minn=2 model.maxn=3 augment=random_deletion",
        "set model.word_ngrams=1 model.maxn=0, or use augment=mixup",
    ),
    "explicit weights": ("table", "sampler=balanced_batch loss=weighted_ce loss.weights=[1,3]", "both together count twice; use automatic"),
    "an explicit pos_weight": ("table", "sampler=balanced_batch loss=weighted_bce loss.pos_weight=3", "or allow_double_correction=true"),
    "mixtures and row weights": ("weighted", "augment=mixup", "augment and data.weight: a mixture of two rows has no weight of its own"),
    "made rows and row weights": ("weighted", "sampler=smote", "sampler=smote: the data has a weight for each row (data.weight)"),
    "two mixtures": ("numbers", "sampler=smote augment=mixup", "augment and sampler: the sampler deals mixtures of two rows"),
    "few rows left": (
        "table",
        "sampler=random_under trainer.batch_size=64",
        "44 rows are left of 87, less than one batch of 64; use a smaller",
    ),
    "a deferred nothing": ("table", "reweight.start=80%", "there is nothing to defer; use loss=weighted_ce"),
    "a deferred selection": ("table", "reweight.start=80% sampler=ohem", "there is nothing to defer"),
    "a fixed threshold on balanced rows": (
        "table",
        "sampler=balanced_batch calibration=none threshold=fixed",
        "threshold=fixed reads probabilities, and calibration=none leaves those of what the sampler and the loss make of the classes; "
        "use calibration=prior",
    ),
    "costs under weights": ("table", "loss=weighted_ce calibration=none threshold=cost", "use calibration=prior or calibration=auto"),
    "a cut of several classes": (
        "texts",
        "threshold=f1",
        "one cut divides two sides, and this task has more classes; use threshold=offsets",
    ),
    "offsets of two classes": ("table", "threshold=offsets", "this task is binary; use threshold=f1"),
    "nothing to calibrate on": ("table", "calibration=platt data.val_fraction=0", "so there is nothing to fit; use calibration=prior"),
    "a focal inverse": ("table", "calibration=focal_inverse", "the loss here has no focal factor; use calibration=auto, or loss=focal"),
    "one number for several classes": ("texts", "loss=focal loss.alpha=0.25", "loss.alpha: 0.25 for 3 classes would only scale"),
    "one class a row": ("tags", "loss=ldam", "LDAM is for one class a row, and this task is multilabel; use loss=asl"),
    "made rows of token ids": ("texts", "model=textcnn sampler=adasyn", "names and not magnitudes; use sampler=smote"),
    "words of a table": ("table", "augment=eda", "this data is a table; choose augment=gaussian_noise"),
    "words of characters": ("texts", "model=textcnn augment=eda features.tokenizer=char", "set features.tokenizer=word"),
    "weights of no run": ("table", "init.train=head", "init.train: it is about the weights of a finished run, and init.run names none"),
}


@pytest.fixture(scope="module")
def kinds(text_csv: Path, table_csv: Path, tags_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What reads each kind of data, and a model for it."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    rare = rng.random(120) < 0.2
    lines = [
        f"{x:.3f},{1 + i % 3},{'rare' if r else 'usual'}" for i, (x, r) in enumerate(zip(rng.normal(size=120) + rare, rare, strict=True))
    ]
    (folder / "weighted.csv").write_text("\n".join(["x,w,label", *lines]) + "\n")
    own = {
        "table": [f"data.path={table_csv}"],
        "texts": [f"data.path={text_csv}"],
        "tags": [f"data.path={tags_csv}", "data.label=tags", "data.label_separator=';'", "loss=bce"],
        "numbers": [f"data.path={folder / 'weighted.csv'}"],
        "weighted": [f"data.path={folder / 'weighted.csv'}", "data.weight=w"],
    }
    return {kind: ["data=file", "model=mlp", *given] for kind, given in own.items()}


@pytest.mark.parametrize("conflict", REFUSED)
def test_refused_before_training(train: Callable, kinds: dict[str, list[str]], tmp_path: Path, conflict: str) -> None:
    kind, typed, message = REFUSED[conflict]
    outcome = train(*kinds[kind], *SHORT, *shlex.split(typed), "hydra.run.dir=run")
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err
    assert not (tmp_path / "run" / "checkpoints").exists(), "nothing was trained"


TOLD = {
    "ldam": ("table", "loss=ldam", "LDAM needs model.head=cosine: set"),
    "pairs": ("table", "loss=pairwise_auc", "batches are stratified: sampler=stratified_batch"),
    "automatic weights": (
        "table",
        "sampler=balanced_batch loss=weighted_bce",
        "those of what the sampler deals, so that nothing is balanced",
    ),
    "adjusted logits": ("texts", "sampler=class_balanced loss=balanced_softmax", "so that nothing is balanced twice"),
    "batch norm": ("table", "sampler=balanced_batch model.norm=batch", "batch norm's statistics are taken from rows as they are"),
    "batch norm as dealt": (
        "table",
        "sampler=balanced_batch model.norm=batch trainer.bn_recalibrate=false",
        "warning: trainer.bn_recalibrate=false: batch norm keeps the statistics of what the sampler deals",
    ),
    "categories": ("table", "sampler=smote data.features=[x,job]", "columns are categories, so rows are made by SMOTENC"),
    "few neighbours": ("texts", "sampler=smote sampler.k_neighbors=30", "too few for k_neighbors=30; k=21 is used"),
    "hard negatives of nothing": ("table", "sampler=hard_negatives", "warning: sampler=hard_negatives: an untrained network cannot tell"),
    "few positives": (
        "table",
        "threshold=f1",
        "warning: threshold=f1: the rarer side has 2 rows in validation, of threshold.min_positives=50",
    ),
    "small batches": (
        "texts",
        "sampler=balanced_batch trainer.batch_size=2",
        "warning: balanced_batch: a batch of 2 samples cannot hold all 3",
    ),
    "one against the rest": ("texts", "loss=bce", "warning: loss=bce takes each class against the rest"),
    "a weight that lowers": ("table", "loss=focal loss.alpha=0.25 loss.gamma=0", "weighs the positive class down; above 0.5 weighs it up"),
    "order of bags": ("texts", "model=fasttext model.word_ngrams=1 augment=random_swap", "so nothing changes; choose random_deletion"),
    "sparse gradients": ("texts", "model=fasttext model.sparse=true optimizer=adam", "optimizer: SparseAdam updates embedding"),
    "dense gradients": (
        "texts",
        "model=fasttext model.sparse=true optimizer=rmsprop",
        "warning: optimizer: RMSprop cannot use sparse gradients",
    ),
    "ranks": ("table", "loss=pairwise_auc threshold=fixed", "warning: calibration: the closed form is not exact (loss=pairwise_auc ranks"),
    "both, on purpose": (
        "table",
        "sampler=balanced_batch loss=weighted_ce loss.weights=[1,3] allow_double_correction=true",
        "moved by the recipe; the probabilities are put back in closed form",
    ),
}


@pytest.mark.parametrize("change", TOLD)
def test_adapted_or_warned_of(train: Callable, kinds: dict[str, list[str]], change: str) -> None:
    kind, typed, message = TOLD[change]
    outcome = train(*kinds[kind], *SHORT, *shlex.split(typed))
    told = " ".join(outcome.out.split())
    assert (outcome.code, message in told) == (0, True), outcome.err + told


QUIET = {
    "a fixed threshold on natural probabilities": "calibration=none threshold=fixed",
    "a cut that is chosen on what there is": "sampler=balanced_batch calibration=none threshold=f1",
    "weights of one": "sampler=balanced_batch loss=weighted_bce loss.pos_weight=1",
    "pairs by class": "mining=ohem mining.negatives_per_positive=3 mining.keep_ratio=0.001",
    "fewer rows than a batch from the start": "sampler=random_under",
    "negatives from the middle on": "sampler=hard_negatives reweight.start=50%",
}


@pytest.mark.parametrize("legal", QUIET)
def test_what_only_looks_like_a_conflict(train: Callable, kinds: dict[str, list[str]], legal: str) -> None:
    outcome = train(*kinds["table"], *SHORT, *shlex.split(QUIET[legal]))
    assert (outcome.code, "warning: sampler" in outcome.out) == (0, False), outcome.err + outcome.out


@pytest.fixture
def job(compose: Callable, tmp_path: Path) -> Callable[..., Job]:
    def assembled(*typed: str) -> Job:
        settings = read_settings(compose("model=mlp", *typed, *SHORT))
        return assemble(settings, read_data(settings)[0], tmp_path, Listener())

    return assembled


def test_balanced_batches_and_automatic_weights_count_once(job: Callable[..., Job]) -> None:
    both = job("data=breast_cancer", "sampler=balanced_batch", "loss=weighted_bce")
    np.testing.assert_allclose(both.ledger.weights_C, 1, atol=1e-12)
    np.testing.assert_allclose(both.ledger.effective_C, 0.5, atol=0.01)
    weighted = job("data=breast_cancer", "loss=weighted_bce")
    np.testing.assert_allclose(weighted.ledger.effective_C, 0.5, atol=1e-9)


def test_a_rare_class_that_is_dealt_four_times_as_often_is_moved(train: Callable, tmp_path: Path) -> None:
    """By shares of all rows it moves by less than a hundredth."""
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.4f},{'rare' if i % 500 == 0 else 'usual'}" for i in range(10_000)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,label", *lines]) + "\n")
    given = ("data=file", "data.path=rows.csv", "model=mlp", "sampler=repeat_factor", "loss=weighted_ce", "loss.weights=[1,3]", *SHORT)
    outcome = train(*given)
    assert (outcome.code, "both together count twice" in outcome.err) == (2, True), outcome.err


def table(path: Path, counts: dict[str, int]) -> list[str]:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.4f},{name}" for name, count in counts.items() for _ in range(count)]
    path.write_text("\n".join(["x,label", *rows]) + "\n")
    return ["data=file", f"data.path={path}", "data.label=label", "data.duplicates=keep", "data.val_fraction=0.1", "data.test_fraction=0"]


@pytest.mark.parametrize(
    ("counts", "typed", "told"),
    [
        ({"b": 900, "p": 100}, ["threshold=f1"], ["validation has 10 rows of the rarer side, so threshold=f1 will change no decision"]),
        ({"b": 900, "p": 100}, ["threshold=f1", "threshold.min_positives=10"], []),
        ({"b": 900, "p": 100}, ["threshold=cost"], []),
        ({"b": 900, "p": 100}, ["threshold=none"], []),
        (
            {"b": 700, "m": 600, "p": 100},
            ["threshold=offsets"],
            ["1 of 3 classes have too few rows in validation for a choice of their own by threshold=offsets: p"],
        ),
        ({"b": 700, "m": 600, "p": 100}, ["threshold=offsets", "threshold.min_positives=0"], []),
    ],
)
def test_too_few_rows_for_a_threshold_are_told_before_training(
    job: Callable[..., Job], tmp_path: Path, counts: dict[str, int], typed: list[str], told: list[str]
) -> None:
    found = [note for note in job(*table(tmp_path / "few.csv", counts), *typed).notes if note.startswith("warning: ")]
    advice = "; give validation more rows, or lower threshold.min_positives=50"
    assert found == [f"warning: {text}{advice}" for text in told]


def test_labels_have_rarer_sides_of_their_own(job: Callable[..., Job], tmp_path: Path) -> None:
    """Of 100 validation rows, about 97 have label a, 50 label b and 3 label c."""
    rng = np.random.default_rng(0)
    rows = [
        f"{rng.normal():.4f},{';'.join(n for n, s in zip('abc', (0.97, 0.5, 0.03), strict=True) if rng.random() < s)}" for _ in range(1000)
    ]
    (tmp_path / "tags.csv").write_text("\n".join(["x,tags", *rows]) + "\n")
    given = ["data=file", f"data.path={tmp_path / 'tags.csv'}", "data.label=tags", "data.label_separator=';'", "loss=bce"]
    own = job(*given, "threshold=per_label", "threshold.min_positives=20").notes
    assert any("2 of 3 labels have too few rows in validation for a choice of their own by threshold=per_label: a, c" in n for n in own)
    assert not any("too few" in note or "rarer side" in note for note in job(*given, "threshold=f1", "threshold.min_positives=20").notes)
