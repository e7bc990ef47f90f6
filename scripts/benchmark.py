"""What the loop, the encoder and the start-up cost, side by side with the bare thing, in one run on this machine.

    python scripts/benchmark.py                    all of them
    python scripts/benchmark.py loop textcnn       a small MLP and a TextCNN: this loop against one written by hand
    python scripts/benchmark.py encode             reading, tokenising and encoding 120,000 rows from a cold cache
    python scripts/benchmark.py encode path=x.csv  the same for a CSV of yours with a text and a label column
    python scripts/benchmark.py samplers           an epoch of each index sampler on a million rows; SMOTE beside imbalanced-learn's
    python scripts/benchmark.py svc                TF-IDF and LinearSVC on the default data, on the splits of seeds 0, 1 and 2
    python scripts/benchmark.py startup            --help, --cfg job, and the first optimizer step of the default job
    python scripts/benchmark.py lightning --reference <python with lightning>    the default job beside a Lightning Trainer
    python scripts/benchmark.py fasttext --reference <python with fasttext>      fastText beside the original; path=<folder> times=10
    python scripts/benchmark.py tree               hierarchical softmax beside the full one on classes=1000

Ratios compare interleaved runs, so that a machine that slows down slows both; the median of `runs=5` counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from recipes.cli.compose import composed

ROOT = Path(__file__).resolve().parents[1]
ROWS, FEATURES, BATCH, EPOCHS = 64_000, 30, 64, 2
THREADS = 2
NAMES = ("loop", "textcnn", "encode", "startup", "svc", "samplers", "lightning", "fasttext", "tree")
PEERS = {
    "lightning": "lightning",
    "fasttext": "fasttext",
}  # benchmarks beside another program, and what the python behind --reference must have
OPTIONS = ("runs", "path", "times", "classes", "--reference")


def interleaved(runs: int, timed: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Seconds of each, in turn; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for i in range(runs + 1):
        for name, run in timed.items():
            taken = run()
            if i:
                seconds[name].append(taken)
    return seconds


def report(title: str, seconds: dict[str, list[float]], steps: int, limit: float) -> None:
    """Milliseconds a step, and the ratio to the first entry, run by run."""
    base, *others = seconds
    print(f"\n{title}")
    print(f"  {base:28s} {statistics.median(seconds[base]) / steps * 1e3:8.3f} ms/step")
    for name in others:
        ratios = sorted(a / b for a, b in zip(seconds[name], seconds[base], strict=True))
        middle = statistics.median(ratios)
        spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        each = statistics.median(seconds[name]) / steps * 1e3
        print(f"  {name:28s} {each:8.3f} ms/step   {middle:.2f} x  {spread}   goal: at most {limit}")


def fitted(work: Path, overrides: Iterable[str], change: Callable[[Any], None] = lambda job: None) -> tuple[float, int]:
    """Seconds and steps of `fit` with everything on that a user has on: clipping, console, files, TensorBoard."""
    import torch

    from recipes.cli.assemble import assemble, read_data
    from recipes.cli.describe import describe
    from recipes.cli.settings import read_settings
    from recipes.reporting import Console, make_listeners
    from recipes.training.events import Listeners
    from recipes.training.loop import fit

    torch.set_num_threads(THREADS)
    run_dir = Path(tempfile.mkdtemp(dir=work))
    settings = read_settings(composed("trainer.device=cpu", "trainer.early_stopping.patience=null", "trainer.progress=bar", *overrides))
    data, _ = read_data(settings)
    listeners = Listeners([])
    with open(os.devnull, "w") as nowhere, Console(run_dir / "train.log", stream=nowhere) as console:
        job = assemble(settings, data, run_dir, listeners)
        job.val = None  # the bare loop does not evaluate
        change(job)
        listeners.listeners += make_listeners(settings.group("logger"), settings.trainer.progress, console, data.rows)
        listeners.start(describe(job, settings, data, []))
        started = time.perf_counter()
        fit(job)
        taken = time.perf_counter() - started
        listeners.close()
    return taken, job.position.step


def loop(work: Path, runs: int) -> None:
    """The small MLP: 30-64-64-2, ReLU, dropout 0.1, batch 64, AdamW, gradient norm clipped at 1."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, FEATURES), dtype=np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 1).astype(np.int64)
    path = work / "mlp.csv"
    header = ",".join([f"x{i}" for i in range(FEATURES)] + ["label"])
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", fmt=["%.6f"] * FEATURES + ["%d"], header=header, comments="")
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)
    steps = ROWS // BATCH * EPOCHS

    def bare() -> float:
        net = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 2)
        )
        optimizer = torch.optim.AdamW(net.parameters(), fused=True)
        started = time.perf_counter()
        for _ in range(EPOCHS):
            order = torch.randperm(ROWS)
            for s in range(0, ROWS, BATCH):
                i = order[s : s + BATCH]
                F.cross_entropy(net(xs[i]), ys[i]).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        return time.perf_counter() - started

    overrides = [
        "data=file", f"data.path={path}", "data.label=label", "data.val_fraction=0", "data.test_fraction=0", "data.min_class_rows=1",
        "model=mlp", "model.widths=[64,64]", "model.dropout=0.1", "loss=cross_entropy", "trainer.batch_size=64", "trainer.clip=norm",
        f"trainer.max_epochs={EPOCHS}",
    ]  # fmt: skip

    def ours() -> float:
        taken, done = fitted(work, overrides)
        assert done == steps, (done, steps)
        return taken

    seconds = interleaved(runs, {"bare PyTorch loop": bare, "recipes": ours})
    report("small MLP (30-64-64-2), batch 64, clipping, logging, progress", seconds, steps, 1.15)


