"""Losses for long tails against numbers computed by hand, and the losses that they contain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recipes.errors import ConfigError
from recipes.losses import CDT, GCE, LDAM, LMF, VS, BalancedSoftmax, LogitAdjusted, Poly1, class_weights

LOGITS = torch.tensor([[2, 0.5, -1], [0.1, 0.2, 0.3], [-1, 3, 0], [0, 0, 0]], dtype=torch.float64)
COSINES = torch.tensor([[0.5, 0.3, -0.2], [0.1, 0.2, 0.3], [-0.4, 0.6, 0], [0.2, 0.1, 0.05]], dtype=torch.float64)
TARGETS = torch.tensor([0, 2, 1, 2])
COUNTS, NAMES = np.array([1000, 100, 10]), ("a", "b", "c")
EQUAL = np.array([7, 7, 7])
CE = F.cross_entropy(LOGITS, TARGETS, reduction="none")


def of_rows(cls: Any, **settings: Any) -> Any:
    """With margins, divisors and what is dealt from the same counts."""
    return cls("multiclass", *([COUNTS, COUNTS] if issubclass(cls, LDAM | VS) else [COUNTS]), NAMES, **settings)


@pytest.mark.parametrize(
    ("cls", "settings", "mean"),
    [
        (BalancedSoftmax, {}, 2.3563510359),
        (LogitAdjusted, {}, 2.3563510359),
        (VS, {}, 2.5179084379),
        (Poly1, {}, 0.9963537541),
    ],
)
def test_means(cls: Any, settings: dict[str, Any], mean: float) -> None:
    assert of_rows(cls, **settings)(LOGITS, TARGETS).mean().item() == pytest.approx(mean, abs=1e-9)


def test_ldam() -> None:
    loss = of_rows(LDAM)
    np.testing.assert_allclose(loss.margins_C, [0.158113883, 0.2811706626, 0.5], atol=1e-9)
    expected = torch.tensor([0.2504667474, 12.0485932044, 0.0000701476, 19.5485873548], dtype=torch.float64)
    torch.testing.assert_close(loss(30 * COSINES, TARGETS), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (LDAM, {"max_margin": 0.0, "scale": 1.0}),
        (LMF, {"max_margin": 0.0, "focal_part": 0.0}),
        (LMF, {"margin_part": 0.0, "gamma": 0.0}),
        (LogitAdjusted, {"tau": 0.0}),
        (VS, {"gamma": 0.0, "tau": 0.0}),
        (CDT, {"gamma": 0.0}),
        (Poly1, {"epsilon": 0.0}),
    ],
)
def test_cross_entropy_is_the_limit(cls: Any, settings: dict[str, Any]) -> None:
    torch.testing.assert_close(of_rows(cls, **settings)(LOGITS, TARGETS), CE, rtol=1e-12, atol=1e-14)


def test_each_loss_is_the_next_one_under_a_setting() -> None:
    torch.testing.assert_close(of_rows(VS, gamma=0.0)(LOGITS, TARGETS), of_rows(LogitAdjusted)(LOGITS, TARGETS))
    torch.testing.assert_close(of_rows(VS, tau=0.0)(LOGITS, TARGETS), of_rows(CDT)(LOGITS, TARGETS))
    torch.testing.assert_close(of_rows(GCE, q=1e-9)(LOGITS, TARGETS), CE)
    torch.testing.assert_close(of_rows(GCE, q=1.0)(LOGITS, TARGETS), 1 - (-CE).exp())
    p = (-CE).exp()
    torch.testing.assert_close(of_rows(GCE)(LOGITS, TARGETS), (1 - p**0.7) / 0.7)
    torch.testing.assert_close(of_rows(Poly1, gamma=2.0)(LOGITS, TARGETS), (1 - p) ** 2 * CE + (1 - p) ** 3)
    torch.testing.assert_close(of_rows(LMF, focal_part=3.0)(LOGITS, TARGETS), of_rows(LDAM)(LOGITS, TARGETS) + 3 * (1 - p) ** 2 * CE)


def test_counts_or_shares_adjust_alike() -> None:
    """log n and log pi differ by a constant, which softmax does not see."""
    for tau in (0.5, 1.0, 2.0):
        by_counts = F.cross_entropy(LOGITS + tau * torch.tensor(COUNTS).double().log(), TARGETS, reduction="none")
        torch.testing.assert_close(of_rows(LogitAdjusted, tau=tau)(LOGITS, TARGETS), by_counts)


def test_what_is_dealt_weighs_and_adjusts_while_margins_and_divisors_are_of_the_rows() -> None:
    dealt_equally = VS("multiclass", COUNTS, EQUAL, NAMES, weights="balanced")
    torch.testing.assert_close(dealt_equally(LOGITS, TARGETS), of_rows(CDT)(LOGITS, TARGETS))
    ldam = LDAM("multiclass", COUNTS, EQUAL, NAMES, weights="balanced")
    torch.testing.assert_close(ldam(LOGITS, TARGETS), of_rows(LDAM)(LOGITS, TARGETS))
    torch.testing.assert_close(BalancedSoftmax("multiclass", EQUAL, NAMES)(LOGITS, TARGETS), CE)


def test_balanced_weights_leave_nothing_to_adjust(caplog: pytest.LogCaptureFixture) -> None:
    found = of_rows(BalancedSoftmax, weights="balanced")(LOGITS, TARGETS)
    torch.testing.assert_close(found, class_weights("balanced", COUNTS, NAMES)[TARGETS] * CE)
    assert "what the weights leave" in caplog.text


@pytest.mark.parametrize("cls", [BalancedSoftmax, VS, CDT, LDAM, LMF, Poly1, GCE])
def test_weights_multiply_the_whole_and_shape_nothing(cls: Any) -> None:
    """A public LDAM implementation takes the focal factor from the weighted cross-entropy: (1 - exp(-w CE))^gamma."""
    weights = class_weights([1.0, 2.0, 5.0], COUNTS, NAMES)
    loss = of_rows(cls, weights=[1.0, 2.0, 5.0])
    weighted = loss(LOGITS, TARGETS)
    loss.register_buffer("weights_C", torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(weighted, weights[TARGETS] * loss(LOGITS, TARGETS))
    assert loss.explicit_weights
    assert not of_rows(cls).explicit_weights


def test_margins_stay_while_weights_wait() -> None:
    loss = of_rows(LDAM, weights="effective_number")
    loss.active = False
    torch.testing.assert_close(loss(LOGITS, TARGETS), of_rows(LDAM)(LOGITS, TARGETS))
    assert loss.rebalances
    assert not of_rows(LDAM).rebalances


def test_a_class_without_rows_counts_as_the_rarest() -> None:
    counts = np.array([1000, 10, 0])
    for cls in (VS, CDT, LDAM, LMF):
        assert torch.isfinite(cls("multiclass", counts, counts, NAMES)(LOGITS, TARGETS)).all()
    adjust = LogitAdjusted("multiclass", counts, NAMES).adjust_C
    assert adjust[1] == adjust[2]
    assert LDAM("multiclass", counts, counts, NAMES).margins_C.tolist()[1:] == [0.5, 0.5]


def test_margins_ask_for_cosines() -> None:
    assert LDAM.asks_of_model({"max_margin": 0.5}) == {"head": "cosine", "scale": 30.0}
    assert LMF.asks_of_model({"scale": 16.0}) == {"head": "cosine", "scale": 16.0}
    with pytest.raises(ConfigError, match="leave no loss"):
        of_rows(LMF, margin_part=0.0, focal_part=0.0)
