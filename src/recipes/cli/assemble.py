"""Put a run together: data, components, and the job that the loop drives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recipes.augmentation import Augment
from recipes.cli.compatibility import sampler_settings
from recipes.cli.compatibility_built import check_built
from recipes.cli.initial import inexact, initialise
from recipes.cli.settings import Settings
from recipes.config import Duration, build, resolve
from recipes.data import Dataset, Features, Needs, Source, Task, prepare
from recipes.errors import ConfigError
from recipes.evaluation import check_monitor, direction
from recipes.losses import Loss
from recipes.models import Model
from recipes.optim import Schedule, make_clip, make_optimizer
from recipes.priors import Ledger
from recipes.randomness import generator
from recipes.sampling import Deferred, Moment, Plan, Sampler
from recipes.training.balance import Balance, weigh
from recipes.training.events import Listener
from recipes.training.job import Job
from recipes.training.precision import choose_precision
from recipes.training.seeding import seed_everything
from recipes.training.settings import total_steps
from recipes.training.step import Gather
from recipes.training.stopping import Stopper

T = TypeVar("T")


def read_data(settings: Settings) -> tuple[Dataset, Needs]:
    """The encoded splits that the chosen model needs."""
    trust, needs = settings.top.trust, needs_of(settings)
    source = build(Source, settings.group("data"), "data", trust=trust)
    features = build(Features, settings.group("features"), "features", trust=trust)
    return prepare(source, features, needs, settings.top.task, settings.top.seed), needs


def needs_of(settings: Settings) -> Needs:
    """What the chosen model asks of the data room."""
    return resolve(Model, settings.group("model"), "model", settings.top.trust).needs(settings.group("model"))


@dataclass(frozen=True)
class _Dealing:
    """What is dealt, how long that takes, and from which update on it is rebalanced. labels: targets of the plan's samples."""

    sampler: Sampler
    mining: Sampler
    augment: Augment
    plan: Plan
    labels: np.ndarray
    steps_per_epoch: int
    total_steps: int
    starts_at: int
    notes: list[str]


@dataclass(frozen=True)
class _Parts:
    """The components of a run, and what was adapted to fit them together."""

    model: Model
    initial: Ledger | None
    dealing: _Dealing
    schedule: Schedule
    balance: Balance
    loss: Loss
    notes: list[str]


def assemble(settings: Settings, data: Dataset, run_dir: Path, listener: Listener) -> Job:
    """Build every component from its settings and the facts of the data. Raises ConfigError where they do not fit together."""
    trainer, device, optimizer = settings.trainer, settings.device, settings.group("optimizer")
    best, stopper = _stoppers(settings, data.facts.task)
    parts = _parts(settings, data)
    dealing, balance, model = parts.dealing, parts.balance, parts.model
    return Job(
        run_dir=run_dir,
        config=settings.identity(),
        settings=trainer,
        seed=settings.top.seed,
        facts=data.facts,
        model=model,
        loss=parts.loss,
        sampler=dealing.sampler,
        miner=dealing.mining if dealing.mining.mines else dealing.sampler,
        optimizer=make_optimizer(optimizer, model, trust=settings.top.trust),
        schedule=parts.schedule,
        clip=make_clip(trainer.clip, trainer.clip_value, model),
        augment=dealing.augment,
        gather=Gather(data.train.to(device), dealing.plan),
        labels=dealing.labels,
        weighted=data.train.weighted and not dealing.sampler.consumes_weights,
        balance=balance,
        recalibrate=balance.shifted if trainer.bn_recalibrate == "auto" else trainer.bn_recalibrate,
        val=None if data.val is None else data.val.to(device),
        precision=choose_precision(trainer.precision, device, model, trainer.window),
        best=best,
        stopper=stopper,
        steps_per_epoch=dealing.steps_per_epoch,
        total_steps=dealing.total_steps,
        listener=listener,
        initial=parts.initial,
        starts_at=dealing.starts_at,
        notes=parts.notes,
        sam_rho=optimizer.get("sam_rho"),
        sam_adaptive=bool(optimizer.get("sam_adaptive")),
    )


