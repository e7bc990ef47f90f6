"""Every metric against scikit-learn, imbalanced-learn or torchmetrics, with weights, ties and absent classes, and against golden values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from recipes.evaluation import METRICS, absent, calibration_summary, confusion_matrix, decide, evaluate, probabilities
from recipes.evaluation.counts import Counts

N, C = 400, 5
NAMES = tuple("abcde")


def case(task: str, kind: str, weighted: bool):
    """Logits, targets, names and weights; `ties` rounds the logits, `absent` leaves classes 1 and 4 out."""
    rng = np.random.default_rng(["binary", "multiclass", "multilabel"].index(task))
    classes = 2 if task == "binary" else C
    logits = rng.normal(size=(N, classes)).astype(np.float32)
    if task == "multilabel":
        targets = (rng.random((N, classes)) < [0.5, 0.3, 0.2, 0.1, 0.05]).astype(np.float32)
        logits += 2 * targets - 1
        if kind == "absent":
            targets[:, [1, 4]] = 0
    else:
        shares = [0.9, 0.1] if task == "binary" else [0.6, 0.2, 0.1, 0.06, 0.04]
        targets = rng.choice(classes, N, p=shares)
        logits[np.arange(N), targets] += 1
        if kind == "absent":
            targets[targets == 1] = 0
            targets[targets == 4] = 0
    if kind == "ties":
        logits = np.round(logits)
    return logits, targets, NAMES[:classes], rng.integers(0, 4, N).astype(np.float32) if weighted else None


KINDS = {"multiclass": ("plain", "ties", "absent"), "multilabel": ("plain", "ties", "absent"), "binary": ("plain", "ties")}
CASES = [(task, kind, weighted) for task, kinds in KINDS.items() for kind in kinds for weighted in (False, True)]


def oracle(logits, targets, task, weights):
    """The same metrics by other libraries, macro means over the classes that occur."""
    from imblearn.metrics import geometric_mean_score
    from sklearn import metrics as sk

    w = {"sample_weight": weights}
    scores = probabilities(logits, task)  # tested by itself: the last bit of a probability decides what is tied
    decided = (scores >= 0.5).astype(int) if task == "multilabel" else scores.argmax(axis=1)
    onehot = targets.astype(int) if task == "multilabel" else np.eye(logits.shape[1], dtype=int)[targets]
    occurring = np.flatnonzero(onehot.sum(axis=0))
    if task == "multilabel":
        targets = targets.astype(int)

    def macro(function):
        return np.mean([function(onehot[:, c], scores[:, c], **w) for c in occurring])

    expected = {"accuracy": sk.accuracy_score(targets, decided, **w)}
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        expected[f"{name}_macro"] = function(targets, decided, average="macro", labels=occurring, zero_division=0, **w)
    expected["f1_micro"] = sk.f1_score(targets, decided, average="micro", **w)
    expected["f1_weighted"] = sk.f1_score(targets, decided, average="weighted", zero_division=0, **w)
    if task == "binary":
        expected["roc_auc"] = sk.roc_auc_score(targets, scores[:, 1], **w)
        expected["pr_auc"] = sk.average_precision_score(targets, scores[:, 1], **w)
    else:
        expected["roc_auc"], expected["pr_auc"] = macro(sk.roc_auc_score), macro(sk.average_precision_score)
    if task == "multilabel":
        columns = range(logits.shape[1])
        expected["log_loss"] = np.mean([sk.log_loss(onehot[:, c], scores[:, c], labels=[0, 1], **w) for c in columns])
        expected["brier"] = np.mean([sk.brier_score_loss(onehot[:, c], scores[:, c], labels=[0, 1], **w) for c in columns])
        return expected
    labels = range(logits.shape[1])
    expected["balanced_accuracy"] = sk.balanced_accuracy_score(targets, decided, **w)
    expected["mcc"] = sk.matthews_corrcoef(targets, decided, **w)
    expected["kappa"] = sk.cohen_kappa_score(targets, decided, **w)
    expected["g_mean"] = geometric_mean_score(targets, decided, labels=occurring, average="multiclass", **w)
    expected["log_loss"] = sk.log_loss(targets, scores, labels=labels, **w)
    if task == "binary":
        expected["brier"] = sk.brier_score_loss(targets, scores[:, 1], **w)
    else:
        expected["brier"] = np.average(((scores - onehot) ** 2).sum(axis=1), weights=weights)
    return expected


@pytest.mark.parametrize(("task", "kind", "weighted"), CASES)
def test_every_metric_equals_other_libraries(task, kind, weighted):
    logits, targets, names, weights = case(task, kind, weighted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes decided but absent
        expected = oracle(logits, targets, task, weights)
    metrics, per_class = evaluate(logits, targets, task, names, weights)
    assert set(metrics) == {name for name, metric in METRICS.items() if task in metric.tasks} - {"loss"}
    assert set(expected) == set(metrics) - {"ece", "ece_classwise"}
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert absent(per_class) == (["b", "e"] if kind == "absent" else [])


@pytest.mark.parametrize(("task", "kind", "weighted"), CASES)
def test_per_class_scores_equal_scikit_learn(task, kind, weighted):
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    logits, targets, names, weights = case(task, kind, weighted)
    scores = probabilities(logits, task)
    columns = targets.astype(int) if task == "multilabel" else np.eye(len(names), dtype=int)[targets]
    decided = decide(scores, task).astype(int)
    own = targets.astype(int)
    labels = range(len(names))
    expected = precision_recall_fscore_support(own, decided, labels=labels, sample_weight=weights, zero_division=0)
    _, per_class = evaluate(logits, targets, task, names, weights)
    for c, name in enumerate(names):
        found = per_class[name]
        if not columns[:, c].any():
            assert found["support"] == 0
            assert all(math.isnan(found[key]) for key in ("recall", "f1", "pr_auc", "roc_auc"))
            continue
        values = [found[key] for key in ("precision", "recall", "f1", "support")]
        assert values == pytest.approx([score[c] for score in expected], rel=1e-9)
        assert found["pr_auc"] == pytest.approx(average_precision_score(columns[:, c], scores[:, c], sample_weight=weights), rel=1e-9)
        assert found["roc_auc"] == pytest.approx(roc_auc_score(columns[:, c], scores[:, c], sample_weight=weights), rel=1e-9)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_ece_equals_torchmetrics(task):
    import torch
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    logits, targets, names, _ = case(task, "plain", False)
    scores = torch.from_numpy(probabilities(logits, task))
    labels = torch.from_numpy(targets).long()
    if task == "multilabel":
        expected = np.mean([float(binary_calibration_error(scores[:, c].contiguous(), labels[:, c], n_bins=15)) for c in range(C)])
    else:
        expected = float(multiclass_calibration_error(scores, labels, num_classes=len(names), n_bins=15))
    metrics, _ = evaluate(logits, targets, task, names)
    assert metrics["ece"] == pytest.approx(expected, rel=1e-5)
    if task != "multilabel":
        errors = [binary_calibration_error(scores[:, c].contiguous(), (labels == c).long(), n_bins=15) for c in range(len(names))]
        assert metrics["ece_classwise"] == pytest.approx(float(np.mean([float(e) for e in errors])), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_whole_weights_are_the_same_as_repeated_rows(task):
    logits, targets, names, weights = case(task, "ties", True)
    repeated = np.repeat(np.arange(N), weights.astype(int))
    weighted, weighted_classes = evaluate(logits, targets, task, names, weights)
    plain, plain_classes = evaluate(logits[repeated], targets[repeated], task, names)
    assert weighted == pytest.approx(plain, rel=1e-9)
    assert {name: pytest.approx(scores, rel=1e-9) for name, scores in plain_classes.items()} == weighted_classes


GOLDEN = np.array([[90, 10, 0], [5, 4, 1], [1, 1, 3]])


def test_golden_confusion_matrix():
    targets, decided = (np.repeat(axis.ravel(), GOLDEN.ravel()) for axis in np.indices(GOLDEN.shape))
    metrics, per_class = evaluate(np.eye(3)[decided], targets, "multiclass", ("a", "b", "c"))
    assert [scores["f1"] for scores in per_class.values()] == pytest.approx([0.9183673, 0.32, 0.6666667], abs=1e-7)
    golden = {"f1_macro": 0.6350113, "mcc": 0.4052411, "kappa": 0.4008683, "accuracy": 0.8434783, "balanced_accuracy": 0.6333333}
    assert {name: metrics[name] for name in golden} == pytest.approx(golden, abs=1e-7)
    assert np.array_equal(confusion_matrix(targets, decided, 3), GOLDEN)
    assert np.array_equal(confusion_matrix(targets, decided, 3, np.full(len(targets), 0.5)), GOLDEN / 2)


def test_golden_average_precision_and_ties():
    targets = np.array([0, 0, 1, 1])

    def scored(probability):
        logits = np.stack([np.zeros(4), np.log(probability) - np.log1p(-np.asarray(probability))], axis=1)
        return evaluate(logits, targets, "binary", ("no", "yes"))[0]

    assert scored([0.1, 0.4, 0.35, 0.8])["pr_auc"] == pytest.approx(0.8333333, abs=1e-7)
    assert scored([0.3, 0.3, 0.3, 0.3])["pr_auc"] == 0.5
    assert scored([0.3, 0.3, 0.3, 0.3])["roc_auc"] == 0.5


def test_confident_logits_are_scored_without_clipping():
    metrics, _ = evaluate(np.array([[200.0, 0.0], [0.0, 300.0]]), np.array([1, 1]), "binary", ("no", "yes"))
    assert metrics["log_loss"] == 100.0
    metrics, _ = evaluate(np.array([[-2000.0], [2000.0]]), np.array([[1.0], [1.0]]), "multilabel", ("x",))
    assert metrics["log_loss"] == 1000.0
    assert metrics["brier"] == 0.5


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_one_class_only_leaves_undefined_scores_nan(task):
    logits = np.tile([1.0, 0.0], (3, 1))
    metrics, per_class = evaluate(logits, np.zeros(3, dtype=int), task, ("no", "yes"))
    assert metrics["accuracy"] == metrics["f1_macro"] == metrics["g_mean"] == 1.0
    assert metrics["mcc"] == 0.0
    assert math.isnan(metrics["kappa"])
    assert math.isnan(metrics["roc_auc"])
    assert absent(per_class) == ["yes"]
    assert all(math.isnan(per_class["yes"][key]) for key in ("precision", "recall", "f1", "pr_auc"))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("broken", ["no rows", "NaN logit", "infinite logit", "no weight"])
def test_nothing_to_score_is_nan_for_every_metric(task, broken):
    logits, targets, names, _ = case(task, "plain", False)
    weights = None
    if broken == "no rows":
        logits, targets = logits[:0], targets[:0]
    elif broken == "no weight":
        weights = np.zeros(N)
    else:
        logits[3, 1] = np.nan if broken == "NaN logit" else np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics, per_class = evaluate(logits, targets, task, names, weights)
    if broken == "infinite logit" and task == "multilabel":
        assert metrics["accuracy"] > 0  # the sigmoid of infinity is 1: a number
        return
    assert all(math.isnan(value) for value in metrics.values())
    assert list(per_class) == list(names)


def test_a_class_masked_by_minus_infinity_has_probability_zero():
    logits = np.array([[0.0, -np.inf, 0.0], [1.0, -np.inf, 0.0]])
    assert probabilities(logits, "multiclass")[:, 1].tolist() == [0, 0]
    metrics, _ = evaluate(logits, np.array([0, 0]), "multiclass", ("a", "b", "c"))
    assert metrics["accuracy"] == 1.0
    assert math.isfinite(metrics["log_loss"])


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_probabilities_equal_scipy(task):
    from scipy.special import expit, softmax

    logits, *_ = case(task, "plain", False)
    expected = expit(logits.astype(np.float64)) if task == "multilabel" else softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(probabilities(logits, task), expected, rtol=1e-14)


def test_large_logits_neither_overflow_nor_lose_the_small_side():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probabilities(np.array([[1e4, -1e4]], dtype=np.float32), "multiclass").tolist() == [[1.0, 0.0]]
        small = probabilities(np.array([[-40.0, 1e4]]), "multilabel")
    assert small[0] == pytest.approx([math.exp(-40), 1.0], rel=1e-12)


def test_thresholds():
    scores = np.array([[0.7, 0.3], [0.4, 0.6], [0.5, 0.5]])
    assert decide(scores, "binary").tolist() == [0, 1, 0]
    assert decide(scores, "binary", 0.3).tolist() == [1, 1, 1]
    assert decide(scores, "multilabel").tolist() == [[True, False], [False, True], [True, True]]
    assert decide(scores, "multilabel", np.array([0.6, 0.2])).tolist() == [[True, True], [False, True], [False, True]]
    with pytest.raises(ValueError, match="no meaning for a multiclass"):
        decide(scores, "multiclass", 0.5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_decisions_that_are_given_change_the_counts_and_nothing_else(task):
    logits, targets, names, weights = case(task, "plain", True)
    own = decide(probabilities(logits, task), task)
    default, classes = evaluate(logits, targets, task, names, weights)
    given, given_classes = evaluate(logits, targets, task, names, weights, decided=own)
    assert given == default
    assert given_classes == classes
    other, _ = evaluate(logits, targets, task, names, weights, decided=np.zeros_like(own))
    assert other["accuracy"] == pytest.approx(np.average((targets == 0).reshape(N, -1).all(axis=1), weights=weights))
    kept = ("log_loss", "brier", "ece", "pr_auc", "roc_auc")
    assert {name: other[name] for name in kept} == {name: default[name] for name in kept}


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_summary_of_a_calibration_is_that_of_the_metrics(task):
    logits, targets, names, weights = case(task, "plain", True)
    metrics, _ = evaluate(logits, targets, task, names, weights)
    assert calibration_summary(logits, targets, task, weights) == {name: metrics[name] for name in ("log_loss", "ece", "brier")}
    assert all(math.isnan(value) for value in calibration_summary(logits * np.nan, targets, task).values())


def test_counts_do_not_depend_on_the_order_of_rows():
    logits, targets, names, weights = case("multiclass", "ties", True)
    order = np.random.default_rng(1).permutation(N)
    first, second = (evaluate(logits[rows], targets[rows], "multiclass", names, weights[rows])[0] for rows in (np.arange(N), order))
    assert first == pytest.approx(second, rel=1e-12)
    assert Counts.of(targets, targets, C).exact == N
