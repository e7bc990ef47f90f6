"""On a CUDA device: every precision trains, nothing in a step waits for the device, and what went wrong is named exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.cli.assemble import assemble, read_data
from recipes.cli.settings import read_settings
from recipes.errors import NonFiniteError
from recipes.inference import Predictor
from recipes.training import checkpoint, loop
from recipes.training.events import Listener
from recipes.training.job import Job

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture
def make_job(compose: Callable[..., dict[str, Any]], text_csv: Path, tmp_path: Path) -> Callable[..., Job]:
    def make(*overrides: str) -> Job:
        base = [
            "data=file",
            f"data.path={text_csv}",
            "data.text=text",
            "trainer.device=cuda",
            "trainer.batch_size=32",
            "trainer.max_epochs=4",
        ]
        settings = read_settings(compose(*base, *overrides))
        data, _ = read_data(settings)
        return assemble(settings, data, tmp_path / "run", Listener())

    return make


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("model", ["textcnn", "fasttext", "mlp"])
def test_every_precision_learns(make_job: Callable[..., Job], model: str, precision: str) -> None:
    job = make_job(f"model={model}", "loss=focal", f"trainer.precision={precision}", "trainer.max_epochs=10", "optimizer.lr=0.01")
    loop.fit(job)
    assert job.best.best > 0.5
    assert job.position.updates <= job.position.step
    assert all(p.is_cuda for p in job.model.parameters())


@pytest.mark.parametrize(
    "overrides", [[], ["model=mlp", "loss=weighted_ce"], ["sampler=ohem"], ["sampler=smote", "trainer.ema=0.9"], ["trainer.accumulate=3"]]
)
def test_no_step_waits_for_the_device(make_job: Callable[..., Job], overrides: list[str]) -> None:
    job = make_job("trainer.log_every=1000", *overrides)
    job.model.train()
    windows = list(job.windows(0, skip=0))
    for window in windows[:3]:  # lazy initialisation may wait
        loop._update(job, [window], 0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for window in windows[3:6]:
            loop._update(job, [window], 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_first_bad_step_is_named_although_it_is_found_later(make_job: Callable[..., Job]) -> None:
    job = make_job("trainer.log_every=5", "trainer.max_epochs=3")
    forward = job.step.forward

    def poisoned(batch):  # type: ignore[no-untyped-def]
        logits = forward(batch)
        return logits * float("nan") if job.position.step == 7 else logits

    job.step.forward = poisoned
    rows = next(w for i, w in enumerate(w for e in range(3) for w in job.windows(e, skip=0)) if i == 7)
    with pytest.raises(NonFiniteError, match="the loss of step 7 is not finite") as caught:
        loop.fit(job)
    assert str(job.gather.rows(rows)[0]) in str(caught.value)
    good = checkpoint.load(job.last_path)["model"]
    assert all(torch.isfinite(t).all() for t in good.values() if t.is_floating_point())


def test_resume_continues_near_enough(make_job: Callable[..., Job]) -> None:
    """CUDA kernels may add in another order, so bits are not promised; the stream of rows and the schedule are."""
    overrides = ["model=mlp", "scheduler=cosine", "trainer.deterministic=true", "trainer.checkpoint.every=3 steps"]
    whole, job, again = (make_job(*overrides) for _ in range(3))
    whole.val = job.val = again.val = None  # the last weights are compared, not the best
    torch.manual_seed(0)
    loop.fit(whole)
    torch.manual_seed(0)
    job.model.train()
    for step in range(9):
        epoch, done = divmod(step, job.steps_per_epoch)
        loop._update(job, [next(job.windows(epoch, skip=done))], epoch)
    job.save()
    again.load_state_dict(checkpoint.load(job.last_path))
    assert again.position.step == 9
    loop.fit(again)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_cuda_and_cpu_agree(make_job: Callable[..., Job]) -> None:
    jobs = [make_job("model=mlp", "model.dropout=0", f"trainer.device={device}", "trainer.max_epochs=1") for device in ("cuda", "cpu")]
    for job in jobs:
        job.val = None
        loop.fit(job)
    one, other = (job.model.state_dict() for job in jobs)
    for name in one:
        np.testing.assert_allclose(one[name].cpu().numpy(), other[name].numpy(), rtol=2e-3, atol=2e-4)


def test_predictions_on_cuda_are_those_of_the_cpu(text_run: Path) -> None:
    texts = ["alpha beta", "", "iota kappa lambda of the unknown"]
    found = [Predictor.load(text_run, device=device).predict_proba(texts) for device in ("cuda", "cpu")]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_attention_on_cuda_is_that_of_the_cpu(train_here: Callable[..., float], text_csv: Path, tmp_path: Path) -> None:
    train_here(tmp_path / "han", "data=file", f"data.path={text_csv}", "model=han", "model.dim=8", "model.hidden=4", "trainer.max_steps=2",
               "trainer.device=cpu", "trainer.progress=off")  # fmt: skip
    one, other = (Predictor.load(tmp_path / "han", device=device).explain(["alpha beta . gamma"]) for device in ("cuda", "cpu"))
    assert [token for token, _ in one[0]] == [token for token, _ in other[0]]
    np.testing.assert_allclose([w for _, w in one[0]], [w for _, w in other[0]], atol=1e-5)
