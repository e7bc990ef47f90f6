"""After a sweep: one table of all its jobs, best first. Hydra calls this; it imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """Prints the table, writes leaderboard.csv, and lets the command fail when a job did."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from recipes.cli.status import read_status
        from recipes.reporting.leaderboard import write_leaderboard

        sweep_dir = Path(str(config.hydra.sweep.dir))
        write_leaderboard(sweep_dir, str(config.monitor))
        statuses = [read_status(p.parent.parent) for p in sweep_dir.glob("*/.hydra/overrides.yaml")]
        failed = sum(s == "failed" for s in statuses)
        if failed:
            raise SystemExit(1)
