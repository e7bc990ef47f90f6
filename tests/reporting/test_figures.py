"""Pictures: which ones there are, that they are PNG files of a sensible size, and what is drawn in them."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys

import numpy as np
import pytest

from recipes.evaluation import confusion_matrix, curves
from recipes.reporting import Figures, plots

from .conftest import Played


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_pictures_of_a_run(tmp_path, task):
    played = Played(tmp_path, task, weighted=task == "multiclass")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "stale.png").write_bytes(b"")
    played.tell(Figures())
    names = {"class_distribution", "test_pr_curves", "test_roc_curves", "test_confusion"}
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == names
    for path in (tmp_path / "figures").iterdir():
        width, height = size(path.read_bytes())
        assert 300 < width < 2500, path
        assert 200 < height < 2500, path


def test_val_is_drawn_where_there_is_no_test_and_nothing_where_there_is_neither(played, tmp_path):
    figures = Figures()
    figures.start(played.info)
    figures.end(dataclasses.replace(played.result, evaluations={}))
    assert not (tmp_path / "figures").exists()
    figures.end(dataclasses.replace(played.result, evaluations={"val": played.evaluations["val"]}))
    assert (tmp_path / "figures" / "val_confusion.png").is_file()


def test_scores_that_are_no_numbers_leave_the_distribution_only(played, tmp_path):
    broken = dataclasses.replace(played.evaluations["test"], logits=np.full((80, 3), np.nan, dtype=np.float32))
    figures = Figures()
    figures.start(played.info)
    figures.end(dataclasses.replace(played.result, evaluations={"test": broken}))
    assert [path.stem for path in (tmp_path / "figures").iterdir()] == ["class_distribution"]


def test_names_are_drawn_as_they_are():
    """A dollar sign starts no formula, an underscore hides no curve, and a glyph that no font has gives no warning."""
    import warnings

    rng = np.random.default_rng(0)
    targets = np.arange(60) % 3
    names = ("_hidden $\\frac$", "很好 🎉", "x" * 200)
    found = curves(rng.normal(size=(60, 3)), targets, "multiclass", names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        size(plots.png(plots.pr_figure, found, "test"))
        size(plots.png(plots.confusion_figure, confusion_matrix(targets, targets, 3), np.full(3, 20.0), names, "test"))
    legend = plots.pr_figure(found, "test").axes[0].get_legend()
    assert len(legend.get_texts()) == 3


def test_curves_and_areas_in_the_picture():
    rng = np.random.default_rng(0)
    targets = rng.choice(2, 100, p=[0.8, 0.2])
    [curve] = curves(rng.normal(size=(100, 2)) + np.eye(2)[targets], targets, "binary", ("no", "yes"))
    axes = plots.pr_figure([curve], "val").axes[0]
    line = axes.get_lines()[0]
    assert np.array_equal(line.get_xdata(), curve.recall_L)
    assert line.get_drawstyle() == "steps-pre"
    assert axes.get_legend().get_texts()[0].get_text() == f"{curve.average_precision:.3f}  yes ({curve.support:.0f})"
    assert f"a random ranking: {curve.prevalence:.3f}" in [text.get_text() for text in axes.texts]
    roc = plots.roc_figure([curve], "val").axes[0]
    assert roc.get_legend().get_texts()[0].get_text().startswith(f"{curve.roc_auc:.3f}")


def test_the_confusion_matrix_is_ordered_by_rows_and_lumps_the_rarest():
    classes = plots.MOST_CLASSES + 5
    support = np.arange(1, classes + 1, dtype=float)
    matrix = np.diag(support)
    figure = plots.confusion_figure(matrix, support, [f"c{i}" for i in range(classes)], "test")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == plots.MOST_CLASSES
    assert labels[0] == f"c{classes - 1} ({classes})"
    assert labels[-1] == "6 rarer ones (21)"
    assert sum(float(text.get_text()) for text in figure.axes[0].texts) == support.sum()


def test_a_long_tail_of_classes_is_a_line():
    counts = np.arange(500, 0, -1)
    figure = plots.distribution_figure(counts, counts[::-1], [f"c{i}" for i in range(500)], "classes")
    assert len(figure.axes[0].get_lines()) == 2
    assert figure.get_size_inches()[1] < 10


def test_pyplot_is_never_imported_and_settings_stay():
    code = (
        "import sys, numpy as np, matplotlib\n"
        "settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"  # reading that one imports pyplot
        "before = settings()\n"
        "from recipes.reporting import plots\n"
        "plots.png(plots.distribution_figure, np.array([3, 1]), np.array([2, 2]), ('a', 'b'), 'classes')\n"
        "print('matplotlib.pyplot' in sys.modules, settings() == before)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["False", "True"]
