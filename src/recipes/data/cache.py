"""Encoded data on disk: named arrays and one JSON document, mapped back into memory.

An entry is a directory that appears whole, by one rename, and `files.json` in it holds size and digest of every other file; what does not
match is built again. Nothing here may end a run: a cache that cannot be written is a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from recipes.data.stores import Arrays

KEEP_SECONDS = 30 * 24 * 3600  # an entry that no run has read for so long is removed
STALE_SECONDS = 24 * 3600  # what a killed process was writing
_WRITING = ".writing-"
_OURS = re.compile(rf"[0-9a-f]{{32}}|{re.escape(_WRITING)}.*")  # a cache directory that the user names may hold other things


def digest(data: Any) -> str:
    """Digest of a JSON-able value, the same on every machine."""
    return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=16).hexdigest()


class Cache:
    """Entries under one directory: `auto` is $XDG_CACHE_HOME/recipes or ~/.cache/recipes, `off` is none, else a path.

    `notes` gathers what the user should hear.
    """

    def __init__(self, setting: str) -> None:
        self.notes: list[str] = []
        if setting == "off":
            self.root = None
        elif setting == "auto":
            home = os.environ.get("XDG_CACHE_HOME")
            self.root = (Path(home) if home else Path("~/.cache").expanduser()) / "recipes"
        else:
            self.root = Path(setting).expanduser().absolute()

    def read(self, key: str) -> tuple[dict[str, Any], Arrays] | None:
        """The entry's document and its arrays, mapped copy-on-write; None where there is none, or none that is whole."""
        if self.root is None:
            return None
        entry = self.root / key
        try:
            if not entry.is_dir():
                return None
            files = json.loads((entry / "files.json").read_text("utf-8"))
            for name, expected in files.items():
                if _fingerprint(entry / name) != expected:
                    raise ValueError(f"{name} is not what was written")
            meta = json.loads((entry / "meta.json").read_text("utf-8"))
            arrays = {Path(name).stem: _mapped(entry / name) for name in files if name.endswith(".npy")}
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            self.notes.append(f"cache: the entry {entry} is damaged ({error}) and is built again")
            return None
        with contextlib.suppress(OSError):  # a shared cache may be read-only: only the time of last use is lost
            os.utime(entry)
        return meta, arrays

    def write(self, key: str, meta: dict[str, Any], arrays: Arrays) -> None:
        """Store an entry, replacing one of the same key."""
        if self.root is None:
            return
        temporary = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=_WRITING, dir=self.root))
            (temporary / "meta.json").write_text(json.dumps(meta), "utf-8")
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            files = {path.name: _fingerprint(path) for path in sorted(temporary.iterdir())}
            (temporary / "files.json").write_text(json.dumps(files), "utf-8")
            self._replace(self.root / key, temporary)
            self._trim()
        except OSError as error:
            self.notes.append(f"cache: {self.root} cannot be written ({error.strerror or error}), so the next run encodes the data again")
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def _replace(self, entry: Path, temporary: Path) -> None:
        assert self.root is not None
        if entry.exists():
            # A directory cannot be renamed over another, so the old one, which was damaged, steps aside first.
            aside = Path(tempfile.mkdtemp(prefix=_WRITING, dir=self.root))
            with contextlib.suppress(FileNotFoundError):  # another process had the same thought
                os.replace(entry, aside)
            shutil.rmtree(aside, ignore_errors=True)
        try:
            os.replace(temporary, entry)
        except OSError:
            if not entry.is_dir():  # else another process was faster, with the same content
                raise

    def _trim(self) -> None:
        """Remove entries that were not read for long, and the remains of killed processes."""
        assert self.root is not None
        now = time.time()
        for entry in self.root.iterdir():
            with contextlib.suppress(OSError):
                age = now - entry.stat().st_mtime
                if age > (STALE_SECONDS if entry.name.startswith(_WRITING) else KEEP_SECONDS) and _OURS.fullmatch(entry.name):
                    shutil.rmtree(entry)


def _mapped(path: Path) -> np.ndarray:
    """An array whose pages are read when they are used. Copy-on-write, since torch asks for memory that can be written."""
    # asarray keeps the mapping and drops the class memmap, which would slow every index down.
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def _fingerprint(path: Path) -> list[Any]:
    """Size and digest of a file."""
    hasher = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
        return [file.tell(), hasher.hexdigest()]