def _parts(settings: Settings, data: Dataset) -> _Parts:
    """In this order: each is built from facts that those before it make, and torch's global generator is drawn from on the way."""
    facts = data.facts.as_dict() | _forms(settings, data)
    seed_everything(settings.top.seed, settings.trainer.deterministic)
    model = _build(Model, "model", settings, facts)
    initial = initialise(model, settings, data)
    model.to(settings.device)
    dealing = _dealing(settings, data, facts)
    schedule = _schedule(settings, data, dealing)
    balance = _balance(settings, data, dealing)
    loss = _build(Loss, "loss", settings, facts | {"sampled_counts": balance.counts_C, "sampled_rows": balance.dealt_rows})
    loss = loss.to(settings.device)
    notes = check_built(settings, data, dealing.plan, dealing.augment, loss, balance, balance.ledger(loss))
    return _Parts(model, initial, dealing, schedule, balance, loss, [*dealing.notes, *notes])


def _dealing(settings: Settings, data: Dataset, facts: dict[str, Any]) -> _Dealing:
    chosen, notes = sampler_settings(settings.plain, data.facts.task, settings.top.trust)
    sampler = build(Sampler, chosen, "sampler", facts=facts, trust=settings.top.trust)
    # What deals the rows as they are needs no deferral, and its stream then is that of the plain run.
    natural = type(sampler).batches is Sampler.batches and type(sampler).resample is Sampler.resample
    deferred = Deferred(sampler, 0) if settings.top.reweight.start is not None and not natural else None
    sampler = deferred or sampler
    mining = _build(Sampler, "mining", settings, facts)
    augment = _build(Augment, "augment", settings, facts)
    plan = sampler.resample(data.train, generator(settings.top.seed, "resample"))
    labels = plan.labels(data.train.labels())
    steps_per_epoch = sampler.steps_per_epoch(plan, labels, settings.trainer.window)
    steps = total_steps(settings.trainer, steps_per_epoch)
    starts_at = _starts_at(settings, steps_per_epoch, steps)
    if deferred is not None:
        deferred.start_step = starts_at
    return _Dealing(sampler, mining, augment, plan, labels, steps_per_epoch, steps, starts_at, notes)


def _schedule(settings: Settings, data: Dataset, dealing: _Dealing) -> Schedule:
    length = {"steps_per_epoch": dealing.steps_per_epoch, "total_steps": dealing.total_steps}
    schedule = _build(Schedule, "scheduler", settings, length)
    if schedule.observes and data.val is None:
        raise ConfigError("scheduler=plateau follows a validation metric, and the data has no validation split")
    return schedule


def _balance(settings: Settings, data: Dataset, dealing: _Dealing) -> Balance:
    """The class shares of an epoch at the end of training, which is what the weights come to fit."""
    changing: dict[str, Sampler | Augment] = {"sampler": dealing.sampler, "mining": dealing.mining, "augment": dealing.augment}
    reasons = tuple(
        f"{group} {type(getattr(part, 'sampler', part)).__name__}: {part.approximate}"
        for group, part in changing.items()
        if part.approximate
    ) + inexact(settings)
    end = Moment(dealing.total_steps, dealing.total_steps)
    window, seed = settings.trainer.window, settings.top.seed
    return weigh(dealing.sampler, dealing.plan, dealing.labels, data.train, window, seed, end, reasons)


def _build(kind: type[T], group: str, settings: Settings, facts: dict[str, Any]) -> T:
    return build(kind, settings.group(group), group, facts=facts, trust=settings.top.trust)


def _forms(settings: Settings, data: Dataset) -> dict[str, Any]:
    """How the rows look to what changes them: facts for augmentation."""
    needs = needs_of(settings)
    if needs.representation == "dense":
        form = "tfidf" if data.facts.sparse_features else "dense"
    elif needs.form == "bag":
        form = "ngrams" if needs.buckets else "bag"
    else:
        form = "sequence"
    continuous = None
    if form == "dense":
        continuous = np.zeros(data.facts.num_features, dtype=bool)
        continuous[data.train.layout().numbers] = True
    return {"form": form, "tokenizer": settings.group("features")["tokenizer"], "continuous": continuous}


def _starts_at(settings: Settings, steps_per_epoch: int, steps: int) -> int:
    start = settings.top.reweight.start
    return 0 if start is None else Duration.parse(start).steps(steps_per_epoch, steps)


def _stoppers(settings: Settings, task: Task) -> tuple[Stopper, Stopper]:
    """What decides which weights are kept, and when to stop; ConfigError for a metric that the task does not have."""
    stopping, kept = settings.trainer.early_stopping, settings.top.monitor
    followed = stopping.monitor or kept
    for monitor in (kept, followed):
        check_monitor(monitor, task)
    return Stopper(kept, direction(kept)), Stopper(followed, direction(followed), stopping.patience, stopping.min_delta)
