"""What happens before and around a command: errors without a traceback, run directories that never collide, `resume=`.

Imports no torch: `train.py --help` and shell completion come through here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.cli.explain import explain, no_run_dir, quoted
from recipes.cli.status import read_status, running_process
from recipes.errors import RecipesError

USER_ERROR = 2
_claimed: dict[str, str] = {}


def config_dir() -> Path:
    """The configs: inside an installed package, or at the top of a checkout."""
    inside = Path(__file__).resolve().parents[1] / "configs"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "configs"


def unused_dir(wanted: str) -> str:
    """`wanted`, or `wanted-2`, `-3`, ... if it is taken. The directory is made here, so two runs of the same second get two.

    Hydra resolves the value several times; within a process the first answer stands.
    """
    if wanted not in _claimed:
        name, number = wanted, 1
        while True:
            try:
                os.makedirs(name, exist_ok=False)
                break
            except FileExistsError:
                number += 1
                name = f"{wanted}-{number}"
        _claimed[wanted] = name
    return _claimed[wanted]


OmegaConf.register_new_resolver("unused_dir", unused_dir, replace=True)


def run(main: Callable[[], Any], argv: list[str] | None = None) -> None:
    """Run a `@hydra.main` function: the user's mistakes end with one screen of text and exit code 2, bugs with their traceback."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them and leaving with 1
    try:
        sys.argv[1:] = _with_resumed_overrides(sys.argv[1:] if argv is None else argv)
        main()
    except RecipesError as error:
        leave(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        leave(explain(error, sys.argv[1:], config_dir()))
    except ValueError as error:
        if "Config group override" not in str(error):  # Hydra's, for group=null
            raise
        leave(explain(error, sys.argv[1:], config_dir()))
    except OSError as error:  # what goes wrong inside a command is told by the command; this is Hydra making its directory
        leave(no_run_dir(f"{error.filename or ''}: {error.strerror or error}"))


def typed_overrides(hydra: Any) -> list[str]:
    """What was typed, as it was typed: an interpolation in it is resolved in the config, not here."""
    plain = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return [str(o) for o in plain] if isinstance(plain, list) else []


def leave(message: str, code: int = USER_ERROR) -> None:
    """Print a user's error to stderr and exit."""
    print(f"Error: {message}", file=sys.stderr)  # noqa: T201  the last words of a command, before any console exists
    raise SystemExit(code)


def _with_resumed_overrides(argv: list[str]) -> list[str]:
    """`resume=<run>` stands for the overrides of that run, in its directory; what is typed beside it is added, and checked later."""
    wanted = [re.sub(r"^(['\"])(.*)\1$", r"\2", a.partition("=")[2]) for a in argv if a.startswith("resume=")]
    if not wanted or wanted[-1] in ("", "null"):
        return argv
    if "-m" in argv or "--multirun" in argv:
        raise RecipesError("resume: continues one run; drop `-m`, or name the directory of one job of the sweep")
    run_dir = find_resumable(wanted[-1])
    stored = OmegaConf.load(run_dir / ".hydra" / "overrides.yaml")
    hydra_own = [quoted("hydra.run.dir", str(run_dir)), "hydra.output_subdir=null"]
    kept = [str(o) for o in stored if not str(o).startswith(("resume=", "hydra."))]
    typed = [a for a in argv if not a.startswith("-") and ("=" in a or a.startswith("~"))]
    flags = [a for a in argv if a not in typed]  # argparse wants all overrides in one piece
    return flags + kept + [a for a in typed if not a.startswith("resume=")] + hydra_own + [quoted("resume", str(run_dir))]


def find_resumable(wanted: str) -> Path:
    """The run directory that `resume=` means; `auto` is the newest unfinished one below outputs/ and multirun/."""
    if wanted != "auto":
        run_dir = Path(wanted).expanduser()
        if not (run_dir / ".hydra" / "overrides.yaml").is_file():
            raise RecipesError(f"resume: '{wanted}' is not a run directory (it has no .hydra/overrides.yaml); give one, or `resume=auto`")
        if (pid := running_process(run_dir)) is not None:
            raise RecipesError(f"resume: process {pid} is training in '{wanted}' now; wait for it, or stop it first (Ctrl-C saves)")
        return run_dir.resolve()
    found = [p.parents[1] for root in ("outputs", "multirun") for p in Path(root).glob("**/checkpoints/last.pt")]
    stopped = [d for d in found if read_status(d) != "finished" and running_process(d) is None]
    unfinished = [d for d in stopped if (d / ".hydra" / "overrides.yaml").is_file()]
    if not unfinished:
        raise RecipesError("resume=auto: no unfinished run with a checkpoint below outputs/ or multirun/")
    return max(unfinished, key=lambda d: (d / "checkpoints" / "last.pt").stat().st_mtime).resolve()
