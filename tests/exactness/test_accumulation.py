"""k micro-batches are one batch: the same gradients and, after an epoch with a short last window, the same weights.

In float64 and without dropout, whose masks depend on the cut. Every option of sampler and loss is run by being listed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.training.job import Job
from recipes.training.loop import fit

ROOT = Path(__file__).resolve().parents[2]
OFF = ["trainer.early_stopping.patience=null", "trainer.max_epochs=1", "trainer.progress=off", "model.dropout=0"]
SGD = ["optimizer=sgd", "optimizer.lr=0.5"]


def options(group: str) -> list[str]:
    return sorted(p.stem for p in (ROOT / "configs" / group).glob("*.yaml"))


def in_float64(job: Job) -> Job:
    """Every floating tensor that takes part, so that only the order of summation is left to differ."""
    job.model.double()
    job.loss.double()
    split = job.gather.train
    split.weights = split.weights.double()
    for name, tensor in split.store.tensors.items():
        if tensor.is_floating_point():
            split.store.tensors[name] = tensor.double()
    return job


def trained(job: Job) -> dict[str, torch.Tensor]:
    in_float64(job)
    job.val = None  # scoring is not what is compared
    fit(job)
    return {name: value.clone() for name, value in job.model.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("loss", options("loss"))
@pytest.mark.parametrize("sampler", options("sampler"))
def test_four_micro_batches_equal_one_batch(make_job, tmp_path: Path, sampler: str, loss: str) -> None:
    common = [f"sampler={sampler}", f"loss={loss}", *OFF, *SGD]
    one = make_job(tmp_path / "one", *common, "trainer.batch_size=64", "trainer.accumulate=1")
    four = make_job(tmp_path / "four", *common, "trainer.batch_size=16", "trainer.accumulate=4")
    sizes = [len(w) for w in one.windows(0, skip=0)]
    assert sizes[-1] % 16 != 0 or sizes[-1] != 64, "the last window must be short for this test to mean anything"
    assert one.steps_per_epoch == four.steps_per_epoch == len(sizes)
    start = {k: v.clone() for k, v in one.model.double().state_dict().items()}
    after = trained(one)
    assert any(not torch.equal(start[k], after[k]) for k in start), "training must move the weights"
    assert_same(after, trained(four))


@pytest.mark.parametrize("model", ["fasttext", "mlp"])
@pytest.mark.parametrize("sampler", ["smote", "ohem"])
def test_other_models(make_job, tmp_path: Path, model: str, sampler: str) -> None:
    off = [o for o in OFF if model == "mlp" or not o.startswith("model.")]
    common = [f"model={model}", f"sampler={sampler}", "loss=focal", *off, *SGD]
    one = trained(make_job(tmp_path / "a", *common, "trainer.batch_size=56", "trainer.accumulate=1"))
    cut = trained(make_job(tmp_path / "b", *common, "trainer.batch_size=7", "trainer.accumulate=8"))
    assert_same(one, cut)


def test_sample_weights_count_over_the_whole_window(make_job, tmp_path: Path) -> None:
    """With weights that differ wildly between micro-batches, a mean of means would be far off."""
    rng = np.random.default_rng(0)
    lines = ["x,y,w,label"] + [
        f"{a:.4f},{b:.4f},{10.0 ** rng.integers(-3, 3)},{'p' if a + b > 1 else 'n'}" for a, b in rng.normal(size=(90, 2))
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines))
    common = ["data=file", f"data.path={path}", "data.label=label", "data.weight=w", "model=mlp", "loss=weighted_bce", *OFF, *SGD]
    one = trained(make_job(tmp_path / "one", *common, "trainer.batch_size=40"))
    cut = trained(make_job(tmp_path / "cut", *common, "trainer.batch_size=10", "trainer.accumulate=4"))
    assert_same(one, cut)


def test_multilabel(make_job, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["red", "green", "blue"]
    lines = ["text,tags"]
    for i in range(120):
        tags = [n for n in names if rng.random() < 0.4]
        lines.append(f"word{i} {' '.join(tags)} more,{';'.join(tags)}")
    path = tmp_path / "tags.csv"
    path.write_text("\n".join(lines))
    common = ["data=file", f"data.path={path}", "data.text=text", "data.label=tags", "data.label_separator=';'", "sampler=ohem", *OFF, *SGD]
    for loss in ("bce", "weighted_bce", "focal"):
        one = trained(make_job(tmp_path / f"{loss}1", *common, f"loss={loss}", "trainer.batch_size=32"))
        cut = trained(make_job(tmp_path / f"{loss}2", *common, f"loss={loss}", "trainer.batch_size=8", "trainer.accumulate=4"))
        assert_same(one, cut)
