"""The user's mistakes, told apart from bugs: the command line prints them without a traceback and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 20  # names that one message lists at most: it has to fit a screen


class RecipesError(Exception):
    """A mistake that the user can mend. The message says where, what was given, what is allowed and the nearest fix."""


class ConfigError(RecipesError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(RecipesError):
    """A file or a table that cannot be used as it is."""


class CheckpointError(RecipesError):
    """A checkpoint or a run directory that cannot be written, read or continued."""


class NonFiniteError(RecipesError):
    """Training met a loss or a gradient that is not a finite number."""


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` was probably meant to be, or None when nothing is close."""
    close = difflib.get_close_matches(str(given), list(allowed), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Half a sentence for the end of an error: the nearest name when there is one, else all that are allowed."""
    allowed = [str(name) for name in allowed]
    close = nearest(given, allowed)
    if close is not None:
        return f"did you mean '{close}'?"
    shown = ", ".join(allowed[:LISTED]) + (f", ... ({len(allowed) - LISTED} more)" if len(allowed) > LISTED else "")
    return f"allowed: {shown}" if allowed else "nothing is allowed here"
