"""A run that was killed and resumed ends in the same bits as one that was not, with dropout, for every sampler, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from recipes.errors import CheckpointError
from recipes.training import checkpoint
from recipes.training.events import Evaluation, Listener, StepLog
from recipes.training.job import Job
from recipes.training.loop import fit

ROOT = Path(__file__).resolve().parents[2]
SAMPLERS = sorted(p.stem for p in (ROOT / "configs" / "sampler").glob("*.yaml"))
COMMON = [
    "loss=focal", "model.dropout=0.5", "trainer.batch_size=16", "trainer.max_epochs=2", "trainer.eval_every=7 steps", "trainer.log_every=5",
    "trainer.checkpoint.every=4 steps", "trainer.ema=0.9", "scheduler=cosine", "trainer.early_stopping.patience=null",
]  # fmt: skip


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop may catch it and tidy up."""


class Recorder(Listener):
    def __init__(self) -> None:
        self.heard: list = []

    def log(self, log: StepLog) -> None:
        self.heard.append(("log", log.step, log.loss, log.lr, log.grad_norm))

    def evaluated(self, evaluation: Evaluation) -> None:
        self.heard.append(("eval", evaluation.step, sorted(evaluation.metrics.items()), evaluation.improved))


def kill_before_update(job: Job, step: int) -> None:
    """Die inside the forward pass of the update with this number."""
    forward, seen = job.step.forward, job.position.step

    def wrapped(batch):  # type: ignore[no-untyped-def]
        nonlocal seen
        if job.position.step == step:
            raise Killed
        return forward(batch)

    job.step.forward = wrapped


def state(job: Job) -> dict:
    return {**job.model.state_dict(), "stopper": job.stopper.state_dict(), "best": job.best.state_dict(), "rng": torch.get_rng_state()}


def assert_equal_bits(one: dict, other: dict) -> None:
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else repr(value) == repr(other[name])
        assert same, name


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("killed_at", [0, 3, 4, 14, 21])
def test_killed_and_resumed_equals_uninterrupted(make_job, tmp_path: Path, sampler: str, killed_at: int) -> None:
    overrides = [*COMMON, f"sampler={sampler}"]
    heard_whole, heard_parts = Recorder(), Recorder()
    whole = make_job(tmp_path / "whole", *overrides, listener=heard_whole)
    fit(whole)
    assert whole.total_steps > 21

    first = make_job(tmp_path / "parts", *overrides, listener=Listener())
    kill_before_update(first, killed_at)
    with pytest.raises(Killed):
        fit(first)
    torch.manual_seed(12345)  # a fresh process would have another state as well

    second = make_job(tmp_path / "parts", *overrides, listener=heard_parts)
    second.load_state_dict(checkpoint.load(second.last_path))
    assert second.position.step == killed_at - killed_at % 4 or killed_at < 4
    started = second.position.step
    fit(second)
    assert_equal_bits(state(whole), state(second))
    assert [h for h in heard_whole.heard if h[1] > started] == heard_parts.heard
    best = [checkpoint.load(tmp_path / name / "checkpoints" / "best.pt")["model"] for name in ("whole", "parts")]
    assert_equal_bits(*best)


@pytest.mark.parametrize("optimizer", ["adamw", "nesterov", "rmsprop", "adagrad", "nadam", "sparse_adam"])
def test_every_kind_of_optimizer_state_resumes(make_job, tmp_path: Path, optimizer: str) -> None:
    overrides = ["model=fasttext", "loss=weighted_ce", f"optimizer={optimizer}", "scheduler=plateau", "trainer.batch_size=16",
                 "trainer.max_epochs=2", "trainer.eval_every=3 steps", "trainer.checkpoint.every=3 steps"]  # fmt: skip
    whole = make_job(tmp_path / "whole", *overrides)
    fit(whole)
    first = make_job(tmp_path / "parts", *overrides)
    kill_before_update(first, 10)
    with pytest.raises(Killed):
        fit(first)
    second = make_job(tmp_path / "parts", *overrides)
    second.load_state_dict(checkpoint.load(second.last_path))
    fit(second)
    assert_equal_bits(state(whole), state(second))