def textcnn(work: Path, runs: int) -> None:
    """The default job, and TextCNN 300-d in fp32: the same module in the best bare loop and in ours, so that only the loop differs."""
    rows = 25_600  # 400 steps: about what lies between two checkpoints of a real run
    path = work / "texts.csv"
    rng, words = np.random.default_rng(0), np.array([f"w{i}" for i in range(20_000)])
    with open(path, "w", encoding="utf-8") as file:
        file.write("text,label\n")
        for i in range(rows):
            file.write(" ".join(words[rng.integers(0, len(words), 32)]) + f",c{i % 2}\n")
    wide = [
        "data=file", f"data.path={path}", "data.text=text", "data.label=label", "data.val_fraction=0", "data.test_fraction=0",
        "model=textcnn", "model.dim=300", "model.maps=100", "loss=cross_entropy", "optimizer=adamw", "trainer.batch_size=64",
        "trainer.max_epochs=1", "trainer.precision=fp32",
    ]  # fmt: skip
    beside_bare(work, runs, "the default job: TextCNN on data=icd10, batch 128", ["trainer.max_steps=400"])
    beside_bare(work, runs, "TextCNN 300-d, 3x100 maps, 32 words, batch 64", wide)


def beside_bare(work: Path, runs: int, title: str, overrides: list[str]) -> None:
    """`fit`, and a loop of seven lines with the same module, batches, arithmetic and learning rates: fused AdamW, clipping, autocast."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    from recipes.cli.assemble import assemble, read_data
    from recipes.cli.settings import read_settings
    from recipes.training.events import Listener

    torch.set_num_threads(THREADS)
    settings = read_settings(composed("trainer.device=cpu", *overrides))
    data, _ = read_data(settings)
    job = assemble(settings, data, work, Listener())
    steps, size, name = job.total_steps, settings.trainer.batch_size, job.precision.name

    def bare() -> float:
        job = assemble(settings, data, work, Listener())
        model, split, bf16 = job.model.train(), data.train, name == "bf16"
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        order = np.concatenate([np.random.default_rng(0).permutation(len(split)) for _ in range(steps * size // len(split) + 1)])
        started = time.perf_counter()
        for s in range(0, steps * size, size):
            batch = split.batch(order[s : s + size])
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(batch)
            F.cross_entropy(logits.float(), batch.targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return time.perf_counter() - started

    def ours() -> float:
        taken, done = fitted(work, overrides)
        assert done == steps, (done, steps)
        return taken

    report(f"{title}, {name}", interleaved(runs, {"bare PyTorch loop": bare, "recipes": ours}), steps, 1.03)


def encode(work: Path, runs: int, path: str | None = None) -> None:
    """From a CSV to encoded splits with nothing cached, after the imports."""
    from recipes.config import build
    from recipes.data import Features, Needs, Source, prepare

    source_path = Path(path) if path else made_up_news(work)
    overrides = composed("data=file", f"data.path={source_path}", "data.cache=off", "data.duplicates=keep")
    if path is None:
        overrides["data"] |= {"text": "text", "label": "label"}
    source = build(Source, overrides["data"], "data")
    features = build(Features, overrides["features"], "features")

    def once() -> float:
        started = time.perf_counter()
        prepare(source, features, Needs("tokens"), None, 0)
        return time.perf_counter() - started

    seconds = interleaved(runs, {"encode": once})["encode"]
    data = prepare(source, features, Needs("tokens"), None, 0)
    rows = sum(len(s) for s in data.splits.values())
    print(f"\nreading, splitting and encoding {rows:,} rows ({data.encoder.describe()}), cold cache")
    spread = f"({min(seconds):.2f} to {max(seconds):.2f})"
    print(f"  {statistics.median(seconds):.2f} s {spread}   goal for 120,000 rows of 43 words: at most 2 s")


def made_up_news(work: Path) -> Path:
    """120,000 rows of 43 words on average, word frequencies after Zipf, with punctuation and capitals as in a newspaper."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" if i % 7 else f"Word{i}" for i in range(60_000)])
    path = work / "news.csv"
    with open(path, "w", encoding="utf-8") as file:
        file.write("text,label\n")
        for i in range(120_000):
            n = int(rng.integers(25, 62))
            chosen = words[np.minimum(rng.zipf(1.3, n) - 1, len(words) - 1)]
            file.write(f'"{" ".join(chosen[: n // 2])}, {" ".join(chosen[n // 2 :])}.",class{i % 4}\n')
    return path


