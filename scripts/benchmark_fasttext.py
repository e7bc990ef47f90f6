"""fastText beside the C++ original, on the same files and in one run; called by `benchmark.py fasttext` and `benchmark.py tree`.

    python scripts/benchmark.py fasttext --reference <python with fasttext>               a made-up corpus of 120,000 rows
    python scripts/benchmark.py fasttext --reference <python> path=<folder>               train.txt and test.txt of yours, with __label__
    python scripts/benchmark.py fasttext --reference <python> times=10                    beside it, the train file ten times as long
    python scripts/benchmark.py tree                                                      hierarchical softmax beside the full one

Each run is a process of its own, so that its peak memory is its own, and times itself after its imports: whole, from the raw file to the
trained model and its test accuracy; train, the epochs alone, as the difference to a run with fewer epochs for the original, which does not
tell. Runs alternate, and medians count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROWS, TEST_ROWS, EPOCHS, LR, BUCKETS = 120_000, 1_600, 5, 0.25, 2_000_000
BATCH = 128

# Of this process alone: the ru_maxrss of a child begins with what its parent had.
_PEAK = """
def high_water():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
"""

_REFERENCE = """
import json, sys, time
import fasttext
train, test, dim, epochs, threads, loss = sys.argv[1:7]
def run(epochs):
    started = time.perf_counter()
    model = fasttext.train_supervised(train, dim=int(dim), wordNgrams=2, epoch=epochs, lr=0.25, thread=int(threads), bucket=2_000_000,
                                      loss=loss, verbose=0)
    rows, accuracy, _ = model.test(test)
    return time.perf_counter() - started, accuracy
whole, accuracy = run(int(epochs))
peak = high_water()
short, _ = run(1)
train_seconds = (whole - short) * int(epochs) / (int(epochs) - 1)
print(json.dumps({"whole": whole, "train": train_seconds, "accuracy": accuracy, "peak": peak}))
"""

_OURS = """
import json, sys, tempfile, time
from pathlib import Path
import numpy as np
import torch
from recipes.data.blanks_kernel import split
from recipes.cli.assemble import assemble, read_data
from recipes.cli.compose import composed
from recipes.cli.settings import read_settings
from recipes.training.events import Listener
from recipes.training.loop import fit
from recipes.training.scoring import score
warm, train, test, threads, *overrides = sys.argv[1:]
def run(train, test):
    settings = read_settings(composed("experiment=joulin2016", f"data.train={train}", f"data.test={test}", "data.cache=off",
                                      "trainer.device=cpu", "logger=none", *overrides))
    torch.set_num_threads(int(threads))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        data, _ = read_data(settings)
        job = assemble(settings, data, Path(folder), Listener())
        began = time.perf_counter()
        fit(job)
        trained = time.perf_counter()
        logits = score(job.model, data.test, 1024, job.precision)
        accuracy = float((logits.argmax(1).numpy() == data.test.labels()).mean())
        return {"whole": time.perf_counter() - started, "train": trained - began, "accuracy": accuracy, "how": job.how}
