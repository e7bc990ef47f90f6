"""What people and programs see of a run: console, files, pictures, TensorBoard, and the table of a sweep.

The names are imported when they are asked for: the table of a sweep needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipes.reporting.console import Console, LogHandler
    from recipes.reporting.figures import Figures
    from recipes.reporting.files import Files
    from recipes.reporting.leaderboard import write_leaderboard
    from recipes.reporting.listeners import make_listeners
    from recipes.reporting.progress import ConsoleReport
    from recipes.reporting.tensorboard import TensorBoard

_HOMES = {
    "Console": "console",
    "ConsoleReport": "progress",
    "Figures": "figures",
    "Files": "files",
    "LogHandler": "console",
    "TensorBoard": "tensorboard",
    "make_listeners": "listeners",
    "write_leaderboard": "leaderboard",
}
__all__ = ["Console", "ConsoleReport", "Figures", "Files", "LogHandler", "TensorBoard", "make_listeners", "write_leaderboard"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recipes.reporting' has no attribute '{name}'")
    return getattr(import_module(f"recipes.reporting.{_HOMES[name]}"), name)
