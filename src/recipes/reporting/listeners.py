"""Everything that listens to a training run, in the order in which it has to hear."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from recipes.config import build
from recipes.reporting.console import Console
from recipes.reporting.figures import Figures
from recipes.reporting.files import Files
from recipes.reporting.progress import ConsoleReport, Mode
from recipes.training.events import Listener


def make_listeners(
    logger: Mapping[str, Any], progress: Mode, console: Console, rows: Mapping[str, np.ndarray], trust: Collection[str] = ()
) -> list[Listener]:
    """Files, console and pictures, and the logger that the config chose; `logger` are its settings, `rows` those of `Files`.

    What the console says at the end is on the disk by then; pictures take longer, and the logger finds them drawn. They are drawn for a
    logger whose attribute `figures` is true, and for no other: in a sweep of small jobs they would be most of the work.
    """
    chosen = build(Listener, logger, "logger", trust=trust)
    pictures: list[Listener] = [Figures()] if getattr(chosen, "figures", False) else []
    return [Files(rows), ConsoleReport(console, progress), *pictures, chosen]
