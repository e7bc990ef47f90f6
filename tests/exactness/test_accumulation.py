"""k micro-batches are one batch: the same gradients and, after an epoch with a short last window, the same weights.

In float64 and without dropout, whose masks depend on the cut. Every option of sampler, loss and augmentation is run by being listed, on
data that it is for.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recipes.data.stores import Store
from recipes.errors import ConfigError
from recipes.training.job import Job
from recipes.training.loop import fit

ROOT = Path(__file__).resolve().parents[2]
OFF = ["trainer.early_stopping.patience=null", "trainer.max_epochs=1", "trainer.progress=off", "model.dropout=0"]
SGD = ["optimizer=sgd", "optimizer.lr=0.5"]
# What a sampler is for; the others deal texts. Rows that are made have no words, so those that make them read numbers.
FOR = {"rose": "mixed", "smotenc": "embedded", "smoten": "words", "weighted": "weighted"} | dict.fromkeys(
    ("adasyn", "borderline_smote", "cluster_centroids", "kmeans_smote", "smote_enn", "smote_tomek", "svm_smote"), "numbers"
)
# First scores of an untrained network are noise, so plain training has to come first.
WITH = {"hard_negatives": ["reweight.start=1 steps"]}


def options(group: str) -> list[str]:
    return sorted(p.stem for p in (ROOT / "configs" / group).glob("*.yaml"))


def doubled(store: Store) -> None:
    for part in (getattr(store, "first", None), getattr(store, "second", None)):
        if part is not None:
            doubled(part)
    for name, tensor in store.tensors.items():
        if tensor.is_floating_point():
            store.tensors[name] = tensor.double()


def in_float64(job: Job) -> Job:
    """Every floating tensor that takes part, so that only the order of summation is left to differ."""
    job.model.double()
    job.loss.double()
    split = job.gather.train
    split.weights = split.weights.double()
    doubled(split.store)
    return job


def trained(job: Job) -> dict[str, torch.Tensor]:
    in_float64(job)
    job.val = None  # scoring is not what is compared
    fit(job)
    return {name: value.clone() for name, value in job.model.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def assert_exact(make_job, tmp_path: Path, *overrides: str, off: list[str] = OFF) -> Job:
    """One batch of 64 rows against four of 16; returns the job of the latter."""
    common = [*off, *SGD, *overrides]
    one = make_job(tmp_path / "one", *common, batch=(64, 1))
    four = make_job(tmp_path / "four", *common, batch=(16, 4))
    sizes = [len(w) for w in one.windows(0, skip=0)]
    assert len(sizes) > 1
    assert sizes[-1] % 16 != 0, "the last micro-batch must be short for this test to mean anything"
    assert one.steps_per_epoch == four.steps_per_epoch == len(sizes)
    start = {k: v.clone() for k, v in one.model.double().state_dict().items()}
    after = trained(one)
    assert any(not torch.equal(start[k], after[k]) for k in start), "training must move the weights"
    assert_same(after, trained(four))
    assert_same(one.loss.state_dict(), four.loss.state_dict())
    return four


@pytest.mark.parametrize("sampler", options("sampler"))
def test_every_sampler(make_job, data, tmp_path: Path, sampler: str) -> None:
    job = assert_exact(make_job, tmp_path, *data[FOR.get(sampler, "text")], f"sampler={sampler}", *WITH.get(sampler, []), "loss=focal")
    makes_rows = FOR.get(sampler, "text") in ("mixed", "embedded", "words", "numbers") or sampler == "smote"
    assert bool(job.gather.plan.synthetic.any()) is makes_rows


@pytest.mark.parametrize("sampler", ["smote", "smote_enn", "cluster_centroids", "ohem"])
def test_weighted_terms(make_job, data, tmp_path: Path, sampler: str) -> None:
    """Rows that are made of TF-IDF are bags of other lengths."""
    assert_exact(make_job, tmp_path, *data["tfidf"], f"sampler={sampler}", "loss=focal")


NOT_FOR = {
    "text": {"db", "ntr"},
    "tags": {"balanced_softmax", "cb_ce", "cdt", "cross_entropy", "gce", "hierarchical_softmax", "ldam", "lmf",
             "logit_adjusted", "negative_sampling", "poly1", "vs", "weighted_ce"},
}  # fmt: skip
# The model that a loss cannot do without; its step without autograd makes other updates of a window.
MODEL_FOR = {"hierarchical_softmax": ["model=fasttext", "trainer.fused=false"]}


@pytest.mark.parametrize("dealt", ["shuffle", "balanced"])
@pytest.mark.parametrize("form", NOT_FOR)
@pytest.mark.parametrize("loss", options("loss"))
def test_every_loss(make_job, data, tmp_path: Path, loss: str, form: str, dealt: str) -> None:
    """Mixtures of rows too, where there are any; of a loss that looks at a whole window, the window is what is compared."""
    model = MODEL_FOR.get(loss, [])
    if loss in NOT_FOR[form]:
        with pytest.raises(ConfigError, match="loss=hierarchical_softmax is one distribution" if model else "is for"):
            make_job(tmp_path, *data[form], f"loss={loss}", *model)
        return
    sampler = "shuffle" if dealt == "shuffle" else {"text": "smote", "tags": "balanced_batch"}[form]
    assert_exact(make_job, tmp_path, *data[form], f"sampler={sampler}", f"loss={loss}", *model,
                 off=[o for o in OFF if not (model and o.startswith("model."))])  # fmt: skip


AUGMENTED = {
    "gaussian_noise": ["mixed"],
    "manifold_mixup": ["text", "embedded", "tags"],
    "mixup": ["text", "numbers", "tfidf", "tags"],
    "remix": ["text"],
    "none": ["text"],
    **{words: ["text"] for words in ("eda", "random_deletion", "random_insertion", "random_swap", "synonym")},
}


@pytest.mark.parametrize(("augment", "form"), [(a, form) for a in options("augment") for form in AUGMENTED[a]])
def test_every_augmentation(make_job, data, lexicon: Path, tmp_path: Path, augment: str, form: str) -> None:
    """The whole window is augmented, however it is cut, also for one row of a class more than once."""
    words = [f"augment.lexicon={lexicon}"] if augment in ("eda", "random_insertion", "synonym") else []
    sampler = "shuffle" if form == "tags" else "class_balanced"
    job = assert_exact(make_job, tmp_path, *data[form], f"augment={augment}", *words, f"sampler={sampler}", "loss=focal")
    assert job.augment.changes is (augment != "none")


def test_augmented_bags(make_job, data, tmp_path: Path) -> None:
    off = [o for o in OFF if not o.startswith("model.")]
    overrides = ["model=fasttext", "model.word_ngrams=1", "augment=random_deletion", "augment.p=0.3"]
    assert_exact(make_job, tmp_path, *data["text"], *overrides, "loss=cross_entropy", off=off)


@pytest.mark.parametrize("model", ["fasttext", "mlp"])
@pytest.mark.parametrize("sampler", ["smote", "ohem"])
def test_other_models_and_another_cut(make_job, tmp_path: Path, model: str, sampler: str) -> None:
    off = [o for o in OFF if model == "mlp" or not o.startswith("model.")]
    common = [f"model={model}", f"sampler={sampler}", "loss=focal", *off, *SGD]
    one = trained(make_job(tmp_path / "a", *common, batch=(56, 1)))
    cut = trained(make_job(tmp_path / "b", *common, batch=(7, 8)))
    assert_same(one, cut)


MINED = {
    "a share": ["text", "mining=ohem", "sampler=balanced_batch"],
    "negatives beside positives": ["text", "mining=ohem", "mining.negatives_per_positive=1", "sampler=class_balanced"],
    "as a sampler": ["numbers", "sampler=ohem", "sampler.negatives_per_positive=1", "sampler.drop_top=0.1"],
    "labels": ["tags", "mining=ohem", "mining.negatives_per_positive=1"],
    "with weights": ["weighted", "mining=ohem", "mining.keep_ratio=0.5"],
    "made rows": ["embedded", "mining=ohem", "sampler=smotenc"],
    "edited": ["text", "mining=ohem", "augment=random_swap"],
}


@pytest.mark.parametrize("case", MINED)
def test_mining_ranks_over_the_whole_window(make_job, data, tmp_path: Path, case: str) -> None:
    form, *overrides = MINED[case]
    assert_exact(make_job, tmp_path, *data[form], *overrides, "loss=focal")


WEIGHED = {
    "class weights": ["loss=weighted_ce"],
    "class weights beside a sampler": ["loss=weighted_bce", "sampler=class_balanced"],
    "a loss of whole windows": ["loss=ghm"],
    "a loss of pairs": ["loss=pairwise_auc", "sampler=balanced_batch"],
    "dealt by weight": ["loss=cross_entropy", "sampler=weighted"],
    "mined": ["loss=focal", "sampler=ohem"],
}


@pytest.mark.parametrize("case", WEIGHED)
def test_sample_weights_count_over_the_whole_window(make_job, data, tmp_path: Path, case: str) -> None:
    """With weights that differ wildly between micro-batches, a mean of means would be far off."""
    job = assert_exact(make_job, tmp_path, *data["weighted"], *WEIGHED[case])
    assert job.weighted is (case != "dealt by weight")


def test_rows_that_are_dealt_by_weight_are_not_weighed_again(make_job, data, tmp_path: Path) -> None:
    """The gradient of a window is that of its plain mean."""
    job = in_float64(make_job(tmp_path, *data["weighted"], *OFF, "loss=cross_entropy", "sampler=weighted"))
    window = next(iter(job.windows(0, skip=0)))
    told = float(job.step([window], 0, 0))
    batch = job.gather.train.batch(window)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(job.model(batch), batch.targets)
    assert told == pytest.approx(float(expected), rel=1e-12)
    assert job.gather.train.weights[window].unique().numel() > 1


SHARP = {
    "plain": ["text", "loss=focal"],
    "adaptive": ["numbers", "loss=focal", "optimizer.sam_adaptive=true"],
    "a loss with statistics": ["text", "loss=ghm"],
    "mined": ["text", "loss=focal", "mining=ohem"],
    "mixed": ["text", "loss=focal", "augment=mixup"],
}


@pytest.mark.parametrize("case", SHARP)
def test_sharpness_aware(make_job, data, tmp_path: Path, case: str) -> None:
    form, *overrides = SHARP[case]
    job = assert_exact(make_job, tmp_path, *data[form], *overrides, "optimizer.sam_rho=0.05")
    assert job.sam_rho == 0.05


DEFERRED = {
    "weights": ["text", "loss=weighted_ce"],
    "adjustments": ["text", "loss=balanced_softmax"],
    "resampling": ["text", "loss=cross_entropy", "sampler=class_balanced"],
    "mixtures": ["text", "loss=focal", "sampler=smote"],
    "made rows": ["embedded", "loss=ldam", "sampler=smotenc"],
    "rows that were left out": ["numbers", "loss=cross_entropy", "sampler=random_under"],
}


@pytest.mark.parametrize("case", DEFERRED)
def test_rebalanced_from_inside_an_epoch_on(make_job, data, tmp_path: Path, case: str) -> None:
    form, *overrides = DEFERRED[case]
    job = assert_exact(make_job, tmp_path, *data[form], *overrides, "reweight.start=1 steps")
    assert job.starts_at == 1
    assert job.loss.active


REFUSED = {
    ("mining=ohem", "augment=mixup"): "mixtures are the hardest samples always",
    ("sampler=ohem", "augment=manifold_mixup"): "mixtures are the hardest samples always",
    ("mining=ohem", "loss=ghm"): "compares all samples of a batch",
    ("augment=mixup", "loss=pairwise_auc"): "compares samples by their label",
    ("augment=random_swap", "sampler=smote"): "mixtures of two rows",
    ("mining=ohem", "sampler=ohem"): "both select samples",
}


@pytest.mark.parametrize("together", REFUSED, ids=" ".join)
def test_what_has_no_meaning_together_is_refused(make_job, tmp_path: Path, together: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=REFUSED[together]):
        make_job(tmp_path, *together)