def test_patience_goes_on_where_it_was(make_job, tmp_path: Path) -> None:
    """A run that stopped early does not start to wait anew when it is resumed."""
    overrides = ["optimizer.lr=1e-12", "trainer.batch_size=64", "trainer.max_epochs=50", "trainer.early_stopping.patience=2",
                 "trainer.early_stopping.min_steps=0"]  # fmt: skip
    job = make_job(tmp_path / "run", *overrides)
    reason = fit(job)
    assert reason.startswith("early stopping: no better val/f1_macro in 2 evaluations")
    again = make_job(tmp_path / "run", *overrides)
    again.load_state_dict(checkpoint.load(again.last_path))
    step = again.position.step
    assert fit(again) == reason
    assert again.position.step == step


def test_a_resumed_run_stops_at_an_evaluation_as_any_other(make_job, tmp_path: Path) -> None:
    """Patience ran out before `min_steps`, and the run was saved after it: it goes on to the next evaluation."""
    overrides = ["optimizer.lr=1e-12", "trainer.batch_size=64", "trainer.max_steps=30", "trainer.early_stopping.patience=1",
                 "trainer.early_stopping.min_steps=12", "trainer.eval_every=5 steps", "trainer.checkpoint.every=1 steps"]  # fmt: skip
    whole = make_job(tmp_path / "whole", *overrides)
    assert fit(whole).startswith("early stopping: ")
    assert whole.position.step == 15
    for killed_at in (11, 13):
        first = make_job(tmp_path / str(killed_at), *overrides)
        kill_before_update(first, killed_at)
        with pytest.raises(Killed):
            fit(first)
        second = make_job(tmp_path / str(killed_at), *overrides)
        second.load_state_dict(checkpoint.load(second.last_path))
        fit(second)
        assert second.position.step == 15
        assert_equal_bits(state(whole), state(second))


def test_other_data_under_the_same_config_is_refused(make_job, tmp_path: Path) -> None:
    lines = ["text,label", *(f"word{i % 7} word{i % 3},{'ab'[i % 2]}" for i in range(60))]
    texts = tmp_path / "texts.csv"
    overrides = ["data=file", f"data.path={texts}", "trainer.max_steps=2"]
    texts.write_text("\n".join(lines) + "\n")
    fit(make_job(tmp_path / "run", *overrides))
    for changed in ([*lines, "word1 word2,a"], [line.replace("word6", "other") for line in lines], [*lines[:-1], "word3 word2,a"]):
        texts.write_text("\n".join(changed) + "\n")
        again = make_job(tmp_path / "run", *overrides)
        with pytest.raises(CheckpointError, match="the data is not what it was"):
            again.load_state_dict(checkpoint.load(again.last_path))


def test_a_checkpoint_holds_tensors_numbers_and_strings_only(make_job, tmp_path: Path) -> None:
    job = make_job(tmp_path / "run", *COMMON, "trainer.max_steps=5")
    fit(job)

    def walk(value: object, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                assert isinstance(key, str | int), path
                walk(inner, f"{path}.{key}")
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner, path)
        else:
            assert value is None or type(value) in (torch.Tensor, int, float, str, bool), f"{path}: {type(value)}"

    content = torch.load(job.last_path, weights_only=True)
    walk(content, "checkpoint")
    assert json.loads(content["config"])["loss._target_"] == "recipes.losses.Focal"


def test_a_truncated_checkpoint_is_refused(make_job, tmp_path: Path) -> None:
    job = make_job(tmp_path / "run", *COMMON, "trainer.max_steps=5")
    fit(job)
    job.last_path.write_bytes(job.last_path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        checkpoint.load(job.last_path)
