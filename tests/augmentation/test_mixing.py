"""Mixtures and noise: coefficients, partners, shares of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from recipes.augmentation import GaussianNoise, ManifoldMixup, Mixup, Remix
from recipes.data.batch import Batch
from recipes.errors import ConfigError

COUNTS = np.array([900, 300, 299, 10])
DENSE: dict[str, Any] = {"class_names": ("a", "b"), "class_counts": np.array([9, 3]), "form": "dense"}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def table(size: int, classes: int = 4, features: int = 3) -> Batch:
    draws = rng(9)
    rows = torch.arange(size)
    targets = torch.from_numpy(draws.integers(0, classes, size=size))
    return Batch(rows, targets, torch.ones(size), features_BF=torch.from_numpy(draws.normal(size=(size, features)).astype(np.float32)))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_draws_a_beta_for_each_sample_and_a_permutation(alpha: float) -> None:
    batch = table(4000)
    mixed = Mixup(alpha=alpha)(batch, rng())
    assert mixed.partner is not None
    assert mixed.mix_B2 is not None
    assert mixed.share_B is not None
    assert mixed.mix_at == "embedding"
    assert sorted(mixed.partner.rows.tolist()) == list(range(4000))
    assert (mixed.partner.rows != batch.rows).float().mean() > 0.99
    order = mixed.partner.rows
    assert torch.equal(mixed.partner.targets, batch.targets[order])
    assert torch.equal(mixed.partner.features_BF, batch.features_BF[order])  # type: ignore[index]
    np.testing.assert_allclose(mixed.mix_B2.sum(dim=1), 1, atol=1e-6)
    assert torch.equal(mixed.share_B, mixed.mix_B2[:, 0])
    assert stats.kstest(mixed.share_B.double().numpy(), "beta", args=(alpha, alpha)).pvalue > 0.01
    assert torch.equal(mixed.targets, batch.targets)
    assert torch.equal(mixed.features_BF, batch.features_BF)  # type: ignore[arg-type]


def test_manifold_mixup_draws_the_layer_for_each_update() -> None:
    layers = [ManifoldMixup()(table(4), rng(seed)).mix_at for seed in range(400)]
    assert layers.count("hidden") == pytest.approx(200, abs=40)
    assert {ManifoldMixup(layers=["hidden"])(table(4), rng(seed)).mix_at for seed in range(10)} == {"hidden"}


@pytest.mark.parametrize(
    ("own", "other", "lam", "share"),
    [
        (0, 1, 0.4, 0.0),  # 900 >= 3 * 300, and less than half of the mixture is of the large class
        (0, 1, 0.5, 0.5),
        (0, 1, 0.9, 0.9),
        (1, 0, 0.6, 1.0),
        (1, 0, 0.5, 0.5),
        (1, 0, 0.1, 0.1),
        (1, 2, 0.4, 0.4),  # of similar size
        (0, 2, 0.4, 0.0),
        (3, 0, 0.9, 1.0),
        (3, 3, 0.3, 0.3),
    ],
)
def test_remix_gives_the_label_to_the_rarer_class(own: int, other: int, lam: float, share: float) -> None:
    mix_B2 = torch.tensor([[lam, 1 - lam]])
    remix = Remix("multiclass", COUNTS)
    assert remix.share(mix_B2, torch.tensor([own]), torch.tensor([other])).item() == pytest.approx(share)


def test_remix_mixes_inputs_as_mixup_does() -> None:
    batch = table(500)
    mixed, plain = Remix("multiclass", COUNTS)(batch, rng()), Mixup()(batch, rng())
    never = Remix("multiclass", COUNTS, tau=0.0)(batch, rng())
    assert torch.equal(mixed.mix_B2, plain.mix_B2)  # type: ignore[arg-type]
    assert torch.equal(never.share_B, plain.share_B)  # type: ignore[arg-type]
    moved = mixed.share_B != plain.share_B
    assert moved.any()  # type: ignore[union-attr]
    counts = torch.from_numpy(COUNTS)
    own, other = counts[batch.targets], counts[mixed.partner.targets]  # type: ignore[union-attr]
    # Whatever moved, moved towards the rarer of the two.
    assert torch.equal((mixed.share_B > plain.share_B)[moved], (own < other)[moved])  # type: ignore[operator,index]


def test_remix_is_for_one_class_a_row() -> None:
    with pytest.raises(ConfigError, match="augment=mixup"):
        Remix("multilabel", COUNTS)


def test_noise_has_the_deviation_that_it_is_asked_for_on_numbers_alone() -> None:
    batch = table(20_000, classes=2)
    continuous = np.array([True, False, True])
    noise = GaussianNoise(**DENSE, continuous=continuous, std=0.3)(batch, rng()).features_BF - batch.features_BF  # type: ignore[operator]
    assert not noise[:, 1].any()
    for column in (0, 2):
        assert stats.kstest(noise[:, column].double().numpy() / 0.3, "norm").pvalue > 0.01
    assert abs(np.corrcoef(noise[:, 0], noise[:, 2])[0, 1]) < 0.03


def test_noise_on_the_chosen_classes() -> None:
    batch = table(200, classes=2)
    changed = (GaussianNoise(**DENSE, only="minority")(batch, rng()).features_BF != batch.features_BF).any(dim=1)  # type: ignore[union-attr]
    assert torch.equal(changed, batch.targets == 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"form": "tfidf"}, "is text"), ({"form": "sequence"}, "is text"), ({"continuous": np.zeros(3, bool)}, "no column")],
)
def test_noise_needs_numbers(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"{message}.*augment=mixup"):
        GaussianNoise(**DENSE | change)


@pytest.mark.parametrize("augment", [Mixup(), ManifoldMixup(), Remix("binary", np.array([9, 1])), GaussianNoise(**DENSE)])
def test_mixtures_of_the_sampler_are_refused(augment: Any) -> None:
    batch = table(4, classes=2)
    batch.partner, batch.mix_B2 = table(4), torch.full((4, 2), 0.5)
    with pytest.raises(ConfigError, match="sampler=smote deals mixtures"):
        augment(batch, rng())
