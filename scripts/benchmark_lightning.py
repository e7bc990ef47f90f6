"""The default job beside Lightning with its defaults: the same TextCNN, rows and batch size; called by `benchmark.py lightning`.

    python scripts/benchmark.py lightning --reference <python with lightning and torch>

Lightning runs in a process of its own, under the python that is given, and times `Trainer.fit` of one epoch after a few steps that warm up.
Ours is timed in the same way: `fit` with console, files and TensorBoard. Runs alternate. Neither evaluates.

B batch, T tokens, E embedding, P window positions.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

THREADS, GOAL = 2, 0.6


def lightning(work: Path, runs: int, reference: str) -> None:
    """Seconds of an epoch in both, and the ratio; leaves with a message where the reference python lacks something."""
    from benchmark import fitted

    versions = _versions(reference)
    tokens = work / "tokens.npz"
    batch_size, model = _export(tokens)
    seconds: dict[str, list[float]] = {"Lightning": [], "recipes": []}
    for i in range(runs + 1):
        command = [reference, __file__, str(tokens), json.dumps(model | {"batch_size": batch_size})]
        done = subprocess.run(command, capture_output=True, text=True, cwd=work)
        if done.returncode:
            sys.exit(f"benchmark.py lightning: the run of Lightning failed:\n{done.stderr[-2000:]}")
        peer = float(done.stdout.rsplit("SECONDS", 1)[1])
        ours, _ = fitted(work, ["trainer.max_epochs=1"])
        if i:  # the first round warms up
            seconds["Lightning"].append(peer)
            seconds["recipes"].append(ours)
    print(f"\nthe default job (TextCNN on data=icd10, batch {batch_size}): seconds of an epoch, {THREADS} threads; {versions}")
    for name, taken in seconds.items():
        print(f"  {name:12s} {statistics.median(taken):6.2f} s  ({min(taken):.2f} to {max(taken):.2f})")
    ratios = sorted(a / b for a, b in zip(seconds["recipes"], seconds["Lightning"], strict=True))
    print(f"  ratio        {statistics.median(ratios):6.2f}    ({ratios[0]:.2f} to {ratios[-1]:.2f})   goal: at most {GOAL}")


def _versions(reference: str) -> str:
    code = "import lightning, torch; print('Lightning', lightning.__version__, 'on torch', torch.__version__)"
    try:
        done = subprocess.run([reference, "-c", code], capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"benchmark.py lightning: --reference: '{reference}' cannot be run: {error.strerror}")
    if done.returncode:
        missing = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
        sys.exit(f"benchmark.py lightning: --reference: {reference} lacks something ({missing}); in it: pip install lightning torch numpy")
    return done.stdout.strip()


def _export(path: Path) -> tuple[int, dict[str, Any]]:
    """Writes the train split of the default job as token ids; returns its batch size and the sizes of its model."""
    from recipes.cli.assemble import read_data
    from recipes.cli.compose import composed
    from recipes.cli.settings import read_settings

    settings = read_settings(composed("trainer.device=cpu"))
    data, _ = read_data(settings)
    model = settings.group("model")
    rows = np.arange(len(data.train))
    batch = data.train.batch(rows)
    assert batch.tokens_BT is not None
    assert batch.lengths_B is not None
    np.savez(path, tokens=batch.tokens_BT.numpy(), lengths=batch.lengths_B.numpy(), targets=batch.targets.numpy())
    sizes = {"vocab": data.facts.vocab_size, "classes": data.facts.num_classes, "dim": model["dim"] or 128}
    return settings.trainer.batch_size, sizes | {"widths": model["widths"], "maps": model["maps"], "dropout": model["dropout"]}


def peer(path: str, sizes: dict[str, Any]) -> None:
    """One epoch of Lightning, its defaults: loader, optimizer of torch, Trainer. In the layout that is fastest for the convolutions."""
    import lightning
    import torch
    from torch import Tensor, nn
    from torch.nn.utils.rnn import pad_sequence
    from torch.utils.data import DataLoader

    torch.set_num_threads(THREADS)
    found = np.load(path)
    ids, targets = torch.from_numpy(found["tokens"]), torch.from_numpy(found["targets"])
    rows = [(row[:length].clone(), target) for row, length, target in zip(ids, found["lengths"].tolist(), targets, strict=True)]

    class TextCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(sizes["vocab"], sizes["dim"], padding_idx=0)
            self.convolutions = nn.ModuleList(
                nn.Conv2d(sizes["dim"], sizes["maps"], (1, width), padding=(0, width - 1)) for width in sizes["widths"]
            )
            self.dropout = nn.Dropout(sizes["dropout"])
            self.head = nn.Linear(sizes["maps"] * len(sizes["widths"]), sizes["classes"])

        def forward(self, tokens_BT: Tensor) -> Tensor:
            hidden_BE1T = self.embedding(tokens_BT).transpose(1, 2).unsqueeze(2)
            # The same model as ours: a window that reaches no word has no part in the maximum.
            first_P = torch.arange(1 - max(sizes["widths"]), tokens_BT.shape[1])
            closed_BP = torch.zeros(len(tokens_BT), len(first_P)).masked_fill_(first_P >= (tokens_BT > 0).sum(1, keepdim=True), -torch.inf)
            seen = [conv(hidden_BE1T) for conv in self.convolutions]
            seen = [s + closed_BP[:, None, None, -s.shape[3] :] for s in seen]
            pooled = torch.cat([nn.functional.max_pool2d(s, (1, s.shape[3])).flatten(1) for s in seen], dim=1)
            return self.head(self.dropout(torch.relu(pooled)))

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = TextCNN()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train/loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.002)

    def collate(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        texts, labels = zip(*samples, strict=True)
        return pad_sequence(list(texts), batch_first=True), torch.stack(labels)

    loader: Any = DataLoader(rows, batch_size=sizes["batch_size"], shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    lightning.Trainer(max_steps=10, accelerator="cpu").fit(Classifier(), loader)
    model, trainer = Classifier(), lightning.Trainer(max_epochs=1, accelerator="cpu")
    print("SECONDS", _timed(lambda: trainer.fit(model, loader)))


def _timed(run: Callable[[], None]) -> float:
    import time

    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    peer(sys.argv[1], json.loads(sys.argv[2]))
