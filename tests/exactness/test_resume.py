"""A run that was killed and resumed ends in the same bits as one that was not, with dropout, for every sampler, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes.errors import CheckpointError
from recipes.training import checkpoint
from recipes.training.events import Evaluation, Listener, StepLog
from recipes.training.job import Job
from recipes.training.loop import fit

from .test_accumulation import AUGMENTED, FOR, WITH, options

COMMON = [
    "model.dropout=0.5", "trainer.batch_size=16", "trainer.max_epochs=2", "trainer.eval_every=7 steps", "trainer.log_every=5",
    "trainer.checkpoint.every=4 steps", "trainer.ema=0.9", "scheduler=cosine", "trainer.early_stopping.patience=null",
]  # fmt: skip
THOROUGH = ("shuffle", "balanced_batch", "smote", "ohem")  # one of each kind: natural, dealt otherwise, mixed, mined


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
    inner = getattr(job.step, "step", job.step)  # of a sharpness-aware step, the plain one in it
    forward = inner.forward

    def wrapped(batch):  # type: ignore[no-untyped-def]
        if job.position.step == step:
            raise Killed
        return forward(batch)

    inner.forward = wrapped


def state(job: Job) -> dict:
    return {**job.model.state_dict(), "stopper": job.stopper.state_dict(), "best": job.best.state_dict(), "rng": torch.get_rng_state()}


def assert_equal_bits(one: Any, other: Any, path: str = "") -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name, value in one.items():
            assert_equal_bits(value, other[name], f"{path}.{name}")
    elif isinstance(one, list | tuple):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal_bits(a, b, f"{path}[{i}]")
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else repr(one) == repr(other), path


def killed(make_job, run_dir: Path, at: int, *overrides: str) -> None:  # type: ignore[no-untyped-def]
    """Leaves the run directory of a job that died before this update."""
    first = make_job(run_dir, *overrides)
    kill_before_update(first, at)
    with pytest.raises(Killed):
        fit(first)
    torch.manual_seed(12345)  # a fresh process would have another state as well


def assert_resumes(make_job, tmp_path: Path, at: tuple[int, ...], *overrides: str) -> Job:  # type: ignore[no-untyped-def]
    """One whole run against one for each kill; all that a checkpoint holds is compared. Returns the job of the last one."""
    heard_whole = Recorder()
    whole = make_job(tmp_path / "whole", *overrides, listener=heard_whole)
    fit(whole)
    for step in at:
        assert step < whole.total_steps
        killed(make_job, tmp_path / f"{step}", step, *overrides)
        heard = Recorder()
        second = make_job(tmp_path / f"{step}", *overrides, listener=heard)
        second.load_state_dict(checkpoint.load(second.last_path))
        started = second.position.step
        assert started == step - step % 4 or step < 4
        fit(second)
        assert_equal_bits(state(whole), state(second))
        assert [h for h in heard_whole.heard if h[1] > started] == heard.heard
        assert_equal_bits(checkpoint.load(whole.last_path), checkpoint.load(second.last_path))
        assert_equal_bits(*(checkpoint.load(job.best_path)["model"] for job in (whole, second)))
    return second


@pytest.mark.parametrize("sampler", THOROUGH)
def test_killed_at_any_place(make_job, tmp_path: Path, sampler: str) -> None:
    """Before the first checkpoint, at one, inside an epoch, between two epochs, in the second one."""
    job = assert_resumes(make_job, tmp_path, (0, 3, 4, 14, 21), *COMMON, "loss=focal", f"sampler={sampler}")
    assert job.total_steps > 21


@pytest.mark.parametrize("sampler", [s for s in options("sampler") if s not in THOROUGH])
def test_every_sampler(make_job, data, tmp_path: Path, sampler: str) -> None:
    """In the first epoch, and in the second, whose stream depends on its number."""
    overrides = [*data[FOR.get(sampler, "numbers")], *COMMON, "loss=focal", f"sampler={sampler}", *WITH.get(sampler, [])]
    epoch = make_job(tmp_path / "asked", *overrides).steps_per_epoch
    assert_resumes(make_job, tmp_path, (3, epoch + 2), *overrides)


@pytest.mark.parametrize(("augment", "form"), [(a, AUGMENTED[a][0]) for a in options("augment")])
def test_every_augmentation(make_job, data, lexicon: Path, tmp_path: Path, augment: str, form: str) -> None:
    words = [f"augment.lexicon={lexicon}"] if augment in ("eda", "random_insertion", "synonym") else []
    assert_resumes(make_job, tmp_path, (17,), *data[form], *COMMON, "loss=focal", f"augment={augment}", *words)


STATEFUL = {
    "statistics of a loss": ["text", "loss=ghm"],
    "a loss of pairs": ["text", "loss=auc_margin"],
    "sharpness": ["text", "loss=focal", "optimizer.sam_rho=0.05"],
    "sharpness and statistics": ["numbers", "loss=ghm", "optimizer.sam_rho=0.5", "optimizer.sam_adaptive=true", "model.norm=batch"],
    "batch norm of natural rows": ["numbers", "loss=focal", "model.norm=batch", "sampler=class_balanced"],
    "mining beside a sampler": ["numbers", "loss=focal", "mining=ohem", "mining.warmup_epochs=1", "sampler=random_over"],
    "a mixture in a random layer": ["text", "loss=balanced_softmax", "augment=manifold_mixup", "sampler=class_balanced"],
}


@pytest.mark.parametrize("case", STATEFUL)
def test_what_else_has_a_state(make_job, data, tmp_path: Path, case: str) -> None:
    form, *overrides = STATEFUL[case]
    job = assert_resumes(make_job, tmp_path, (6, 18), *data[form], *COMMON, *overrides)
    if "loss=ghm" in overrides:
        assert job.loss.share_K.sum() > 0


def test_hard_negatives_are_those_of_the_epoch_s_beginning(make_job, data, tmp_path: Path) -> None:
    """Killed inside an epoch, the ranking is that of when the epoch began, and not of the weights of now; at its end it is made anew."""
    overrides = [*data["numbers"], *COMMON, "loss=focal", "sampler=hard_negatives", *WITH["hard_negatives"], "sampler.pool=2",
                 "trainer.max_epochs=3"]  # fmt: skip
    epoch = make_job(tmp_path / "asked", *overrides).steps_per_epoch
    assert epoch == 17
    ranked = []
    job = make_job(tmp_path / "ranked", *overrides)
    rescore = job.sampler.rescore
    job.sampler.rescore = lambda raw_NC: (rescore(raw_NC), ranked.append(job.sampler.state_dict()["ranked"]))
    fit(job)
    assert len(ranked) == 3
    assert not torch.equal(ranked[1], ranked[2]), "the weights of the next epoch must rank otherwise for this test to mean anything"
    assert_resumes(make_job, tmp_path, (6, epoch, epoch + 7, 2 * epoch + 4), *overrides)


@pytest.mark.parametrize("recipe", ["loss=weighted_ce", "loss=ldam sampler=class_balanced", "loss=focal sampler=smote"])
def test_a_deferred_start(make_job, tmp_path: Path, recipe: str) -> None:
    """Killed before the switch, at it (when best and patience are forgotten) and after it; the best weights are of after it."""
    overrides = [*COMMON, *recipe.split(), "reweight.start=12 steps", "trainer.eval_every=4 steps", "trainer.early_stopping.patience=20"]
    job = assert_resumes(make_job, tmp_path, (2, 6, 11, 12, 13, 18), *overrides)
    assert job.loss.active
    assert job.best.best_step > 12


def test_progressive_balance_goes_on_from_where_it_was(make_job, data, tmp_path: Path) -> None:
    """Each epoch has shares of its own, which depend on how far training is."""
    overrides = [*data["numbers"], *COMMON, "loss=focal", "sampler=progressive", "trainer.max_epochs=4"]
    job = make_job(tmp_path / "asked", *overrides)
    rare = [sum((job.labels[w] == 2).sum() for w in job.windows(epoch, skip=0)) for epoch in range(4)]
    assert rare == sorted(rare)
    assert rare[0] < rare[3]
    assert_resumes(make_job, tmp_path, (9, 2 * job.steps_per_epoch + 1, 3 * job.steps_per_epoch), *overrides)


@pytest.mark.parametrize("optimizer", ["adamw", "nesterov", "rmsprop", "adagrad", "nadam", "sparse_adam"])
def test_every_kind_of_optimizer_state_resumes(make_job, tmp_path: Path, optimizer: str) -> None:
    overrides = ["model=fasttext", "loss=weighted_ce", f"optimizer={optimizer}", "scheduler=plateau", "trainer.batch_size=16",
                 "trainer.max_epochs=2", "trainer.eval_every=3 steps", "trainer.checkpoint.every=3 steps"]  # fmt: skip
    whole = make_job(tmp_path / "whole", *overrides)
    fit(whole)
    killed(make_job, tmp_path / "parts", 10, *overrides)
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
        killed(make_job, tmp_path / str(killed_at), killed_at, *overrides)
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
    job = make_job(tmp_path / "run", *COMMON, "loss=focal", "trainer.max_steps=5")
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
    job = make_job(tmp_path / "run", *COMMON, "loss=focal", "trainer.max_steps=5")
    fit(job)
    job.last_path.write_bytes(job.last_path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        checkpoint.load(job.last_path)
