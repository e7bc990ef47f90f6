"""What the user sees, and its plain copy in train.log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console as Screen
from rich.console import RenderableType
from rich.text import Text
from rich.traceback import Traceback

from recipes.errors import RecipesError

LOG_WIDTH = 120
_LOGGERS = ("recipes", "py.warnings")
_LITERAL: Any = {"markup": False, "highlight": False, "emoji": False}


class Console:
    """Prints to the terminal and to a log file at once.

    As a context manager it also shows the records of the `recipes` loggers and Python's warnings. Class names, paths and messages are
    printed as they are: no markup is read in them. Works without a terminal, without colours (NO_COLOR) and without a log file.
    """

    def __init__(self, log: Path | None = None, *, stream: TextIO | None = None, width: int | None = None) -> None:
        self._stream, self._width = stream, width
        self.screen = self._screen()
        self._file: TextIO | None = None
        self._log: Screen | None = None
        self._handler = LogHandler(self)
        if log is not None:
            self.open(log)

    def open(self, log: Path) -> None:
        """From now on, copy to this file as well; what a resumed run finds there stays."""
        self.close()
        log.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(log, "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        self._log = Screen(file=self._file, width=LOG_WIDTH, force_terminal=False, no_color=True, **_LITERAL)

    def force_terminal(self) -> None:
        """Draw as on a terminal even where the output is none."""
        self.screen = self._screen(force=True)

    def show(self, build: Callable[[int], RenderableType]) -> None:
        """Print a block that is laid out for a width in characters: once for the terminal's, once for the log's."""
        self.screen.print(build(self.screen.width))
        self._write(build(LOG_WIDTH))

    def say(self, message: str | Text, screen: bool = True) -> None:
        """Print one message as it is, however long its lines; the log has the time before it."""
        if screen:
            self.screen.print(message, soft_wrap=True)
        self._write(Text(f"{time.strftime('%H:%M:%S')} {message}"), soft_wrap=True)

    def failure(self, error: BaseException) -> None:
        """Say on stderr why the run ends: the message of a user's mistake, the whole traceback of anything else."""
        screen = Screen(file=self._stream, stderr=True, width=self._width, **_LITERAL)
        if isinstance(error, RecipesError):
            message = Text.assemble(("Error: ", "bold red"), str(error))
            screen.print(message, soft_wrap=True)
            self._write(Text(f"{time.strftime('%H:%M:%S')} {message}"), soft_wrap=True)
            return
        screen.print(_traceback(error, screen.width))
        self._write(_traceback(error, LOG_WIDTH))

    def close(self) -> None:
        """Close the log; the terminal stays."""
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take
                self._file.close()
        self._file = self._log = None

    def __enter__(self) -> Console:
        logging.captureWarnings(True)
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self._handler)
        logging.getLogger("recipes").setLevel(logging.INFO)  # the root's level would hide what the rooms tell
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)
        logging.captureWarnings(False)
        self.close()

    def _screen(self, force: bool | None = None) -> Screen:
        return Screen(file=self._stream, width=self._width, force_terminal=force, **_LITERAL)

    def _write(self, what: RenderableType, soft_wrap: bool = False) -> None:
        """To the log, without the spaces that fill a terminal's line, and to the disk at once: a killed run must leave its last line."""
        if self._file is None or self._log is None:
            return
        with self._log.capture() as text:
            self._log.print(what, soft_wrap=soft_wrap)
        try:
            self._file.writelines(line.rstrip() + "\n" for line in text.get().splitlines())
            self._file.flush()
        except OSError as error:
            # The log is a copy: training, and the message about the full disk that will follow, go on without it.
            self.close()
            self.screen.print(f"warning: train.log is no longer written: {error.strerror or error}", soft_wrap=True)


class LogHandler(logging.Handler):
    """Shows log records through a console, tracebacks included: INFO as it is, others with their level."""

    def __init__(self, console: Console, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record).rstrip()
            level = record.levelname.lower()
            styles = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
            self._console.say(message if level == "info" else Text.assemble((f"{level}: ", styles.get(level, "dim")), message))
        except Exception:
            self.handleError(record)


def _traceback(error: BaseException, width: int) -> RenderableType:
    # Without locals: they would print whole tensors and the user's data.
    return Traceback.from_exception(type(error), error, error.__traceback__, width=width, extra_lines=1, show_locals=False)
