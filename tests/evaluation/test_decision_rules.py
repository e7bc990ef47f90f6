"""Cuts and offsets against brute force, closed forms and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn import metrics as sk

from recipes.errors import ConfigError
from recipes.evaluation import (
    BalancedAccuracyThreshold,
    CostThreshold,
    F1Threshold,
    FBetaThreshold,
    FixedThreshold,
    GMeanThreshold,
    MCCThreshold,
    NoThreshold,
    Offsets,
    PerLabel,
    PrecisionAtRecall,
    RecallAtPrecision,
    Rule,
    confusion_matrix,
    evaluate,
)
from recipes.evaluation.ascent import OBJECTIVES, resampled

NAMES = ("no", "yes")


def rng():
    return np.random.default_rng(7)


def two(margins):
    return np.stack([np.zeros(len(margins)), margins], axis=1)


def fit(option, margins, targets, weights=None):
    return option.fit(two(margins), targets, "binary", NAMES, weights, rng())


def sample(rows, seed, ties=False):
    """Log-odds whose probabilities are right, and targets; `ties` rounds the log-odds."""
    own = np.random.default_rng(seed)
    margins = own.normal(-1.5, 1.5, rows)
    targets = (own.random(rows) < expit(margins)).astype(int)
    return np.round(margins, 1) if ties else margins, targets


def geometric(targets, decided, sample_weight=None):
    recalls = sk.recall_score(targets, decided, average=None, labels=[0, 1], sample_weight=sample_weight, zero_division=0)
    return float(np.sqrt(recalls.prod()))


QUIET = {"min_positives": 1, "bootstrap": 0}
CUTS = {
    "f1": (F1Threshold(**QUIET), lambda t, d, w: sk.f1_score(t, d, sample_weight=w, zero_division=0)),
    "f2": (FBetaThreshold(**QUIET), lambda t, d, w: sk.fbeta_score(t, d, beta=2, sample_weight=w, zero_division=0)),
    "f.5": (FBetaThreshold(beta=0.5, **QUIET), lambda t, d, w: sk.fbeta_score(t, d, beta=0.5, sample_weight=w, zero_division=0)),
    "mcc": (MCCThreshold(**QUIET), lambda t, d, w: sk.matthews_corrcoef(t, d, sample_weight=w)),
    "balanced": (BalancedAccuracyThreshold(**QUIET), lambda t, d, w: sk.balanced_accuracy_score(t, d, sample_weight=w)),
    "g_mean": (GMeanThreshold(**QUIET), geometric),
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_cut_is_better(name, ties, weighted):
    option, score = CUTS[name]
    for seed in range(5):
        margins, targets = sample(60, seed, ties)
        weights = np.random.default_rng(seed).random(60) + 0.1 if weighted else None
        rule = fit(option, margins, targets, weights)
        values = [score(targets, (margins >= cut).astype(int), weights) for cut in [*np.unique(margins), np.inf]]
        reached = score(targets, rule.decide(two(margins), two(margins), "binary"), weights)
        assert reached == pytest.approx(max(values), abs=1e-12)
        assert rule.value == pytest.approx(reached, abs=1e-12)


@pytest.mark.parametrize("least", [0.5, 0.8, 0.95])
def test_recall_at_precision_and_its_reverse_equal_brute_force(least):
    for seed in range(5):
        margins, targets = sample(80, seed, ties=seed % 2 == 0)
        pairs = [(sk.precision_score(targets, margins >= c), sk.recall_score(targets, margins >= c)) for c in np.unique(margins)]
        decided = {}
        for option in (RecallAtPrecision(precision=least, **QUIET), PrecisionAtRecall(recall=least, **QUIET)):
            rule = fit(option, margins, targets)
            own = rule.decide(two(margins), two(margins), "binary")
            decided[option.name] = sk.precision_score(targets, own), sk.recall_score(targets, own), rule
        precision, recall, rule = decided["recall_at_precision"]
        possible = [r for p, r in pairs if p >= least]
        if possible:
            assert precision >= least
            assert recall == rule.value == pytest.approx(max(possible))
        else:
            assert precision == pytest.approx(max(p for p, _ in pairs))
            assert f"no cut has precision {least:g} on validation" in rule.reason
        precision, recall, rule = decided["precision_at_recall"]
        assert recall >= least
        best = max(p for p, r in pairs if r >= least)
        assert precision == rule.value == pytest.approx(best)
        assert recall == max(r for p, r in pairs if p == best)


def test_the_best_threshold_for_f1_is_half_of_it():
    """Lipton et al. 2014, on probabilities that are right: weights make the expectation exact, without any draw."""
    share = np.random.default_rng(0).beta(0.5, 3, 5000)
    margins, targets = np.tile(logit(share), 2), np.repeat([1, 0], 5000)
    rule = fit(F1Threshold(bootstrap=0), margins, targets, np.concatenate([share, 1 - share]))
    assert rule.thresholds("binary")[0] == pytest.approx(rule.value / 2, abs=1e-3)


def test_the_best_threshold_for_balanced_accuracy_is_the_prevalence():
    share = np.random.default_rng(0).beta(0.5, 3, 5000)
    margins, targets = np.tile(logit(share), 2), np.repeat([1, 0], 5000)
    rule = fit(BalancedAccuracyThreshold(bootstrap=0), margins, targets, np.concatenate([share, 1 - share]))
    assert rule.thresholds("binary")[0] == pytest.approx(share.mean(), abs=1e-3)


def test_scikit_learns_grid_does_no_better():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import TunedThresholdClassifierCV

    own = np.random.default_rng(3)
    X = own.normal(size=(800, 3))
    y = (own.random(800) < expit(X @ [1, -1, 0.5] - 2)).astype(int)
    model = LogisticRegression().fit(X, y)
    tuned = TunedThresholdClassifierCV(model, scoring="f1", cv="prefit", refit=False, thresholds=100).fit(X, y)
    rule = fit(F1Threshold(bootstrap=0), model.decision_function(X), y)
    grid = sk.f1_score(y, tuned.predict(X))
    assert grid <= rule.value + 1e-12
    assert rule.value == pytest.approx(grid, abs=0.01)


def test_the_cut_is_halfway_and_of_equals_the_one_with_fewest_positives():
    margins = np.array([-2.0, -1.0, 1.0, 2.0])
    rule = fit(F1Threshold(**QUIET), margins, np.array([0, 0, 1, 1]))
    assert rule.offsets_C.tolist() == [0, 0]
    rule = fit(MCCThreshold(**QUIET), margins, np.array([1, 0, 0, 1]))  # deciding 1 or 3 rows positive is equally good
    assert rule.decide(two(margins), two(margins), "binary").tolist() == [0, 0, 0, 1]
    everything = fit(F1Threshold(**QUIET), np.array([0.0, 3.0]), np.array([1, 0]))
    assert everything.thresholds("binary")[0] == pytest.approx(expit(-1.0))


def test_neighbouring_floats_are_kept_apart():
    low = 1.0
    high = np.nextafter(low, 2)
    rule = fit(F1Threshold(**QUIET), np.array([low, high]), np.array([0, 1]))
    assert rule.decide(two([low, high]), two([low, high]), "binary").tolist() == [0, 1]


@pytest.mark.parametrize("costs", [(1.0, 1.0), (1.0, 9.0), (5.0, 0.5)])
def test_costs_are_weighed_by_bayes(costs):
    wrong_positive, missed = costs
    rule = fit(CostThreshold(false_positive=wrong_positive, false_negative=missed), *sample(50, 0))
    assert rule.thresholds("binary")[0] == pytest.approx(wrong_positive / (wrong_positive + missed))
    matrix = fit(CostThreshold(matrix=[[0, wrong_positive], [missed, 0]]), *sample(50, 0))
    grid = two(np.linspace(-6, 6, 500))
    np.testing.assert_array_equal(matrix.decide(grid, grid, "binary"), rule.decide(grid, grid, "binary"))
    assert rule.value == pytest.approx(matrix.value)


def test_a_matrix_of_costs_minimises_the_expected_cost_of_each_row():
    """Costs that depend on both classes: no offset on the logits decides like that."""
    costs = [[0, 1, 4], [2, 0, 1], [10, 3, 0]]
    logits = np.random.default_rng(0).normal(size=(300, 3)) * 2
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rule = CostThreshold(matrix=costs).fit(logits, np.zeros(300, dtype=int), "multiclass", tuple("abc"), None, rng())
    decided = rule.decide(logits, logits, "multiclass")
    expected = [[sum(p[c] * costs[c][d] for c in range(3)) for d in range(3)] for p in share]
    assert decided.tolist() == np.argmin(expected, axis=1).tolist()
    assert rule.value == pytest.approx(np.mean([costs[0][d] for d in decided]))


@pytest.mark.parametrize(
    ("option", "task", "match"),
    [
        (CostThreshold(), "multiclass", "3 classes need 3 rows of 3 costs"),
        (CostThreshold(matrix=[[0, 1], [1, 0]]), "multiclass", r"2 rows of \[2\] numbers for 3 classes; .* a, b, c"),
        (CostThreshold(matrix=[[0, 1], [1, 0]]), "multilabel", "labels are decided one by one"),
        (FixedThreshold(value=[0.5, 0.4]), "multilabel", "2 thresholds for 3 labels; give one number, or one for each"),
        (FixedThreshold(value=[0.5, 0.4]), "binary", "a binary task has one threshold"),
        (F1Threshold(), "multiclass", "use threshold=offsets"),
        (PerLabel(), "binary", "this one is binary; use threshold=f1"),
        (Offsets(), "multilabel", "use threshold=per_label"),
    ],
)
def test_what_a_task_cannot_have_is_refused_with_the_way_out(option, task, match):
    with pytest.raises(ConfigError, match=match):
        option.check(task, NAMES if task == "binary" else tuple("abc"))


def test_costs_are_given_once():
    with pytest.raises(ConfigError, match="it holds all costs"):
        CostThreshold(false_negative=5.0, matrix=[[0, 1], [1, 0]])


def multilabel(rows=2000, seed=0):
    own = np.random.default_rng(seed)
    logits = own.normal(size=(rows, 4)) + logit([0.5, 0.2, 0.1, 0.01])
    return logits, (own.random(logits.shape) < expit(logits)).astype(np.float32)


def test_each_label_gets_its_own_best_cut_and_a_rare_one_the_common():
    logits, targets = multilabel()
    names = tuple("abcd")
    rule = PerLabel(bootstrap=20).fit(logits, targets, "multilabel", names, None, rng())
    for c in range(3):
        alone = fit(F1Threshold(bootstrap=0), logits[:, c], targets[:, c].astype(int))
        assert rule.offsets_C[c] == alone.offsets_C[1]
    together = F1Threshold(bootstrap=0).fit(logits, targets, "multilabel", names, None, rng())
    assert rule.offsets_C[3] == together.offsets_C[0]
    assert "1 of 4 classes have fewer than 50 rows in validation and get the threshold of all together: d" in rule.reason
    assert rule.interval.shape == (2, 4)
    low, high = rule.interval
    assert ((low <= rule.thresholds("multilabel")) & (rule.thresholds("multilabel") <= high)).all()


def test_one_cut_for_all_labels_is_the_best_of_the_pooled_pairs():
    logits, targets = multilabel(60)
    rule = F1Threshold(**QUIET).fit(logits, targets, "multilabel", tuple("abcd"), None, rng())
    assert len(set(rule.offsets_C)) == 1
    best = max(sk.f1_score(targets, (logits >= cut).astype(int), average="micro", zero_division=0) for cut in np.unique(logits))
    decided = rule.decide(logits, logits, "multilabel").astype(int)
    assert sk.f1_score(targets, decided, average="micro") == rule.value == pytest.approx(best)


def three(rows, seed=0):
    own = np.random.default_rng(seed)
    targets = own.choice(3, rows, p=[0.7, 0.25, 0.05])
    logits = own.normal(size=(rows, 3)) + np.log([0.7, 0.25, 0.05])
    logits[np.arange(rows), targets] += 1.2
    return logits, targets


@pytest.mark.parametrize("objective", ["f1_macro", "balanced_accuracy", "g_mean", "mcc"])
@pytest.mark.parametrize("weighted", [False, True])
def test_offsets_reach_what_they_say_and_no_single_offset_is_better(objective, weighted):
    logits, targets = three(120)
    weights = np.random.default_rng(1).random(120) + 0.2 if weighted else None
    rule = Offsets(objective=objective, min_positives=1).fit(logits, targets, "multiclass", tuple("abc"), weights, rng())

    def value(offsets):
        decided = (logits + offsets).argmax(axis=1)
        return evaluate(logits, targets, "multiclass", tuple("abc"), weights, decided=decided)[0][objective]

    assert value(rule.offsets_C) == pytest.approx(rule.value, abs=1e-9)
    assert rule.value >= value(np.zeros(3))
    for c in range(3):  # brute force along each axis: every place where a decision changes
        others = np.delete(logits + rule.offsets_C, c, axis=1).max(axis=1)
        places = np.sort(others - logits[:, c])
        for place in [places[0] - 1, *(places[1:] + places[:-1]) / 2, places[-1] + 1]:
            moved = rule.offsets_C.copy()
            moved[c] = place
            assert value(moved) <= rule.value + 1e-9


def test_offsets_are_close_to_the_best_of_a_grid():
    logits, targets = three(150, seed=4)
    rule = Offsets(min_positives=1).fit(logits, targets, "multiclass", tuple("abc"), None, rng())
    grid = np.linspace(-2, 4, 61)
    values = []
    for pair in itertools.product(grid, grid):
        decided = (logits + np.array([0, *pair])).argmax(axis=1)
        matrix = confusion_matrix(targets, decided, 3)
        values.append(np.mean(2 * np.diag(matrix) / (matrix.sum(axis=0) + matrix.sum(axis=1))))
    assert rule.value >= max(values) - 0.02


def test_offsets_for_balanced_accuracy_undo_the_prior():
    own = np.random.default_rng(0)
    share = own.dirichlet([3, 1, 0.3], 4000)
    logits, targets = np.log(np.tile(share, (3, 1)) + 1e-12), np.repeat([0, 1, 2], 4000)
    weights = share.T.ravel()
    rule = Offsets(objective="balanced_accuracy").fit(logits, targets, "multiclass", tuple("abc"), weights, rng())
    prior = share.mean(axis=0)
    found = rule.offsets_C - rule.offsets_C[0]
    np.testing.assert_allclose(found, np.log(prior[0]) - np.log(prior), atol=0.1)


def prior_draw(rows, seed):
    """Rows whose logits are their log-probabilities: the best offsets for balanced accuracy are -log prior, up to a constant."""
    own = np.random.default_rng(seed)
    share = own.dirichlet([3, 1, 0.5], rows)
    return np.log(share + 1e-12), (share.cumsum(axis=1) < own.random((rows, 1))).sum(axis=1)


def test_the_interval_of_offsets_covers_and_narrows_with_rows():
    truth = np.log(4.5) - np.log([3, 1, 0.5])
    rules = [
        Offsets(objective="balanced_accuracy", bootstrap=80).fit(*prior_draw(800, seed), "multiclass", tuple("abc"), None, rng())
        for seed in range(30)
    ]
    inside = []
    for rule in rules:
        low, high = rule.interval - rule.offsets_C.mean() + truth.mean()
        assert ((rule.interval[0] <= rule.offsets_C) & (rule.offsets_C <= rule.interval[1])).mean() >= 2 / 3
        inside.append((low <= truth) & (truth <= high))
    assert np.mean(inside) > 0.8
    large = Offsets(objective="balanced_accuracy").fit(*prior_draw(12_800, 0), "multiclass", tuple("abc"), None, rng())
    assert large.interval.shape == (2, 3)
    assert np.diff(large.interval, axis=0).mean() < np.mean([np.diff(rule.interval, axis=0) for rule in rules]) / 1.5
    span = f"(95 % bootstrap {large.interval[0].min():.3f} to {large.interval[1].max():.3f} over all classes)"
    assert span in large.describe("multiclass")


@pytest.mark.parametrize("objective", ["f1_macro", "g_mean", "mcc"])
def test_resamples_of_offsets_leave_the_rule_as_it_is(objective):
    logits, targets = three(400)
    least = int(np.bincount(targets)[2]) + 1
    rules = [
        Offsets(objective=objective, bootstrap=times, min_positives=least).fit(logits, targets, "multiclass", tuple("abc"), None, rng())
        for times in (0, 20, 20)
    ]
    assert rules[0].interval is None
    for rule in rules:
        np.testing.assert_array_equal(rule.offsets_C, rules[0].offsets_C)
    np.testing.assert_array_equal(rules[1].interval, rules[2].interval)
    assert rules[1].interval[:, 2].tolist() == [0, 0], "a class that keeps 0 keeps it"
    assert (rules[1].interval[1] > rules[1].interval[0])[:2].any()


def test_a_resample_is_a_fit_of_repeated_rows():
    """Counts as weights, against the rows themselves as often: the same single sweep from the same offsets."""
    logits, targets = three(300, seed=2)
    start, free = np.array([0.0, 0.4, 1.1]), np.array([1, 2])
    counts = np.random.default_rng(5).integers(0, 4, 300)
    objective, rows = OBJECTIVES["balanced_accuracy"], np.repeat(np.arange(300), counts)
    (found,) = resampled(logits, targets, np.ones(300), objective, free, start, [counts.astype(float)])
    (same,) = resampled(logits[rows], targets[rows], np.ones(len(rows)), objective, free, start, [np.ones(len(rows))])
    np.testing.assert_allclose(found, same, atol=1e-9)
    assert found[0] == 0


def test_classes_with_few_rows_keep_their_logit():
    logits, targets = three(400)
    counts = np.bincount(targets)
    rule = Offsets(min_positives=int(counts[2]) + 1).fit(logits, targets, "multiclass", tuple("abc"), None, rng())
    assert rule.offsets_C[2] == 0
    assert f"1 of 3 classes have fewer than {counts[2] + 1} rows in validation and keep 0: c" in rule.reason


@pytest.mark.parametrize("broken", ["few", "one side", "no rows", "NaN"])
def test_too_little_to_choose_by_leaves_the_network_its_decision(broken, caplog):
    margins, targets = sample(400, 0)
    if broken == "few":
        targets = np.where(np.cumsum(targets) > 49, 0, targets)
    elif broken == "one side":
        targets = np.zeros_like(targets)
    elif broken == "no rows":
        margins, targets = margins[:0], targets[:0]
    else:
        margins[5] = np.nan
    rule = fit(F1Threshold(), margins, targets)
    assert rule.as_trained
    assert rule.reason in caplog.text
    if broken == "few":
        assert rule.reason == "the rarer side has 49 rows in validation, of threshold.min_positives=50"
        assert not fit(F1Threshold(min_positives=49), margins, targets).as_trained


def test_the_interval_covers_and_narrows_with_rows():
    """The threshold that is best for balanced accuracy is the prevalence, 0.2265 here; intervals hold it nearly always."""
    truth = float(np.mean(expit(np.random.default_rng(99).normal(-1.5, 1.5, 200_000))))
    rules = [fit(BalancedAccuracyThreshold(min_positives=1), *sample(400, seed)) for seed in range(40)]
    assert np.mean([rule.interval[0] <= truth <= rule.interval[1] for rule in rules]) > 0.8
    large = fit(BalancedAccuracyThreshold(), *sample(10_000, 0))
    assert np.diff(large.interval)[0] < np.mean([np.diff(rule.interval)[0] for rule in rules]) / 1.5
    assert fit(F1Threshold(bootstrap=0), *sample(1000, 0)).interval is None
    again = fit(BalancedAccuracyThreshold(), *sample(10_000, 0))
    assert again.interval.tolist() == large.interval.tolist()


def test_the_network_decides_by_its_raw_logits():
    raw = np.array([[1.0, 1.0], [0.0, 2.0], [-1.0, -3.0]])
    natural = -raw
    rule = NoThreshold().fit(natural, np.array([0, 1, 0]), "binary", NAMES, None, rng())
    assert rule.decide(natural, raw, "binary").tolist() == [0, 1, 0]
    assert rule.decide(natural, raw, "multilabel").tolist() == [[True, True], [True, True], [False, False]]


def test_a_probability_that_equals_its_threshold_is_positive():
    raw = np.zeros((1, 2))
    assert FixedThreshold().fit(raw, np.array([0]), "binary", NAMES, None, rng()).decide(raw, raw, "binary").tolist() == [1]
    several = FixedThreshold(value=[0.5, 0.6]).fit(raw, raw, "multilabel", NAMES, None, rng())
    assert several.decide(raw, raw, "multilabel").tolist() == [[True, False]]
    assert several.thresholds("multilabel") == pytest.approx([0.5, 0.6])


def test_a_rule_says_what_it_does():
    rule = fit(F1Threshold(), *sample(2000, 0))
    text = rule.describe("binary")
    assert text.startswith(f"f1: positive from p >= {rule.thresholds('binary')[0]:.3f} (95 % bootstrap ")
    assert text.endswith(f"; f1 on validation {rule.value:.4g}")
    assert Rule().describe("binary") == "none: the largest raw logit"
    few = fit(F1Threshold(min_positives=1999), *sample(2000, 0)).describe("binary")
    assert "the largest raw logit (the rarer side has" in few
    logits, targets = multilabel()
    several = PerLabel(bootstrap=5).fit(logits, targets, "multilabel", tuple("abcd"), None, rng()).describe("multilabel")
    assert "over all labels" in several
    assert "mean f1 on validation" in several
