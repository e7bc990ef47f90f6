"""A whole run on the console, with and without a terminal."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest

from recipes.priors import Ledger
from recipes.reporting import Console, ConsoleReport
from recipes.training.events import Audit

from .conftest import NAMES, Played, audit


def shown(played: Played, tmp_path: Path, width: int = 80, progress: str = "auto", **tell) -> tuple[str, str]:
    """(screen, log) of a run."""
    stream = io.StringIO()
    console = Console(tmp_path / "train.log", stream=stream, width=width)
    with console:
        played.tell(ConsoleReport(console, progress), **tell)
    return stream.getvalue(), (tmp_path / "train.log").read_text()


@pytest.mark.parametrize("width", [80, 120])
def test_everything_that_was_asked_for_is_there(played, tmp_path, width):
    (tmp_path / "tensorboard").mkdir()
    screen, log = shown(played, tmp_path, width)
    for text in (screen, log):
        flat = re.sub(r"\s+", " ", text)
        for expected in (
            str(tmp_path),
            "File: text, multiclass, 3 classes, imbalance 240 : 1, vocabulary 5,432",
            "sampler BalancedBatch · loss Focal · optimizer AdamW",
            "TextCNN, 1,234,567 parameters",
            "cpu, fp32",
            "32 x 3 = 96 rows each, 10 an epoch, 50 in all (5 epochs)",
            "val/f1_macro, higher is better",
            "4 rows without a label were left out",
            "class train sampled val test",
            "common [sort] 720 321 72 72",
            "rare/odd $x$ 80 321 8 8",
            "prior moved by the recipe, and put back only in part: a reason",
            "note something was adapted",
            "rare/odd $x$ 0.100 0.333 1.5 0.00 0.333 -1.61 4.0x",
            "rows (17 synthetic) 803 963 80 80",
            "epoch 1/5 step 5/50 loss 0.2000 lr 1.00e-03 1,234 rows/s 45 s left",
            "stopped no improvement of val/f1_macro in 3 evaluations took 1:23, 50 steps, 5 epochs best",
            f"best val/f1_macro {played.result.monitored:.4f} at step 40",
            f"python scripts/predict.py run={tmp_path} input=<file> output=<file>",
            f"tensorboard --logdir {tmp_path.parent}",
            "val: the means leave out 1 of 3 that have no rows here: seltene",
        ):
            assert expected in flat, expected
    assert "\x1b" not in screen
    assert max(map(len, screen.splitlines()[:30])) <= width


def test_what_was_not_written_is_not_offered(played, tmp_path):
    assert "tensorboard --logdir" not in shown(played, tmp_path)[0]


def test_a_line_an_evaluation_with_a_star_where_it_improved(played, tmp_path):
    screen, _ = shown(played, tmp_path)
    lines = [line for line in screen.splitlines() if line.startswith("epoch") and " val " in line]
    assert [line.split()[3] for line in lines] == ["10", "20", "30", "40", "50"]
    assert [bool(re.search(r"f1_macro 0\.\d{4}\*", line)) for line in lines] == [True, False, False, True, False]
    assert all(len(line) <= 80 for line in lines)


def test_scores_of_splits_and_classes(played, tmp_path):
    screen, _ = shown(played, tmp_path, 120)
    test = played.evaluations["test"]
    assert re.search(rf"^test +{test.metrics['accuracy']:.4f} +{test.metrics['balanced_accuracy']:.4f}", screen, re.MULTILINE)
    line = [line for line in screen.splitlines() if line.startswith("rare/odd $x$ ")][-1]
    numbers = line.removeprefix("rare/odd $x$").split()
    expected = [f"{test.per_class['rare/odd $x$'][key]:.3f}" for key in ("precision", "recall", "f1", "pr_auc")]
    assert numbers[6:] == expected
    assert numbers[5] == f"{test.per_class['rare/odd $x$']['support']:.0f}"
    absent = next(line for line in screen.splitlines() if line.startswith("seltene") and " - " in line)
    assert absent.split()[-10:-5] == ["0", "0.000", "-", "-", "-"]  # decided for some rows, wrongly


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_other_tasks(tmp_path, task):
    screen, _ = shown(Played(tmp_path, task), tmp_path)
    assert ("2 classes" if task == "binary" else "3 labels") in screen
    for name in NAMES[task]:
        assert screen.count(f"\n{name} ") == 3  # counts, audit, scores


def test_long_lists_of_classes_are_shortened(tmp_path):
    played = Played(tmp_path)
    names = tuple(f"class {i}" for i in range(300))
    counts = np.arange(300, 0, -1)
    facts = dataclasses.replace(played.info.facts, class_names=names, class_counts=counts)
    splits = dict.fromkeys(("train", "val", "test"), counts)
    info = dataclasses.replace(played.info, facts=facts, split_counts=splits, sampled_counts=counts, audit=audit("multiclass", counts))

    def start(info):
        stream = io.StringIO()
        ConsoleReport(Console(stream=stream, width=80)).start(info)
        return stream.getvalue()

    screen = start(info)
    assert len(screen.splitlines()) <= 44  # two tables of six rows and their heads, and 15 lines of text in the narrowest window
    assert screen.count("\nclass 0 ") == screen.count("\nclass 299 ") == screen.count("… 294 more") == 2  # of the counts, and of the audit
    shares = counts / counts.sum()
    plain = start(dataclasses.replace(info, audit=Audit(Ledger("multiclass", shares, shares), counts, np.ones(300), [])))
    assert len(plain.splitlines()) <= 32  # a long path of the run takes two lines
    assert plain.count("… 290 more") == 1


def test_off_keeps_the_screen_still_and_the_log_complete(played, tmp_path):
    screen, log = shown(played, tmp_path, progress="off")
    assert "step 10 " not in screen
    assert "start ─" in screen
    assert "stopped" in screen
    assert log.count(" val  f1_macro") == 5
    assert "epoch 1/5 step 5/50" in log


def test_a_bar_where_it_is_asked_for(played, tmp_path):
    screen, log = shown(played, tmp_path, progress="bar")
    assert "\x1b[?25l" in screen  # the cursor is hidden ...
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")  # ... and comes back
    assert re.search(r"epoch 5/5 .*100%.* loss 0\.02", screen)
    assert "\x1b" not in log
    assert "epoch 1/5 step 5/50" in log


def test_an_error_in_the_middle_leaves_a_usable_terminal(played, tmp_path):
    screen, _ = shown(played, tmp_path, progress="bar", until=20, end=False)
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")


def test_a_resumed_run_says_so_and_counts_on(played, tmp_path):
    screen, _ = shown(played, tmp_path, progress="log", resumed=20)
    assert "\nresumed  from step 20 " in screen
    assert "epoch 3/5 step 25/50" in re.sub(r" +", " ", screen)


def test_log_points_cost_next_to_nothing(played, tmp_path):
    """The loop tells every log point; only some are drawn."""
    import time

    from recipes.training.events import StepLog

    report = ConsoleReport(Console(stream=io.StringIO(), width=80), "bar")
    report.start(played.info)
    log = StepLog(7, 0.7, 50, 0.1, 1e-3, 1.0, 100.0, 1.0)
    report.log(log)
    started = time.perf_counter()
    for _ in range(2000):
        report.log(log)
    seconds = time.perf_counter() - started
    report.close()
    assert seconds / 2000 < 1e-4
