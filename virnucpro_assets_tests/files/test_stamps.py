"""What a stamp takes for a change: all that could be one, and a file of just now."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.files import digests
from virnucpro_assets.files.digests import is_unchanged, stamp_of


def rewrite(path: Path) -> None:
    path.write_bytes(b"other")


def rewrite_and_set_back_the_time(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_a_copy(path: Path) -> None:
    status = path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.rename(path)


def longer(path: Path) -> None:
    path.write_bytes(b"longer than before")


@pytest.mark.parametrize(
    "change", [rewrite, rewrite_and_set_back_the_time, replace_by_a_copy, longer, Path.unlink]
)
def test_every_change_is_one(
    tmp_path: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    path = tmp_path / "file"
    path.write_bytes(b"first")
    stamp = stamp_of(path)
    assert path.read_bytes() == b"first"
    assert is_unchanged(path, stamp)
    change(path)
    assert not is_unchanged(path, stamp)


def test_a_file_of_just_now_has_no_stamp_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    now = path.stat().st_ctime
    monkeypatch.setattr(digests.time, "time", lambda: now + 0.9)
    assert stamp_of(path) == ""
    assert not is_unchanged(path, "")
    monkeypatch.setattr(digests.time, "time", lambda: now + 1.1)
    assert is_unchanged(path, stamp_of(path))
