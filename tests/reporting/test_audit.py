"""The audit: which prior a recipe makes of the classes, in lines and in a table."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recipes.data.facts import Facts
from recipes.priors import Declaration, Ledger
from recipes.reporting.audit import audit_lines, audit_table, outcome_lines
from recipes.training.events import Audit

COUNTS = np.array([10, 900, 90])
FACTS = Facts("multiclass", "text", ("rare", "usual", "some"), COUNTS, 1000)
NATURAL = COUNTS / 1000
EVEN = np.full(3, 1 / 3)


def audit(ledger: Ledger, dealt: list[int], notes: tuple[str, ...] = (), starts_at: int = 0) -> Audit:
    rows = np.array(dealt)
    seen = np.divide(rows, COUNTS, out=np.full(3, np.nan), where=COUNTS > 0)
    return Audit(ledger, rows, seen, list(notes), starts_at)


PLAIN = audit(Ledger("multiclass", NATURAL, NATURAL), [10, 900, 90])


def test_a_recipe_that_moves_nothing_says_so_and_has_no_table() -> None:
    assert audit_lines(PLAIN, FACTS) == [("prior", "as in the data: the probabilities need no correction")]
    assert audit_table(PLAIN, FACTS) is None


def test_what_is_put_back_in_closed_form() -> None:
    weighed = audit(Ledger("multiclass", NATURAL, NATURAL, Declaration(weights_C=1 / NATURAL)), [10, 900, 90])
    assert audit_lines(weighed, FACTS) == [("prior", "moved by the recipe; the probabilities are put back in closed form")]


@pytest.mark.parametrize(
    ("sampled", "told"),
    [
        (EVEN, "moved by the recipe, and put back only in part:"),
        (NATURAL, "as in the data, but the probabilities are not exact:"),
    ],
)
def test_every_reason_why_it_is_not_exact_has_a_line(sampled: np.ndarray, told: str) -> None:
    ledger = Ledger("multiclass", NATURAL, sampled, approximate=("rows are mixed", "the hardest are kept"))
    assert audit_lines(audit(ledger, [10, 900, 90]), FACTS) == [
        ("prior", told),
        ("prior", "  rows are mixed"),
        ("prior", "  the hardest are kept"),
    ]


def test_a_late_start_and_notes() -> None:
    late = audit(Ledger("multiclass", NATURAL, EVEN), [30, 900, 90], ("batches are stratified",), starts_at=12_000)
    assert audit_lines(late, FACTS)[1:] == [
        ("rebalanced", "from step 12,000 on; rows and losses are plain before"),
        ("note", "batches are stratified"),
    ]


def test_a_note_may_be_a_warning() -> None:
    told = audit_lines(audit(PLAIN.ledger, [10, 900, 90], ("warning: few rows", "some warning: none")), FACTS)
    assert told[1:] == [("warning", "few rows"), ("note", "some warning: none")]


@pytest.mark.parametrize(("dealt", "warned"), [(200, False), (201, True), (3330, True)])
def test_a_row_that_is_dealt_above_20_times_an_epoch_is_warned_of(dealt: int, warned: bool) -> None:
    """10 rows of the class, so 200 samples are 20 each."""
    lines = audit_lines(audit(Ledger("multiclass", NATURAL, EVEN), [dealt, 900, 90]), FACTS)
    told = [text for label, text in lines if label == "warning"]
    assert told == ([f"each row of 'rare' is dealt {dealt / 10:.0f} times an epoch: it may be learned by heart"] if warned else [])


def test_a_long_name_is_shortened_and_a_class_without_rows_is_none_to_warn_of() -> None:
    facts = dataclasses.replace(FACTS, class_names=("x" * 80, "usual", "none"), class_counts=np.array([10, 900, 0]))
    seen = np.array([50.0, 1.0, np.nan])
    lines = audit_lines(Audit(Ledger("multiclass", NATURAL, EVEN), np.array([500, 900, 0]), seen, []), facts)
    (warning,) = [text for label, text in lines if label == "warning"]
    assert "dealt 50 times" in warning
    assert len(warning) < 110
    assert audit_lines(Audit(Ledger("multiclass", NATURAL, EVEN), np.zeros(3), np.full(3, np.nan), []), facts)


def test_the_table_has_the_numbers_of_the_ledger_the_most_frequent_class_first() -> None:
    """q w e^-a as shares of one, and log(pi) - log(q w) + a, worked out here."""
    weights_C, adjust_C = np.array([2.0, 0.5, 1.0]), np.array([0.0, 0.25, -0.5])
    ledger = Ledger("multiclass", NATURAL, EVEN, Declaration(weights_C=weights_C, adjust_C=adjust_C))
    table = audit_table(audit(ledger, [333, 333, 333]), FACTS)
    assert table is not None
    header, rows = table
    assert [title.replace("\n", " ") for title in header] == [
        "class", "natural prior", "sampled q", "weight w", "adjust a", "fitted prior", "log correction", "seen an epoch",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["usual", "some", "rare"]
    joint_C = EVEN * weights_C * np.exp(-adjust_C)
    for row, c in zip(rows, (1, 2, 0), strict=True):
        correction = np.log(NATURAL[c]) - np.log(EVEN[c] * weights_C[c]) + adjust_C[c]
        expected = [NATURAL[c], EVEN[c], weights_C[c], adjust_C[c], joint_C[c] / joint_C.sum(), correction, 333 / COUNTS[c]]
        np.testing.assert_allclose([float(cell.removesuffix("x")) for cell in row[1:]], expected, atol=0.05, rtol=0.01)
    assert rows[2][6:] == [f"{np.log(0.01 * 3 / 2):+.2f}", "33.3x"]


def test_a_share_below_a_hundredth_keeps_two_digits() -> None:
    shares = np.array([0.00012, 0.9, 0.09988])
    table = audit_table(audit(Ledger("multiclass", shares, EVEN), [10, 900, 90]), FACTS)
    assert table is not None
    assert [row[1] for row in table[1]] == ["0.900", "0.100", "0.00012"]


def test_rows_that_are_only_repeated_have_a_table_too() -> None:
    """The shares stay, and an epoch is three times as long."""
    table = audit_table(audit(Ledger("multiclass", NATURAL, NATURAL), [30, 2700, 270]), FACTS)
    assert table is not None
    assert [row[-1] for row in table[1]] == ["3.0x"] * 3


def test_labels_are_called_labels() -> None:
    facts = dataclasses.replace(FACTS, task="multilabel")
    table = audit_table(audit(Ledger("multilabel", NATURAL, EVEN), [333, 333, 333]), facts)
    assert table is not None
    assert table[0][0] == "label"


def test_the_end_tells_the_decision_and_calibration_before_and_after(played) -> None:
    before, after = {"log_loss": 0.51234, "ece": 0.2}, {"log_loss": 0.3, "ece": 0.01}
    result = dataclasses.replace(
        played.result,
        decision="f1: probability of at least 0.3",
        calibrated="prior: closed form",
        calibration={"val": {"before": before, "after": after}, "test": {"before": before, "after": before}},
    )
    assert outcome_lines(result) == [
        ("decision", "f1: probability of at least 0.3"),
        ("calibration", "prior: closed form"),
        ("calibration", "val: log_loss 0.5123 -> 0.3000, ece 0.2000 -> 0.0100  (the network's own -> corrected)"),
    ]
    assert outcome_lines(played.result) == []
