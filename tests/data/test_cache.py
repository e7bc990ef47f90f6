"""Entries of the cache: whole or not there, and never a reason to stop."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.data.cache import KEEP_SECONDS, STALE_SECONDS, Cache, digest

KEY = digest("an entry")
META = {"words": ["a\nb", "é", "\x00"], "mean": 0.1, "none": None}
ARRAYS = {"train.ids": np.arange(9, dtype=np.int32), "train.empty": np.empty((0, 3), np.float32), "test.x": np.ones((2, 2), np.float32)}


def written(root: Path) -> Cache:
    cache = Cache(str(root))
    cache.write(KEY, META, ARRAYS)
    assert cache.notes == []
    return cache


def check(cache: Cache) -> None:
    found = cache.read(KEY)
    assert found is not None
    meta, arrays = found
    assert meta == META
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_round_trip(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "deep" / "cache"))
    assert cache.read(KEY) is None
    cache.write(KEY, META, ARRAYS)
    check(cache)
    check(Cache(str(tmp_path / "deep" / "cache")))
    assert cache.notes == []
    assert [entry.name for entry in (tmp_path / "deep" / "cache").iterdir()] == [KEY]


def test_arrays_are_mapped_and_torch_takes_them_without_a_copy_or_a_warning(tmp_path: Path) -> None:
    _, arrays = written(tmp_path).read(KEY) or ({}, {})
    array = arrays["train.ids"]
    assert isinstance(array.base, np.memmap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(array)
    assert tensor.data_ptr() == array.ctypes.data
    tensor += 1  # reaches memory, not the disk
    check(Cache(str(tmp_path)))


def test_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache("auto").root == tmp_path / "recipes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache("auto").root == tmp_path / ".cache" / "recipes"
    assert Cache("~/mine").root == tmp_path / "mine"
    off = Cache("off")
    off.write(KEY, META, ARRAYS)
    assert off.read(KEY) is None
    assert off.notes == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["meta.json", "files.json", "train.ids.npy", "test.x.npy"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed", "one byte changed"])
def test_damage_is_seen_and_mended(tmp_path: Path, name: str, damage: str) -> None:
    written(tmp_path)
    path = tmp_path / KEY / name
    content = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(content[:-1])
    else:
        content[-2] ^= 1
        path.write_bytes(content)
    cache = Cache(str(tmp_path))
    assert cache.read(KEY) is None
    (note,) = cache.notes
    assert "is damaged" in note
    assert KEY in note
    cache.write(KEY, META, ARRAYS)
    check(cache)
    assert len(cache.notes) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY]


@pytest.mark.parametrize("content", ["[1]", "{}", '{"meta.json": 3}', "null"])
def test_a_list_of_files_that_lists_something_else(tmp_path: Path, content: str) -> None:
    written(tmp_path)
    (tmp_path / KEY / "files.json").write_text(content)
    (tmp_path / KEY / "meta.json").write_text("{")
    cache = Cache(str(tmp_path))
    assert cache.read(KEY) is None
    assert len(cache.notes) == 1


def test_a_half_written_entry_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    cache = Cache(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.write(KEY, META, ARRAYS)
    assert cache.read(KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = Cache(str(tmp_path))
    monkeypatch.setattr(np, "save", full)
    cache.write(KEY, META, ARRAYS)
    (note,) = cache.notes
    assert "No space left on device" in note
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(str(tmp_path / "file" / "cache"))
    assert cache.read(KEY) is None
    cache.write(KEY, META, ARRAYS)
    (note,) = cache.notes
    assert "cannot be written" in note


def _write_and_read(root: str) -> bool:
    cache = Cache(root)
    for _ in range(5):
        cache.write(KEY, META, ARRAYS)
        found = cache.read(KEY)
        if found is not None and found[0] != META:
            return False
    return all("damaged" in note for note in cache.notes)


def test_processes_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_write_and_read, [str(tmp_path)] * 4) == [True] * 4
    check(Cache(str(tmp_path)))


def test_what_was_not_read_for_long_is_removed(tmp_path: Path) -> None:
    written(tmp_path)
    others = {digest(i): age for i, age in enumerate([KEEP_SECONDS + 60, KEEP_SECONDS - 3600])}
    others |= {".writing-old": STALE_SECONDS + 60, ".writing-new": 60, "of the user": 10 * KEEP_SECONDS}
    for name, age in others.items():
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    os.utime(tmp_path / KEY, (0, 0))
    check(Cache(str(tmp_path)))  # reading makes it young again
    Cache(str(tmp_path)).write(digest("new"), META, {})
    kept = {entry.name for entry in tmp_path.iterdir()}
    assert kept == {KEY, digest("new"), digest(1), ".writing-new", "of the user"}


def test_digest_depends_on_content_alone() -> None:
    assert digest({"a": 1, "b": [2]}) == digest(json.loads('{"b": [2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})
