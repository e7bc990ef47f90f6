"""Put a run together: data, components, and the job that the loop drives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recipes.augmentation import Augment
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
from recipes.randomness import generator
from recipes.sampling import Deferred, Moment, Sampler
from recipes.training.balance import weigh
from recipes.training.events import Listener
from recipes.training.job import Job
from recipes.training.precision import Precision
from recipes.training.seeding import seed_everything
from recipes.training.settings import total_steps
from recipes.training.step import Gather
from recipes.training.stopping import Stopper


def read_data(settings: Settings) -> tuple[Dataset, Needs]:
    """The encoded splits that the chosen model needs."""
    trust, needs = settings.top.trust, needs_of(settings)
    source = build(Source, settings.group("data"), "data", trust=trust)
    features = build(Features, settings.group("features"), "features", trust=trust)
    return prepare(source, features, needs, settings.top.task, settings.top.seed), needs


def needs_of(settings: Settings) -> Needs:
    """What the chosen model asks of the data room."""
    return resolve(Model, settings.group("model"), "model", settings.top.trust).needs(settings.group("model"))


def assemble(settings: Settings, data: Dataset, run_dir: Path, listener: Listener) -> Job:
    """Build every component from its settings and the facts of the data. Raises ConfigError where they do not fit together."""
    trainer, seed, device, trust = settings.trainer, settings.top.seed, settings.device, settings.top.trust
    best, stopper = _stoppers(settings, data.facts.task)
    facts = data.facts.as_dict() | _forms(settings, data)
    seed_everything(seed, trainer.deterministic)
    model = build(Model, settings.group("model"), "model", facts=facts, trust=trust)
    initial = initialise(model, settings, data)
    model.to(device)
    sampler = build(Sampler, settings.group("sampler"), "sampler", facts=facts, trust=trust)
    # What deals the rows as they are needs no deferral, and its stream then is that of the plain run.
    natural = type(sampler).batches is Sampler.batches and type(sampler).resample is Sampler.resample
    deferred = Deferred(sampler, 0) if settings.top.reweight.start is not None and not natural else None
    sampler = deferred or sampler
    mining = build(Sampler, settings.group("mining"), "mining", facts=facts, trust=trust)
    augment = build(Augment, settings.group("augment"), "augment", facts=facts, trust=trust)
    plan = sampler.resample(data.train, generator(seed, "resample"))
    labels = plan.labels(data.train.labels())
    steps_per_epoch = sampler.steps_per_epoch(plan, labels, trainer.window)
    steps = total_steps(trainer, steps_per_epoch)
    starts_at = _starts_at(settings, steps_per_epoch, steps)
    if deferred is not None:
        deferred.start_step = starts_at
    length = {"steps_per_epoch": steps_per_epoch, "total_steps": steps}
    schedule = build(Schedule, settings.group("scheduler"), "scheduler", facts=length, trust=trust)
    if schedule.observes and data.val is None:
        raise ConfigError("scheduler=plateau follows a validation metric, and the data has no validation split")
    reasons = tuple(part.approximate for part in (sampler, mining, augment) if part.approximate) + inexact(settings)
    balance = weigh(sampler, plan, labels, data.train, trainer.window, seed, Moment(steps, steps), reasons)
    facts |= {"sampled_counts": balance.dealt_C, "sampled_rows": balance.dealt_rows}
    loss = build(Loss, settings.group("loss"), "loss", facts=facts, trust=trust).to(device)
    notes = check_built(settings, data, plan, augment, loss, balance, balance.ledger(loss))
    return Job(
        run_dir=run_dir,
        config=settings.identity(),
        settings=trainer,
        seed=seed,
        facts=data.facts,
        model=model,
        loss=loss,
        sampler=sampler,
        miner=mining if mining.mines else sampler,
        optimizer=make_optimizer(settings.group("optimizer"), model, trust=trust),
        schedule=schedule,
        clip=make_clip(trainer.clip, trainer.clip_value, model),
        augment=augment,
        gather=Gather(data.train.to(device), plan),
        labels=labels,
        weighted=data.train.weighted and not sampler.consumes_weights,
        balance=balance,
        recalibrate=balance.shifted if trainer.bn_recalibrate == "auto" else trainer.bn_recalibrate,
        val=None if data.val is None else data.val.to(device),
        precision=Precision(trainer.precision, device),
        best=best,
        stopper=stopper,
        steps_per_epoch=steps_per_epoch,
        total_steps=steps,
        listener=listener,
        initial=initial,
        starts_at=starts_at,
        notes=notes,
        sam_rho=settings.group("optimizer").get("sam_rho"),
        sam_adaptive=bool(settings.group("optimizer").get("sam_adaptive")),
    )


def _forms(settings: Settings, data: Dataset) -> dict[str, Any]:
    """How the rows look to what changes them: facts for augmentation."""
    needs = needs_of(settings)
    if needs.representation == "dense":
        form = "tfidf" if data.facts.sparse_features else "dense"
    elif needs.form == "bag":
        form = "ngrams" if needs.word_ngrams > 1 else "bag"
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
