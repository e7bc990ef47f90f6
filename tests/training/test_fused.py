"""The step without autograd in the loop: the same training, the same moments, and the autograd step where it cannot follow."""

from __future__ import annotations

import copy
import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.cli.assemble import assemble, read_data
from recipes.cli.compose import composed
from recipes.cli.settings import read_settings
from recipes.errors import NonFiniteError
from recipes.models import fasttext_kernel
from recipes.training import checkpoint
from recipes.training.events import Evaluation, Listener, StepLog
from recipes.training.fused import FusedStep
from recipes.training.job import Job
from recipes.training.loop import fit
from recipes.training.step import Step

SMALL = ["model=fasttext", "model.dim=8", "model.buckets=100", "optimizer=sgd", "optimizer.lr=0.5", "trainer.clip=none",
         "scheduler=constant", "loss=cross_entropy", "trainer.device=cpu", "trainer.precision=fp32",
         "trainer.early_stopping.patience=null"]  # fmt: skip
AUTOGRAD = "trainer.fused=false"


class Recorder(Listener):
    def __init__(self) -> None:
        self.logs: list[StepLog] = []
        self.evaluations: list[Evaluation] = []

    def log(self, log: StepLog) -> None:
        self.logs.append(log)

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)

    @property
    def heard(self) -> list[tuple[Any, ...]]:
        """All but the rate of rows, which is the clock's."""
        logs = [("log", log.step, log.epoch, log.loss, log.lr) for log in self.logs]
        return [*logs, *(("eval", e.step, e.metrics["loss"], e.improved) for e in self.evaluations)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads without locks do not repeat bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.lru_cache(maxsize=8)
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    return composed(*overrides)


@pytest.fixture(scope="module")
def weighted_csv(text_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small texts with row weights from 0 to 4."""
    head, *lines = text_csv.read_text(encoding="utf-8").splitlines()
    path = tmp_path_factory.mktemp("weighted") / "weighted.csv"
    path.write_text("\n".join([f"{head},w", *(f"{line},{i * 7 % 5}" for i, line in enumerate(lines))]) + "\n", encoding="utf-8")
    return path


MakeJob = Callable[..., tuple[Job, Recorder]]


@pytest.fixture
def job_of(text_csv: Path, tags_csv: Path, weighted_csv: Path, tmp_path: Path) -> MakeJob:
    data = {
        "texts": [f"data.path={text_csv}", "data.text=text"],
        "weighted": [f"data.path={weighted_csv}", "data.text=text", "data.weight=w"],
        "tags": [f"data.path={tags_csv}", "data.text=text", "data.label=tags", "data.label_separator=';'"],
    }

    def make(*overrides: str, form: str = "texts", run_dir: str = "run") -> tuple[Job, Recorder]:
        chosen = {o.partition("=")[0] for o in overrides}
        base = [o for o in SMALL if o.partition("=")[0] not in chosen and not (o.startswith("model.") and "model" in chosen)]
        settings = read_settings(copy.deepcopy(_composed(("data=file", *data[form], *base, *overrides))))
        recorder = Recorder()
        return assemble(settings, read_data(settings)[0], tmp_path / run_dir, recorder), recorder

    return make


def weights(job: Job) -> list[torch.Tensor]:
    return [p.detach().clone() for p in job.model.parameters()]


def fitted(job: Job) -> list[torch.Tensor]:
    """The weights at the end, and not the best ones."""
    job.load_best = lambda: None  # type: ignore[method-assign]
    fit(job)
    return weights(job)


# One row a window

ONE_ROW: dict[str, tuple[str, list[str]]] = {
    "plain": ("texts", []),
    "a falling rate": ("texts", ["scheduler=linear"]),
    "a rising rate": ("texts", ["scheduler=linear", "scheduler.warmup=100 steps"]),
    "class weights": ("texts", ["loss=weighted_ce", "loss.weights=sqrt"]),
    "weights that start late": ("texts", ["loss=weighted_ce", "loss.weights=sqrt", "reweight.start=100 steps"]),
    "a tree": ("texts", ["loss=hierarchical_softmax"]),
    "one against all": ("texts", ["loss=ova"]),
    "labels": ("tags", ["loss=weighted_bce"]),
    "a sampler": ("texts", ["sampler=class_balanced"]),
    "row weights": ("weighted", []),
    "characters": ("texts", ["model.minn=2", "model.maxn=4", "model.end=false", "model.sparse=false"]),
}


@pytest.mark.parametrize("name", ONE_ROW)
def test_windows_of_one_row_are_the_same_training(job_of: MakeJob, name: str) -> None:
    """Of one row there is nothing that a fused step does in another order: weights and losses agree but for rounding."""
    form, overrides = ONE_ROW[name]
    common = [*overrides, "trainer.batch_size=1", "trainer.max_epochs=2", "optimizer.lr=0.1"]
    fused, heard = job_of(*common, form=form)
    plain, expected = job_of(*common, AUTOGRAD, form=form)
    assert isinstance(fused.step, FusedStep), fused.how
    assert isinstance(plain.step, Step)
    start = weights(plain)
    for found, other, first in zip(fitted(fused), fitted(plain), start, strict=True):
        assert not torch.allclose(other, first, atol=1e-3)
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5)
    assert (fused.position.step, fused.position.updates) == (plain.position.step, plain.position.updates)
    assert [log.loss for log in heard.logs] == pytest.approx([log.loss for log in expected.logs], rel=1e-4)
    assert [e.metrics["loss"] for e in heard.evaluations] == pytest.approx([e.metrics["loss"] for e in expected.evaluations], rel=1e-4)


# Windows of many rows

MANY_ROWS: dict[str, tuple[str, list[str]]] = {
    "plain": ("texts", []),
    "row weights": ("weighted", []),
    "row and class weights": ("weighted", ["loss=weighted_ce"]),
    "labels": ("tags", ["loss=weighted_bce"]),
    "a tree": ("texts", ["loss=hierarchical_softmax"]),
}


@pytest.mark.parametrize("name", MANY_ROWS)
def test_windows_of_many_rows_differ_by_the_square_of_the_rate(job_of: MakeJob, name: str) -> None:
    """To first order one step along a mean gradient is the small steps along its parts: half the rate, a quarter of the difference."""
    form, overrides = MANY_ROWS[name]
    differences, moved = [], []
    for lr in (0.4, 0.2):
        common = [*overrides, "trainer.batch_size=32", "trainer.max_steps=6", f"optimizer.lr={lr}"]
        fused, plain = job_of(*common, form=form)[0], job_of(*common, AUTOGRAD, form=form)[0]
        first = torch.nn.utils.parameters_to_vector(plain.model.parameters()).detach().clone()
        one, other = (torch.cat([w.double().flatten() for w in fitted(job)]) for job in (fused, plain))
        differences.append(float((one - other).norm()))
        moved.append(float((other - first).norm()))
    assert differences[0] < 0.1 * moved[0]
    assert 3 < differences[0] / differences[1] < 5


def test_the_rate_of_each_row(job_of: MakeJob) -> None:
    """Its share of the window's weight, times a rate that falls from that of the window's update to that of the next, id by id."""
    job, _ = job_of("trainer.batch_size=16", "trainer.max_steps=40", "scheduler=linear", "optimizer.lr=0.3", form="weighted")
    step, calls = job.step, []
    assert isinstance(step, FusedStep)
    inner = step.update
    step.update = lambda split, rows, rates, *rest: (calls.append((rows, rates)), inner(split, rows, rates, *rest))[1]
    fitted(job)
    rows, rates = (np.concatenate(part) for part in zip(*calls, strict=True))
    train, at, k = job.gather.train, 0, 0
    for epoch in range(3):
        for window in job.windows(epoch, skip=0):
            if k == 40:
                break
            own = slice(at, at + len(window))
            np.testing.assert_array_equal(rows[own], window)
            sizes, w = train.row_sizes(window).astype(float), train.weights.numpy()[window]
            before = (np.cumsum(sizes) - sizes) / sizes.sum()
            lr = 0.3 * (job.schedule.factor(k) * (1 - before) + job.schedule.factor(min(k + 1, 40)) * before)
            np.testing.assert_allclose(rates[own], lr * w / w.sum(), rtol=1e-5)
            at, k = at + len(window), k + 1
    assert (k, at) == (40, len(rows))
    assert job.schedule.factor(40) == 0


# What the loop does, and when


def test_log_evaluation_and_checkpoints_are_at_the_same_steps(job_of: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[str, int]] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda path, state: (saved.append((path.name, state["step"])), save(path, state)))
    found = []
    for extra in ([], [AUTOGRAD]):
        job, heard = job_of("trainer.batch_size=8", "trainer.max_steps=83", "trainer.log_every=9", "trainer.eval_every=7 steps",
                            "trainer.checkpoint.every=10 steps", "optimizer.lr=0.001", "scheduler=linear", *extra)  # fmt: skip
        saved.clear()
        reason = fit(job)
        logs = [(log.step, log.epoch, log.lr) for log in heard.logs]
        found.append((reason, logs, [e.step for e in heard.evaluations], [s for s in saved if s[0] == "last.pt"]))
    assert found[0] == found[1]
    assert found[0][3] == [("last.pt", s) for s in (*range(0, 90, 10), 83) if s != 90]
    assert found[0][0].startswith("reached 83 steps (")


def test_a_limit_inside_an_epoch(job_of: MakeJob) -> None:
    job, _ = job_of("trainer.batch_size=4", "trainer.max_steps=7", "trainer.max_epochs=3")
    assert fit(job) == f"reached 7 steps ({7 / job.steps_per_epoch:g} epochs), the limit"
    assert (job.position.step, job.position.updates, checkpoint.load(job.last_path)["step"]) == (7, 7, 7)


def test_evaluation_and_logs_leave_training_as_it_was(job_of: MakeJob) -> None:
    """They cut the stream into other calls of the kernel; draws of negatives depend on the place in the stream alone."""
    common = ["loss=negative_sampling", "calibration=platt", "trainer.batch_size=8", "trainer.max_steps=60"]
    jobs = [job_of(*common, f"trainer.eval_every={every} steps", f"trainer.log_every={every + 1}")[0] for every in (50, 3)]
    ends = [fitted(job) for job in jobs]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("loss", ["cross_entropy", "negative_sampling", "hierarchical_softmax"])
def test_killed_inside_an_epoch_and_resumed_it_ends_in_the_same_bits(job_of: MakeJob, loss: str) -> None:
    common = [f"loss={loss}", "calibration=platt", "trainer.batch_size=8", "trainer.max_epochs=3", "trainer.eval_every=7 steps",
              "trainer.log_every=5", "trainer.checkpoint.every=4 steps", "scheduler=cosine", "monitor=val/f1_macro"]  # fmt: skip
    whole, heard_whole = job_of(*common, run_dir="whole")
    fit(whole)
    assert whole.steps_per_epoch > 12
    for at in (3, 14, whole.steps_per_epoch + 5):
        first, _ = job_of(*common, run_dir=f"{at}")
        step = first.step
        assert isinstance(step, FusedStep)
        inner = step.update

        def dying(*args: Any, inner: Any = inner, job: Job = first, at: int = at) -> np.ndarray:
            found = inner(*args)
            if job.position.step >= at:
                raise Killed
            return found

        step.update = dying
        with pytest.raises(Killed):
            fit(first)
        second, heard = job_of(*common, run_dir=f"{at}")
        second.load_state_dict(checkpoint.load(second.last_path))
        started = second.position.step
        assert started % 4 == 0
        fit(second)
        assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
        assert [h for h in heard_whole.heard if h[1] > started] == heard.heard
        last = [checkpoint.load(job.last_path)["model"] for job in (whole, second)]
        assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])


def test_deterministic_repeats_bit_for_bit_on_any_number_of_threads(job_of: MakeJob) -> None:
    torch.set_num_threads(3)
    ends = []
    try:
        for deterministic in ("true", "true", "false"):
            job, _ = job_of(f"trainer.deterministic={deterministic}", "trainer.batch_size=64", "trainer.max_epochs=2")
            assert isinstance(job.step, FusedStep)
            assert ("3 threads without locks, whose results differ a little from run to run" in job.how) is (deterministic == "false")
            ends.append(fitted(job))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*ends[:2], strict=True))
    for a, b in zip(ends[0], ends[2], strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.05)


DIVERGING = {
    "softmax": ["optimizer.lr=1e25"],
    "sigmoids": ["optimizer.lr=1e19", "loss=ova"],
    "a tree": ["optimizer.lr=1e25", "loss=hierarchical_softmax"],
    "a checkpoint and an evaluation at each step": ["optimizer.lr=1e25", "trainer.checkpoint.every=1 steps", "trainer.eval_every=1 steps"],
}
REFUSED = (
    r"(?s)the (loss of|weights after) step \d+ .*not finite.*learning rate \S+.*a learning rate too high \(try a tenth of it\).*"
    r"the last good state is in "
)


def assert_last_is_whole(job: Job, job_of: MakeJob, *overrides: str) -> None:
    """It can be resumed, and its weights are those that a run has at that step."""
    state = checkpoint.load(job.last_path)
    assert all(torch.isfinite(t).all() for t in state["model"].values())
    again, _ = job_of(*overrides)
    again.load_state_dict(state)
    if state["step"]:
        same, _ = job_of(*overrides, f"trainer.max_steps={state['step']}", run_dir="same")
        expected = fitted(same)
    else:
        expected = weights(job_of(*overrides)[0])
    assert all(torch.equal(a, b) for a, b in zip(weights(again), expected, strict=True))


@pytest.mark.parametrize("name", DIVERGING)
def test_a_rate_that_diverges_is_refused_and_the_last_checkpoint_is_whole(job_of: MakeJob, name: str) -> None:
    common = ["trainer.batch_size=8", "trainer.max_epochs=8", *DIVERGING[name]]
    job, heard = job_of(*common)
    with pytest.raises(NonFiniteError, match=REFUSED) as caught:
        fit(job)
    assert str(caught.value).endswith(str(job.last_path))
    assert all(math.isfinite(e.metrics["loss"]) for e in heard.evaluations)
    assert_last_is_whole(job, job_of, *common)


@pytest.mark.parametrize("val_fraction", ["0.1", "0"])
@pytest.mark.parametrize("seen", ["the loss", "the weights"])
def test_what_is_not_finite_is_refused_whichever_shows_it(job_of: MakeJob, seen: str, val_fraction: str) -> None:
    """A loss that overflows after the weights of its call have moved, and weights that overflow after their last loss: neither is saved."""
    common = ["trainer.batch_size=8", "trainer.max_epochs=8", "trainer.eval_every=8 steps", "trainer.checkpoint.every=4 steps",
              "trainer.log_every=2", f"data.val_fraction={val_fraction}"]  # fmt: skip
    job, heard = job_of(*common)
    step = job.step
    assert isinstance(step, FusedStep)
    inner = step.update

    def overflowing(*args: Any) -> np.ndarray:
        losses = inner(*args)
        if job.position.step == 14:
            (losses if seen == "the loss" else job.model.embedding.weight.detach().numpy())[-1] = np.inf
        return losses

    step.update = overflowing
    with pytest.raises(NonFiniteError, match=REFUSED) as caught:
        fit(job)
    assert str(caught.value).startswith(f"{seen} ")
    assert "gradient" not in str(caught.value)
    assert job.best.best_step in (None, 0, 8)
    assert [e.step for e in heard.evaluations] == ([8] if val_fraction != "0" else [])
    assert checkpoint.load(job.last_path)["step"] == 12
    assert_last_is_whole(job, job_of, *common)


def test_a_sparse_gradient_that_is_not_finite_is_refused_before_it_is_saved(job_of: MakeJob) -> None:
    """Without clipping nobody looks at it, and the loss of its own step is that of the weights before."""
    common = [AUTOGRAD, "trainer.batch_size=8", "trainer.checkpoint.every=4 steps"]
    job, _ = job_of(*common)
    assert isinstance(job.step, Step)
    weight = job.model.embedding.weight
    weight.register_hook(lambda gradient: gradient * torch.inf if job.position.step == 7 else gradient)
    with pytest.raises(NonFiniteError, match="the weights after step 8 are not finite"):
        fit(job)
    assert checkpoint.load(job.last_path)["step"] == 4
    assert_last_is_whole(job, job_of, *common)


# Which step trains

OBSTACLES: dict[str, tuple[list[str], str]] = {
    "half precision": (["trainer.precision=bf16"], "trainer.precision=fp32"),
    "an optimizer with moments": (["optimizer=adam"], "optimizer=sgd without momentum, decay, l1 and sam_rho"),
    "momentum": (["optimizer=momentum", "model.sparse=false"], "optimizer=sgd without momentum"),
    "decay": (["optimizer.weight_decay=0.01"], "optimizer=sgd without momentum, decay"),
    "l1": (["optimizer.l1=0.01"], "optimizer=sgd without momentum, decay, l1"),
    "sharpness": (["optimizer.sam_rho=0.05", "model.sparse=false"], "optimizer=sgd without momentum, decay, l1 and sam_rho"),
    "clipping": (["trainer.clip=norm"], "trainer.clip=none"),
    "averages": (["trainer.ema=0.9"], "trainer.ema=null"),
    "mixtures": (["augment=mixup"], "augment=none"),
    "mining": (["mining=ohem"], "mining=none and a sampler that selects nothing"),
    "a sampler that selects": (["sampler=ohem"], "mining=none and a sampler that selects nothing"),
    "a loss of its own": (
        ["loss=focal"],
        "loss=cross_entropy, weighted_ce, bce, ova, weighted_bce, hierarchical_softmax or negative_sampling",
    ),
    "smoothing": (["loss.label_smoothing=0.1"], "without label smoothing"),
    "smoothing beside weights": (["loss=weighted_ce", "loss.label_smoothing=0.1"], "without label smoothing"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_the_fused_step_cannot_follow_trains_with_autograd_and_says_why(job_of: MakeJob, name: str) -> None:
    overrides, need = OBSTACLES[name]
    job, heard = job_of(*overrides, "trainer.max_steps=2")
    assert job.how.startswith("autograd; the fused step needs "), job.how
    assert need in job.how
    assert not isinstance(job.step, FusedStep)
    fit(job)
    assert all(math.isfinite(log.loss) for log in heard.logs)


def test_half_precision_that_nobody_asked_for_is_no_obstacle(job_of: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is what is best for the step that trains."""
    monkeypatch.setattr("recipes.training.precision._WORTH", 0)
    monkeypatch.setattr("recipes.training.precision._without_bf16", lambda device: None)
    assert job_of("trainer.precision=auto", AUTOGRAD)[0].precision.name == "bf16"
    job, _ = job_of("trainer.precision=auto")
    assert isinstance(job.step, FusedStep)
    assert job.precision.describe() == "fp32"


def test_compiled_models_train_with_autograd(job_of: MakeJob) -> None:
    job, _ = job_of("trainer.compile=true")  # nothing is compiled before the first forward pass
    assert job.how == "autograd; the fused step needs trainer.compile=false"


def test_a_head_that_the_kernel_does_not_know(job_of: MakeJob) -> None:
    for override in ("model.head=cosine", "model.bias_init=prior"):
        job, _ = job_of(override)
        assert job.how == (
            "autograd; no fused step: it knows heads that are linear, without a bias: model.head=linear model.bias_init=none"
        )
    job, _ = job_of("model.head=hierarchical")
    assert job.how == "autograd; no fused step: model.head=hierarchical and loss=hierarchical_softmax go together"


def test_without_the_kernel_autograd_trains_and_the_reason_is_told(job_of: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    import recipes.models

    monkeypatch.delattr(recipes.models, "fasttext_kernel")
    monkeypatch.setitem(sys.modules, "recipes.models.fasttext_kernel", None)  # what a missing numba does
    job, heard = job_of("trainer.max_steps=2")
    assert job.how.startswith("autograd; no fused step: its kernel cannot be built here (")
    assert "Error: " in job.how
    fit(job)
    assert len(heard.logs) == 1


def test_a_run_goes_on_where_the_kernel_is_missing_and_says_so(
    job_of: MakeJob, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import recipes.models

    begun, _ = job_of("trainer.max_steps=4", run_dir="run")
    assert begun.fused
    fit(begun)
    state = begun.state_dict()
    monkeypatch.delattr(recipes.models, "fasttext_kernel")
    monkeypatch.setitem(sys.modules, "recipes.models.fasttext_kernel", None)
    job, _ = job_of("trainer.max_steps=4", run_dir="elsewhere")
    job.load_state_dict(state)
    assert "the run trained in the fused step until here, and goes on by autograd" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(weights(begun), weights(job), strict=True))


def test_a_kernel_that_does_not_compile_is_told(job_of: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(fasttext_kernel, "update", broken)
    assert job_of()[0].how == "autograd; no fused step: its kernel cannot be built here (RuntimeError: no LLVM)"


def test_it_can_be_turned_off(job_of: MakeJob) -> None:
    job, _ = job_of(AUTOGRAD)
    assert job.how == "autograd (trainer.fused=false)"
    assert isinstance(job.step, Step)
    assert not job.fused


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "step     fused"),
        (["optimizer=adam"], "step     autograd; the fused step needs optimizer=sgd without momentum"),
        ([AUTOGRAD], "step     autograd (trainer.fused=false)"),
    ],
)
def test_the_start_of_a_run_says_which_step_trains(
    train_here: Callable[..., float], text_csv: Path, tmp_path: Path, overrides: list[str], line: str
) -> None:
    chosen = {o.partition("=")[0] for o in overrides}
    own = [o for o in SMALL if o.partition("=")[0] not in chosen]
    train_here(tmp_path / "run", "data=file", f"data.path={text_csv}", *own, "trainer.max_steps=2", "trainer.progress=off", *overrides)
    told = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert line in told, told


def test_other_models_have_nothing_to_tell(job_of: MakeJob) -> None:
    job, _ = job_of("model=textcnn", "model.dim=8", "model.maps=4")
    assert job.how == ""
    assert isinstance(job.step, Step)


def test_one_compilation_serves_every_form_of_data(job_of: MakeJob) -> None:
    """Also data that comes from the cache, in mapped files: another layout would compile again in the midst of training."""
    texts = ["loss=cross_entropy", "sampler=class_balanced"]
    for form, overrides in (("texts", texts), ("texts", texts), ("tags", ["loss=bce"]), ("weighted", ["loss=hierarchical_softmax"])):
        fit(job_of(*overrides, "trainer.max_steps=2", form=form)[0])
    assert len(fasttext_kernel.update.signatures) == 1
