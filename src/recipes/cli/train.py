"""`train.py`: from a composed config to a finished run directory."""

from __future__ import annotations

import json
import logging
import math
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from recipes.cli.assemble import assemble, read_data
from recipes.cli.conclude import conclude, write_suspects
from recipes.cli.describe import describe
from recipes.cli.entry import USER_ERROR, typed_overrides
from recipes.cli.settings import read_settings
from recipes.cli.status import read_status, write_failure, write_status
from recipes.errors import CheckpointError, RecipesError
from recipes.inference import bundle_of, save_bundle
from recipes.reporting import Console, make_listeners
from recipes.training import checkpoint
from recipes.training.events import Listeners
from recipes.training.loop import fit

log = logging.getLogger(__name__)
INTERRUPTED = 130
USUAL_THREADS = torch.get_num_threads()


def train(config: DictConfig) -> float:
    """The task of `@hydra.main`. Returns the best monitored value, which is what a sweeper optimises; NaN when there is none.

    In a sweep a job that fails is recorded in its own directory and the others go on. Alone, a user's error ends the process with code 2.
    """
    hydra = HydraConfig.get()
    run_dir = Path(hydra.runtime.output_dir)
    sweeping = hydra.mode == RunMode.MULTIRUN
    run_dir.mkdir(parents=True, exist_ok=True)
    with Console(run_dir / "train.log") as console:
        try:
            return run(config, run_dir, typed_overrides(hydra), console)
        except KeyboardInterrupt:
            if read_status(run_dir) != "interrupted":  # not between two steps, where the loop saves and says so
                saved = (run_dir / "checkpoints" / "last.pt").is_file()
                console.say(f"interrupted; {_continue(run_dir) if saved else 'nothing was trained yet'}")
                write_status(run_dir, "interrupted")
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            write_failure(run_dir, str(error) if isinstance(error, RecipesError) else f"{type(error).__name__}: {error}")
            console.failure(error)
            if sweeping:
                return math.nan
            raise SystemExit(USER_ERROR if isinstance(error, RecipesError) else 1) from None


def run(config: DictConfig | Mapping[str, Any], run_dir: Path, overrides: list[str], console: Console) -> float:
    """Train, score the best weights on validation and test, and leave everything in `run_dir`."""
    settings = read_settings(config)
    torch.set_num_threads(settings.trainer.threads or USUAL_THREADS)  # set every time: a sweep runs its jobs in one process
    resuming = settings.top.resume is not None
    last = run_dir / "checkpoints" / "last.pt"
    finished = resuming and read_status(run_dir) == "finished"
    state = checkpoint.load(last) if resuming and (last.is_file() or not finished) else None
    if state is not None:
        check_same(json.loads(state["config"]), settings.identity(), run_dir)
    if finished:
        console.say(f"nothing to resume: {run_dir} is finished")
        return _monitored(run_dir)
    write_status(run_dir, "running")
    data, needs = read_data(settings)
    listeners = Listeners([])
    job = assemble(settings, data, run_dir, listeners)
    if state is not None:
        job.load_state_dict(state)
    listeners.listeners += make_listeners(settings.group("logger"), settings.trainer.progress, console, data.rows, trust=settings.top.trust)
    try:
        listeners.start(describe(job, settings, data, overrides))
        started = time.perf_counter()
        reason = fit(job)
        if job.interrupt.requested is not None:
            write_status(run_dir, "interrupted", reason)
            console.say(f"{reason}; saved at step {job.position.step:,}. {_continue(run_dir)}")
            raise KeyboardInterrupt
        outcome = conclude(job, settings, data, reason, time.perf_counter() - started)
        save_bundle(run_dir / "model", bundle_of(job.model, settings.group("model"), data, needs, outcome.readout, outcome.conformal))
        write_suspects(job, data, outcome.readout)
        listeners.end(outcome.result)
    finally:
        listeners.close()
    write_status(run_dir, "finished")
    return outcome.result.monitored


def check_same(stored: dict[str, Any], given: dict[str, Any], run_dir: Path) -> None:
    """CheckpointError that lists the settings in which a run differs from the checkpoint that it would continue."""
    keys = sorted(k for k in stored.keys() | given.keys() if stored.get(k) != given.get(k))
    if not keys:
        return
    shown = [f"  {k}: {stored.get(k)!r} in the checkpoint, {given.get(k)!r} now" for k in keys[:12]]
    more = [f"  ... and {len(keys) - 12} more"] if len(keys) > 12 else []
    raise CheckpointError(
        "\n".join([f"resume: the checkpoint in {run_dir} belongs to another config:", *shown, *more])
        + "\n  Continue it as it was (`python train.py resume=<directory>` alone), or start a new run without resume"
    )


def _continue(run_dir: Path) -> str:
    return f"Continue with:\n  python train.py resume={shlex.quote(str(run_dir))}"


def _monitored(run_dir: Path) -> float:
    try:
        value = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))["monitored"]
    except (OSError, ValueError, KeyError):
        return math.nan
    return math.nan if value is None else float(value)
