"""Jobs of a sweep that differ in nothing but the fold or the seed: their mean and spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipes.reporting.leaderboard import JobRow

REPEATED = ("data.fold", "seed")


@dataclass(frozen=True)
class Repeats:
    """Jobs of one recipe."""

    overrides: dict[str, str]  # without the fold and the seed
    jobs: int  # finished ones
    scores: dict[str, tuple[float, float]]  # metric -> (mean, standard deviation over the jobs); those that every finished job has


def repeats(rows: Sequence[JobRow]) -> list[Repeats]:
    """Recipes that ran more than once, in the order of the rows; empty where no job repeats another."""
    groups: dict[tuple[tuple[str, str], ...], list[JobRow]] = {}
    for row in rows:
        if row.status == "finished":
            kept = tuple((key, value) for key, value in row.overrides.items() if key not in REPEATED)
            groups.setdefault(kept, []).append(row)
    found = []
    for overrides, members in groups.items():
        if len(members) > 1:
            names = [n for n in members[0].metrics if all(math.isfinite(m.metrics.get(n, math.nan)) for m in members)]
            values = {n: [m.metrics[n] for m in members] for n in names}
            scores = {n: (statistics.mean(v), statistics.stdev(v)) for n, v in values.items()}
            found.append(Repeats(dict(overrides), len(members), scores))
    return found