def startup(work: Path, runs: int) -> None:
    """Whole processes of train.py."""
    environment = os.environ | {"XDG_CACHE_HOME": str(work / "cache")}
    print()
    for flags in (["--help"], ["--cfg", "job"]):
        seconds = []
        for i in range(runs + 1):
            started = time.perf_counter()
            command = [sys.executable, str(ROOT / "train.py"), *flags]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=work)
            if i:
                seconds.append(time.perf_counter() - started)
        print(f"train.py {' '.join(flags):10s} {statistics.median(seconds):.2f} s   goal: at most 0.6")
    program = "\n".join([
        "import sys, time",
        "import recipes.training.job as job",
        "started = float(sys.argv.pop(1))",
        "set_lr = job.Job.set_lr",
        "def timed(self):",
        "    if self.position.step == 1:",
        "        print('FIRST STEP AFTER', round(time.time() - started, 2), flush=True); import os; os._exit(0)",
        "    return set_lr(self)",
        "job.Job.set_lr = timed",
        "import runpy",
        f"sys.argv[0] = {str(ROOT / 'train.py')!r}",
        f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')",
    ])  # fmt: skip
    times = []
    for _ in range(runs + 1):
        command = [sys.executable, "-c", program, str(time.time())]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=work, check=True)
        times.append(float(done.stdout.rsplit("FIRST STEP AFTER", 1)[1].split()[0]))
    warm = statistics.median(times[1:])
    print(f"first optimizer step of the default job: {times[0]:.2f} s with a cold cache, {warm:.2f} s warm   goal: at most 4 warm")


def svc(work: Path, runs: int) -> None:
    """scikit-learn's LinearSVC on TF-IDF of words and pairs: train and validation rows to learn from, the same test rows as ours."""
    import scipy.sparse
    from sklearn.metrics import f1_score
    from sklearn.svm import LinearSVC

    from recipes.config import build
    from recipes.data import Features, Needs, Source, prepare

    config = composed("data=icd10", "data.cache=off")
    features = build(Features, config["features"], "features")
    scores = []
    for seed in (0, 1, 2):
        data = prepare(build(Source, config["data"], "data"), features, Needs("dense"), None, seed)
        assert data.val is not None
        assert data.test is not None
        x, y = scipy.sparse.vstack([data.train.space(), data.val.space()]), np.concatenate([data.train.labels(), data.val.labels()])
        predicted = LinearSVC(random_state=0).fit(x, y).predict(data.test.space())
        scores.append(f1_score(data.test.labels(), predicted, average="macro"))
    print(f"\nTF-IDF and LinearSVC on data=icd10: test macro-F1 {' '.join(f'{s:.3f}' for s in scores)} (seeds 0, 1, 2)")


def main() -> None:
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        return
    chosen, options = _arguments(sys.argv[1:])
    runs = int(options.get("runs", 5))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(work / "cache")
        for name in chosen:
            if name == "encode":
                encode(work, runs, options.get("path"))
            elif name == "samplers":
                from benchmark_samplers import samplers

                samplers(runs)
            elif name == "lightning":
                from benchmark_lightning import lightning

                lightning(work, runs, options["--reference"])
            elif name == "fasttext":
                from benchmark_fasttext import beside_fasttext

                beside_fasttext(work, runs, options["--reference"], options.get("path"), int(options.get("times", 1)))
            elif name == "tree":
                from benchmark_fasttext import tree_beside_softmax

                tree_beside_softmax(work, runs, options.get("path"), int(options.get("classes", 1000)))
            else:
                {"loop": loop, "textcnn": textcnn, "startup": startup, "svc": svc}[name](work, runs)


def _arguments(given: list[str]) -> tuple[list[str], dict[str, str]]:
    """The benchmarks that are asked for, and the options; leaves with a message where something is wrong."""
    words, options = list(given), {}
    if "--reference" in words:
        at = words.index("--reference")
        if at + 1 == len(words):
            sys.exit("benchmark.py: --reference: the path of a python is missing")
        options["--reference"] = words[at + 1]
        del words[at : at + 2]
    options |= dict(a.split("=", 1) for a in words if "=" in a)
    chosen = [a for a in words if "=" not in a] or [n for n in NAMES if n not in PEERS]
    unknown = [a for a in chosen if a not in NAMES] + [k for k in options if k not in OPTIONS]
    if unknown:
        sys.exit(f"benchmark.py: unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}, {', '.join(f'{o}=...' for o in OPTIONS)}")
    lacking = [name for name in chosen if name in PEERS and "--reference" not in options]
    if lacking:
        sys.exit(f"benchmark.py {lacking[0]}: --reference <python> is missing: one in which {PEERS[lacking[0]]} is installed")
    return chosen, options


if __name__ == "__main__":
    main()
