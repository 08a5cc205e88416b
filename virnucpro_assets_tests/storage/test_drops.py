"""Files of a drop are digested once, as long as they do not change."""

import os
from pathlib import Path

import pytest

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files import digests
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.drop_sources import DropSource
from virnucpro_assets.storage.drops import DropStore

READS = b">a\nACGT\n"


@pytest.fixture
def reads(tmp_path: Path) -> Path:
    path = tmp_path / "reads.fa"
    path.write_bytes(READS)
    return path


@pytest.fixture
def store(tmp_path: Path, reads: Path) -> DropStore:
    """A store in which drop `d` is registered."""
    store = DropStore(tmp_path / "data")
    store.register("d", DropSource.of([ReadFile(reads)], chunk_length=300, duplicates="suffix"))
    return store


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on; a file may be as young as it likes."""
    names: list[str] = []
    whole = digests.sha256_of_file

    def noted(path: Path) -> str:
        names.append(path.name)
        return whole(path)

    monkeypatch.setattr(digests, "sha256_of_file", noted)
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    return names


def test_a_file_that_does_not_change_is_digested_once(store: DropStore, digested: list[str]) -> None:
    first = store.list_files("d")
    first.check_files()
    assert store.list_files("d") == first
    assert store.current("d")[0] == first
    assert digested == ["reads.fa"]


def test_a_change_is_found_also_if_the_time_was_set_back(
    store: DropStore, reads: Path, digested: list[str]
) -> None:
    first, status = store.list_files("d"), reads.stat()
    reads.write_bytes(READS.replace(b"ACGT", b"ACGA"))
    os.utime(reads, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(
        IntegrityError, match=f"reads.fa: found SHA-256 .*; expected {first.records[0].sha256}"
    ):
        first.check_files()
    second = store.list_files("d")
    assert second.digest != first.digest
    second.check_files()
    assert digested == ["reads.fa"] * 3


def test_a_file_that_was_only_touched_is_read_and_found_the_same(
    store: DropStore, reads: Path, digested: list[str]
) -> None:
    first = store.list_files("d")
    os.utime(reads, (1, 1))
    first.check_files()
    again = store.list_files("d")
    assert (again.digest, again.records) == (first.digest, first.records)
    again.check_files()
    assert digested == ["reads.fa"] * 3


def test_a_file_of_just_now_is_digested_each_time(
    store: DropStore, digested: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", 1e9)
    first = store.list_files("d")
    assert first.stamps == [""]
    first.check_files()
    assert digested == ["reads.fa"] * 2
