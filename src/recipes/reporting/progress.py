"""The console's part of a run: the start block, progress, a line an evaluation, the end block."""

from __future__ import annotations

import math
import time
from typing import Literal

from rich.progress import BarColumn, Progress, TextColumn

from recipes.reporting import formatting as form
from recipes.reporting.blocks import end_block, evaluation_line, start_block
from recipes.reporting.console import Console
from recipes.training.events import Evaluation, Listener, Result, RunInfo, StepLog

Mode = Literal["auto", "bar", "log", "off"]
_REFRESH = 0.2  # seconds between redraws of the bar; one costs 0.3 ms
_LINE = 10.0  # seconds between two lines where there is no bar


class ConsoleReport(Listener):
    """Shows a run on the console.

    `progress`: `bar` draws a bar even where the output is no terminal, `log` writes a line every ten seconds, `auto` takes the bar on a
    terminal and lines elsewhere, `off` leaves the screen still while training. train.log gets the lines and the evaluations in any case.
    """

    def __init__(self, console: Console, progress: Mode = "auto") -> None:
        self._console = console
        if progress == "bar":
            console.force_terminal()
        drawable = console.screen.is_terminal and not console.screen.is_dumb_terminal
        self._mode = progress if progress != "auto" else "bar" if drawable else "log"
        self._bar: Progress | None = None
        self._drawn = self._lined = -float("inf")

    def start(self, run: RunInfo) -> None:
        self._run = run
        self._console.show(lambda width: start_block(run, width))
        if self._mode == "bar":
            # No refresh thread: it would take the interpreter from the loop ten times a second.
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:3.0f}%"),
                TextColumn("{task.fields[told]}"),
                console=self._console.screen,
                auto_refresh=False,
                transient=True,
                expand=True,
            )
            self._task = self._bar.add_task("epoch 1", total=run.total_steps, completed=run.resumed_from_step, told="")
            self._bar.start()
            self._bar.refresh()

    def log(self, log: StepLog) -> None:
        now = time.monotonic()
        if self._bar is not None and (now - self._drawn >= _REFRESH or log.step == log.total_steps):
            self._drawn = now
            self._bar.update(self._task, completed=log.step, description=self._epoch(log), told=_told(log))
            self._bar.refresh()
        if now - self._lined >= _LINE:
            self._lined = now
            line = f"{self._epoch(log)} step {log.step:,}/{log.total_steps:,}  {_told(log)} left"
            self._console.say(line, screen=self._mode == "log")

    def evaluated(self, evaluation: Evaluation) -> None:
        self._console.say(evaluation_line(evaluation, self._run.monitor), screen=self._mode != "off")

    def end(self, result: Result) -> None:
        self.close()
        self._console.show(lambda width: end_block(result, self._run, width))
        self._console.say("\n  ".join(["next", *form.next_commands(self._run.run_dir)]))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _epoch(self, log: StepLog) -> str:
        # At the end of an epoch its number stays: the next one has not begun.
        return f"epoch {math.ceil(log.step / self._run.steps_per_epoch)}/{math.ceil(log.total_steps / self._run.steps_per_epoch)}"


def _told(log: StepLog) -> str:
    return f"loss {form.number(log.loss)}  lr {log.lr:.2e}  {log.rows_per_second:,.0f} rows/s  {form.duration(log.seconds_left)}"
