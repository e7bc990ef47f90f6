"""Stopped runs go on: after SIGKILL with the same bits, after Ctrl-C by the command that was printed, after a full disk."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recipes.cli.entry import find_resumable
from recipes.errors import RecipesError

ROOT = Path(__file__).resolve().parents[2]
COMMON = ["model=textcnn", "loss=focal", "sampler=balanced_batch", "model.dim=8", "model.maps=4", "model.dropout=0.5", "trainer.device=cpu",
          "trainer.progress=off", "trainer.batch_size=16", "trainer.max_epochs=4", "trainer.eval_every=9 steps", "trainer.threads=1",
          "trainer.checkpoint.every=4 steps", "trainer.early_stopping.patience=null", "trainer.ema=0.9", "logger=none"]  # fmt: skip
# Waits at a step until it is killed: the test then knows where the run is, whatever the machine's speed.
PAUSE = """
import os, runpy, sys, time
import recipes.training.loop as loop
update, at = loop._update, int(os.environ["PAUSE_AT"])
def slow(job, window, epoch):
    if job.position.step == at:
        open(os.environ["PAUSED"], "w").close()
        for _ in range(600):
            if job.interrupt.requested: break
            time.sleep(0.05)
    update(job, window, epoch)
loop._update = slow
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stop(cwd: Path, number: int, step: int, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run train.py in a process, and send it a signal within the step of this number."""
    paused = cwd / "paused"
    environment = {**os.environ, "PAUSE_AT": str(step), "PAUSED": str(paused)}
    command = [sys.executable, "-c", PAUSE, str(ROOT / "train.py"), *overrides]
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(1200):
            if paused.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def assert_same_end(one: Path, other: Path) -> None:
    for name in ("best.pt", "last.pt"):
        a, b = (torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, other))
        assert a["step"] == b["step"]
        assert all(torch.equal(value, b["model"][key]) for key, value in a["model"].items()), name
    a, b = (json.loads((run / "metrics.json").read_text()) for run in (one, other))
    assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


@pytest.fixture(scope="module")
def whole(train_here: Callable, text_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing stops."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train_here(run_dir, *COMMON, "data=file", f"data.path={text_csv}")
    return run_dir


def test_killed_at_any_step_it_ends_in_the_same_bits(whole: Path, python: Callable, text_csv: Path, tmp_path: Path) -> None:
    step = random.randrange(1, 50)  # any step will do; the message says which one it was
    killed = stop(tmp_path, signal.SIGKILL, step, *COMMON, "data=file", f"data.path={text_csv}", "hydra.run.dir=run")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = tmp_path / "run"
    assert json.loads((run / "status.json").read_text())["status"] == "running"
    resumed = python("train.py", "resume=run", cwd=tmp_path)
    assert resumed.returncode == 0, f"killed at step {step}: {resumed.stderr}"
    assert_same_end(whole, run)


def test_ctrl_c_saves_and_prints_the_command_that_goes_on(whole: Path, text_csv: Path, tmp_path: Path) -> None:
    stopped = stop(tmp_path, signal.SIGINT, 30, *COMMON, "data=file", f"data.path={text_csv}", "hydra.run.dir=my run")
    assert stopped.returncode == 130, stopped.stderr
    assert "interrupted by Ctrl-C; saved at step 31" in stopped.stdout
    run = tmp_path / "my run"
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
    assert torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"] == 31
    command = re.search(r"^ *(python train\.py resume=.*)$", stopped.stdout, re.MULTILINE)
    assert command is not None
    program = [sys.executable, str(ROOT / "train.py"), *shlex.split(command[1])[2:]]
    resumed = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_end(whole, run)


def test_auto_is_the_newest_unfinished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    states = {"outputs/a/1": "interrupted", "multirun/b/0": "running", "outputs/c/2": "finished", "outputs/d/3": None}
    for age, (place, status) in enumerate(states.items()):
        run = tmp_path / place
        (run / "checkpoints").mkdir(parents=True)
        (run / ".hydra").mkdir()
        (run / ".hydra" / "overrides.yaml").write_text("[]")
        if status is not None:  # the last one never came to a checkpoint
            (run / "status.json").write_text(json.dumps({"status": status}))
            (run / "checkpoints" / "last.pt").touch()
            os.utime(run / "checkpoints" / "last.pt", (1000 + age, 1000 + age))
    assert find_resumable("auto") == tmp_path / "multirun/b/0"
    (tmp_path / "multirun/b/0/status.json").write_text('{"status": "finished"}')
    assert find_resumable("auto") == tmp_path / "outputs/a/1"
    (tmp_path / "outputs/a/1/status.json").unlink()
    assert find_resumable("auto") == tmp_path / "outputs/a/1"
    (tmp_path / "outputs/a/1/checkpoints/last.pt").unlink()
    with pytest.raises(RecipesError, match="resume=auto: no unfinished run"):
        find_resumable("auto")


SMALL = ["model=mlp", "data=breast_cancer", "trainer.max_epochs=3", "trainer.progress=off", "trainer.device=cpu", "logger=none"]


def test_a_finished_run_says_so(train: Callable, tmp_path: Path) -> None:
    assert train(*SMALL, "hydra.run.dir=run").code == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "checkpoints").iterdir()}
    again = train("resume=run")
    assert again.code == 0
    assert "nothing to resume" in again.out
    assert "is finished" in again.out
    assert {p: p.stat().st_mtime_ns for p in before} == before
    other = train("resume=run", "trainer.max_epochs=9")
    assert other.code == 2, "what was typed beside resume must not be dropped in silence"


def test_another_config_is_refused_and_free_settings_are_not(train: Callable, tmp_path: Path) -> None:
    assert train(*SMALL, "hydra.run.dir=run").code == 0
    (tmp_path / "run" / "status.json").write_text('{"status": "interrupted"}')
    other = train("resume=run", "model.dropout=0.3", "seed=4")
    assert other.code == 2
    assert "belongs to another config:\n  model.dropout: 0.1 in the checkpoint, 0.3 now\n  seed: 0 in the checkpoint, 4 now" in other.err
    assert train("resume=run", "trainer.log_every=7", "logger=none").code == 0
    sweep = train("-m", "resume=run")
    assert (sweep.code, "resume: continues one run; drop `-m`" in sweep.err) == (2, True)


@pytest.mark.parametrize(("name", "size"), [("last.pt", 3000), ("last.pt", 0), ("last.pt", None), ("best.pt", 300), ("best.pt", None)])
def test_a_damaged_checkpoint_is_named(train: Callable, tmp_path: Path, name: str, size: int | None) -> None:
    assert train(*SMALL, "hydra.run.dir=run").code == 0
    (tmp_path / "run" / "status.json").write_text('{"status": "interrupted"}')
    path = tmp_path / "run" / "checkpoints" / name
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    outcome = train("resume=run")
    assert outcome.code == 2
    what = f"there is no checkpoint at {path}" if size is None else f"the checkpoint {path} ({size:,} bytes) is truncated or damaged"
    assert f"{what}; there is no other one to continue from: start the run again without resume" in outcome.err


def test_odd_characters_in_the_path_of_a_run(train: Callable, tmp_path: Path) -> None:
    assert train(*SMALL, "hydra.run.dir=run").code == 0
    odd = tmp_path / "run (1), é=2 'x'"
    (tmp_path / "run").rename(odd)
    (odd / "status.json").write_text('{"status": "interrupted"}')
    outcome = train(f"resume={odd.name}")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads((odd / "status.json").read_text()) == {"status": "finished"}


def test_a_full_disk_loses_nothing_and_the_run_goes_on(train: Callable, tmp_path: Path) -> None:
    """A file may not grow beyond a limit between the size of best.pt and that of last.pt with its optimizer state."""
    assert train(*SMALL, "hydra.run.dir=whole").code == 0
    sizes = {name: (tmp_path / "whole" / "checkpoints" / name).stat().st_size for name in ("best.pt", "last.pt")}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sum(sizes.values()) // 2, limits[1]))
    try:
        full = train(*SMALL, "hydra.run.dir=run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    run = tmp_path / "run"
    assert full.code == 2
    assert f"the checkpoint could not be written to {run}/checkpoints/last.pt: File too large" in full.err
    assert "the one before it is untouched" in full.err
    assert f"continue with `python train.py resume={run}`" in full.err
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.pt", "last.pt"]
    assert torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"] == 0
    assert train(f"resume={run}").code == 0
    assert_same_end(tmp_path / "whole", run)


OUTSIDE = {"read_data": "interrupted; nothing was trained yet", "conclude": "interrupted; Continue with:"}


@pytest.mark.parametrize(("where", "told"), OUTSIDE.items())
def test_ctrl_c_outside_the_loop(train: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, told: str) -> None:
    """While the data is read, and while the test split is scored."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"recipes.cli.train.{where}", interrupted)
        outcome = train(*SMALL, "hydra.run.dir=run")
    assert (outcome.code, outcome.err) == (130, "")
    assert told in outcome.out
    assert json.loads((tmp_path / "run" / "status.json").read_text()) == {"status": "interrupted"}
    if where == "conclude":
        assert f"python train.py resume={tmp_path / 'run'}" in outcome.out.replace("\n", "")
        assert train("resume=run").code == 0
        last = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
        assert json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"] == last["step"] > 0


def test_a_run_that_trains_now_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in one directory would overwrite each other's checkpoints."""
    import json
    import os
    import socket

    from recipes.cli import entry
    from recipes.errors import RecipesError

    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "outputs" / "day" / "time"
    for name in (".hydra/overrides.yaml", "checkpoints/last.pt"):
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text("[]")
    status = {"status": "running", "host": socket.gethostname(), "pid": os.getppid()}
    (run_dir / "status.json").write_text(json.dumps(status))
    with pytest.raises(RecipesError, match=f"process {os.getppid()} is training in"):
        entry.find_resumable(str(run_dir))
    with pytest.raises(RecipesError, match="no unfinished run"):
        entry.find_resumable("auto")
    (run_dir / "status.json").write_text(json.dumps(status | {"pid": 2**22 + 1}))  # killed: no such process
    assert entry.find_resumable("auto") == run_dir.resolve()


def test_a_resume_that_is_refused_changes_no_status(tmp_path: Path) -> None:
    from recipes.cli.status import read_status, write_failure, write_status

    write_status(tmp_path, "finished")
    write_failure(tmp_path, "the checkpoint belongs to another config")
    assert read_status(tmp_path) == "finished"
    write_status(tmp_path, "running")
    write_failure(tmp_path, "a bug")
    assert read_status(tmp_path) == "failed"


def test_flags_stand_before_the_overrides_of_the_resumed_run(tmp_path: Path) -> None:
    """argparse refuses overrides that stand on both sides of a flag."""
    from recipes.cli import entry

    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("[model=mlp, hydra.run.dir=x, resume=y]")
    found = entry._with_resumed_overrides(["seed=1", "--config-dir", "conf", f"resume={tmp_path}"])
    assert found[:4] == ["--config-dir", "conf", "model=mlp", "seed=1"]
    assert found[4].startswith("hydra.run.dir=")
    assert found[-1].startswith("resume=")
