"""The audit: what the recipe makes of the classes, and how probabilities find back. C classes or labels."""

from __future__ import annotations

import numpy as np

from recipes.data.facts import Facts
from recipes.reporting import formatting as form
from recipes.training.events import Audit, Result

OFTEN = 20  # dealt more often than this in an epoch, a row is learned by heart


def audit_lines(audit: Audit, facts: Facts) -> list[tuple[str, str]]:
    """Labelled lines for the block at the start; a note that begins with "warning: " is one."""
    ledger = audit.ledger
    lines = []
    if ledger.trivial and ledger.exact:
        lines.append(("prior", "as in the data: the probabilities need no correction"))
    elif ledger.exact:
        lines.append(("prior", "moved by the recipe; the probabilities are put back in closed form"))
    else:
        moved = (
            "moved by the recipe, and put back only in part"
            if not ledger.trivial
            else "as in the data, but the probabilities are not exact"
        )
        lines.append(("prior", f"{moved}:"))
        lines += [("prior", f"  {reason}") for reason in ledger.approximate]
    if audit.starts_at:
        lines.append(("rebalanced", f"from step {audit.starts_at:,} on; rows and losses are plain before"))
    seen = audit.seen[np.isfinite(audit.seen)]
    if len(seen) and seen.max() > OFTEN:
        name = form.shorten(facts.class_names[int(np.nanargmax(audit.seen))], 30)
        lines.append(("warning", f"each row of '{name}' is dealt {seen.max():.0f} times an epoch: it may be learned by heart"))
    for note in audit.notes:
        warning = note.startswith("warning: ")
        lines.append(("warning", note.removeprefix("warning: ")) if warning else ("note", note))
    return lines


def audit_table(audit: Audit, facts: Facts) -> tuple[list[str], list[list[str]]] | None:
    """Header and one row a class, the most frequent first; None where the recipe moves nothing."""
    ledger = audit.ledger
    if ledger.trivial and np.allclose(audit.seen[np.isfinite(audit.seen)], 1, atol=0.01):
        return None
    header = [
        "class" if ledger.task != "multilabel" else "label",
        "natural\nprior",
        "sampled\nq",
        "weight\nw",
        "adjust\na",
        "fitted\nprior",
        "log\ncorrection",
        "seen an\nepoch",
    ]
    columns = (ledger.natural_C, ledger.sampled_C, ledger.weights_C, ledger.adjust_C, ledger.effective_C, ledger.correction_C, audit.seen)
    rows = []
    for c in np.argsort(-facts.class_counts, kind="stable"):
        shares = [_share(float(column[c])) for column in columns[:2]]
        cells = [
            f"{columns[2][c]:.3g}",
            f"{columns[3][c]:.2f}",
            _share(float(columns[4][c])),
            f"{columns[5][c]:+.2f}",
            f"{columns[6][c]:.1f}x",
        ]
        rows.append([facts.class_names[int(c)], *shares, *cells])
    return header, rows


def outcome_lines(result: Result) -> list[tuple[str, str]]:
    """Labelled lines for the block at the end: the decision, and calibration before and after."""
    lines = []
    if result.decision:
        lines.append(("decision", result.decision))
    if result.calibrated:
        lines.append(("calibration", result.calibrated))
    for split, both in result.calibration.items():
        before, after = both["before"], both["after"]
        moved = [f"{name} {form.number(before[name])} -> {form.number(after[name])}" for name in ("log_loss", "ece") if name in after]
        if before != after:
            lines.append(("calibration", f"{split}: {', '.join(moved)}  (the network's own -> corrected)"))
    return lines


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"
