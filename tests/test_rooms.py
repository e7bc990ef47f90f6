"""Data flows one way: a room imports only rooms above it, and the house stays small."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "recipes"
ORDER = [
    "errors", "randomness", "config", "data", "priors", "sampling", "augmentation", "models", "losses", "optim", "evaluation", "training",
    "inference", "reporting", "cli",
]  # fmt: skip
ENTRANCES = ("__init__", "__main__")  # the package's own doors may open any room, lazily


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "recipes" and len(parts) > 1 else None


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "recipes":
                found |= {f"recipes.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


FILES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem not in ENTRANCES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for module in imports(path):
        room = room_of(module)
        if room is None or room == own or room.startswith("__"):
            continue
        assert room in ORDER, f"{module}: a room that the plan does not know"
        assert ORDER.index(room) < ORDER.index(own), f"{path.relative_to(SOURCE)} imports {module}: {own} stands above {room}"


def test_every_folder_is_a_room_of_the_plan() -> None:
    rooms = {p.name.removesuffix(".py") for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert rooms - set(ENTRANCES) <= set(ORDER)


def test_the_loop_is_short_and_names_no_feature() -> None:
    text = (SOURCE / "training" / "loop.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    names = {p.stem for group in ("model", "sampler", "loss") for p in (SOURCE.parents[1] / "configs" / group).glob("*.yaml")}
    assert names
    assert not names & set(re.findall(r"[a-z_0-9]+", text.lower()))
