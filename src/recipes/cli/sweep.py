"""Around a sweep: every job's config is checked before the first one starts, and one table of all jobs comes out. Hydra calls this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recipes.cli.entry import leave, typed_overrides
from recipes.errors import ConfigError, RecipesError

_SHOWN = 5


class SweepTable(Callback):
    """Refuses a sweep with a wrong setting in any job; at the end prints the table, writes leaderboard.csv, and fails when a job did."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Hydra turns an exception in a callback into a warning; leaving the process is not one.
        if wrong := wrong_jobs(config):
            leave(wrong)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from recipes.reporting.leaderboard import write_leaderboard

        try:
            rows = write_leaderboard(Path(str(config.hydra.sweep.dir)), str(config.monitor))
        except RecipesError as error:
            leave(str(error))
        if any(row.status == "failed" for row in rows):
            raise SystemExit(1)


def wrong_jobs(config: DictConfig) -> str | None:
    """What is wrong with the settings of the jobs of Hydra's own sweeper, or None. Another sweeper chooses its jobs as it goes."""
    from hydra import compose
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from recipes.cli.settings import read_settings

    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        return None
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    jobs = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides([*params, *typed_overrides(config.hydra)]), None)[0]
    problems: dict[str, list[int]] = {}
    for number, overrides in enumerate(jobs):
        try:
            composed = compose("train", overrides=list(overrides))
        except (HydraException, OmegaConfBaseException):
            return None  # Hydra is about to say the same, before the first job as well
        try:
            read_settings(composed)
        except ConfigError as error:
            problems.setdefault(str(error), []).append(number)
    if not problems:
        return None
    count = sum(map(len, problems.values()))
    lines = [f"the sweep was not started: {count} of its {len(jobs)} jobs cannot run"]
    for message, numbers in list(problems.items())[:_SHOWN]:
        which = ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")
        lines.append(f"job {which}: {message}")
    return "\n".join([*lines, *([f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])])