began = time.perf_counter()
first = run(warm, warm)  # imports that only a run does, and the compilation where it is not cached yet
split(np.zeros(1, np.uint8), np.ones(1, np.int64), 1)
found = run(train, test)
found["first"] = time.perf_counter() - began - found["whole"]
found["peak"] = high_water()
print(json.dumps(found))
"""


def made_up(folder: Path, classes: int = 4) -> None:
    """`__label__` files whose classes differ in which words are frequent: 43 words a row on average, frequencies after Zipf."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(60_000)])
    own = rng.permutation(20_000)[: classes * 10].reshape(classes, -1)
    for name, count in (("train", ROWS), ("test", TEST_ROWS)):
        with open(folder / f"{name}.txt", "w", encoding="utf-8") as file:
            for _ in range(count):
                label, n = int(rng.integers(classes)), int(rng.integers(25, 62))
                text = np.minimum(rng.zipf(1.3, n) - 1, len(words) - 1)
                text[: n // 12] = rng.choice(own[label], n // 12)
                file.write(f"__label__{label} {' '.join(words[rng.permutation(text)])}\n")


def categories(folder: Path, classes: int) -> None:
    """The embedded ICD-10 codes of the `classes` three-character categories with the most, to be told by their description: 80/20."""
    from recipes.data.builtin import icd10

    frame = icd10(None).frames["train"]
    largest = frame["category"].value_counts(sort=True)["category"].head(classes)
    frame = frame.filter(frame["category"].is_in(largest.to_list()))
    texts = frame["text"].str.to_lowercase().str.replace_all(r"([^\w\s])", " $1 ")
    lines = ("__label__" + frame["category"] + " " + texts).to_numpy()
    lines = lines[np.random.default_rng(0).permutation(len(lines))]
    held_out = len(lines) // 5
    (folder / "test.txt").write_text("\n".join(lines[:held_out]) + "\n", encoding="utf-8")
    (folder / "train.txt").write_text("\n".join(lines[held_out:]) + "\n", encoding="utf-8")


def _process(python: str, code: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run([python, "-c", _PEAK + code, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"benchmark.py fasttext: {python} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _warm(folder: Path, train: Path) -> Path:
    """A few rows for the run that only imports and compiles."""
    warm = folder / "warm.txt"
    with open(train, encoding="utf-8") as lines:
        warm.write_text("".join(line for line, _ in zip(lines, range(2000), strict=False)), encoding="utf-8")
    return warm


def _ours(folder: Path, train: Path, test: Path, threads: int, *overrides: str) -> dict[str, Any]:
    return _process(sys.executable, _OURS, str(_warm(folder, train)), str(train), str(test), str(threads), *overrides)


def _line(name: str, runs: list[dict[str, Any]], base: list[dict[str, Any]] | None = None) -> str:
    middle = {key: statistics.median(run[key] for run in runs) for key in ("whole", "train", "accuracy", "peak")}
    line = f"  {name:34s}"
    for key, form, unit in (("whole", ".2f", "s"), ("train", ".2f", "s"), ("peak", ".0f", "MB")):
        ratio = "" if base is None else f" {statistics.median(a[key] / b[key] for a, b in zip(runs, base, strict=True)):4.2f}x"
        line += f"  {key} {middle[key]:{form}} {unit}{ratio:6s}"
    return line + f"  accuracy {middle['accuracy']:.4f}"


def beside_fasttext(work: Path, runs: int, reference: str, path: str | None, times: int, threads: int = 2) -> None:
    """Whole, train, memory and accuracy at dim 10 and 100, and of the way through autograd at dim 10."""
    folder = Path(path) if path else work
    if path is None:
        made_up(work)
    train, test = folder / "train.txt", folder / "test.txt"
    plans: list[tuple[str, Path, int, bool]] = [("dim 10", train, 10, True), ("dim 100", train, 100, False)]
    if times > 1:
        longer = work / "longer.txt"
        text = train.read_bytes()
        longer.write_bytes(b"".join([text] * times))
        plans.append((f"dim 10, {times} x as long", longer, 10, False))
    print(f"\nfastText: 2-grams, {BUCKETS:,} buckets, {EPOCHS} epochs, {threads} threads; medians of {runs} runs, ratios run by run")
    for title, file, dim, both in plans:
        ours: list[dict[str, Any]] = []
        autograd: list[dict[str, Any]] = []
        peer: list[dict[str, Any]] = []
        for _ in range(runs if file == train else 1):
            peer.append(_process(reference, _REFERENCE, str(file), str(test), str(dim), str(EPOCHS), str(threads), "softmax"))
            ours.append(_ours(work, file, test, threads, f"model.dim={dim}"))
            if both:
                autograd.append(_ours(work, file, test, threads, f"model.dim={dim}", "trainer.fused=false"))
        print(f"{title} ({ours[0]['how']}; imports and compilation before: {ours[0]['first']:.1f} s, then {ours[-1]['first']:.1f} s)")
        print(_line("fastText", peer))
        print(_line("recipes, fused step", ours, peer))
        if autograd:
            print(_line("recipes, trainer.fused=false", autograd, peer))
    print("goals: whole at most 0.8x, train 0.5x, peak 1.3x; through autograd whole at most 3x; accuracy within 0.005")


def tree_beside_softmax(work: Path, runs: int, path: str | None, classes: int) -> None:
    """Hierarchical softmax and the full one in the fused step, on many classes: the epochs' seconds, and accuracy."""
    folder = Path(path) if path else work
    if path is None:
        categories(work, classes)
    train, test = folder / "train.txt", folder / "test.txt"
    found: dict[str, list[dict[str, Any]]] = {"full softmax": [], "hierarchical softmax": []}
    settings = ["model.dim=100", f"optimizer.lr={0.5 * BATCH}", "trainer.max_epochs=10", "data.min_class_rows=1"]
    for _ in range(runs):
        found["full softmax"].append(_ours(work, train, test, 2, *settings))
        found["hierarchical softmax"].append(_ours(work, train, test, 2, *settings, "loss=hierarchical_softmax"))
    print(f"\n{classes:,} classes: ICD-10 codes by category, dim 100, 10 epochs, fused step; medians of {runs} runs")
    print(_line("full softmax", found["full softmax"]))
    print(_line("hierarchical softmax", found["hierarchical softmax"], found["full softmax"]))
    print("goals: train at most 0.33x, accuracy within 0.03")
