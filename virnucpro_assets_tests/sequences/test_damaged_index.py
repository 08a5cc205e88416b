"""Damaged, unfinished and foreign indexes: an error that names the file, and nothing left behind."""

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.manifests import write_manifest
from virnucpro_assets.files.parquet import TableWriter
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_builder import index_batches
from virnucpro_assets.sequences.index_manifest import IndexOrigin
from virnucpro_assets_tests.sequences.indexes import FILES, in_batches, indexed, some_reads


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_when_the_content_is_verified(tmp_path: Path, name: str) -> None:
    indexed(some_reads(count=40), tmp_path / "index")
    path = tmp_path / "index" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"{name}: found SHA-256 .* expected"):
        SequenceIndex.open(tmp_path / "index", verify_content=True)


def everything_in(folder: Path) -> list[object]:
    """All that a reader can ask of an index."""
    index = SequenceIndex.open(folder)
    rows = index.rows(0, index.manifest.rows)
    found: list[object] = [rows.proteins.data.tobytes(), rows.nucleotides.data.tobytes()]
    found += [rows.proteins.offsets.tolist(), rows.nucleotides.offsets.tolist()]
    found += [index.protein_lengths().tolist(), index.nucleotide_lengths().tolist()]
    for members in index.member_batches(50):
        found += [column.tolist() for column in (members.read, members.chunk, members.frame, members.row)]
    for reads in index.read_batches(50):
        found += [reads.names, *(column.tolist() for column in (reads.lengths, reads.chunks, reads.members))]
        found += [reads.reasons.tolist(), reads.unreadable.tolist()]
    return found


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def places_to_flip(path: Path, draw: random.Random) -> list[tuple[int, int]]:
    """Bits of a Parquet file: all of the first page's header of each column, some of everything else."""
    group, size = pq.read_metadata(path).row_group(0), path.stat().st_size
    starts = [group.column(number).data_page_offset for number in range(group.num_columns)]
    headers = [(start + byte, bit) for start in starts for byte in range(24) for bit in range(8)]
    return headers + [(draw.randrange(size), draw.randrange(8)) for _ in range(60)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name != "rows.parquet" else ()) for name in FILES]
)
def test_a_flipped_bit_anywhere_is_an_error_that_names_the_file_or_changes_nothing(
    tmp_path: Path, name: str
) -> None:
    indexed(some_reads(count=200), tmp_path / "index")
    path, draw = tmp_path / "index" / name, random.Random(5)
    whole, expected = path.read_bytes(), everything_in(tmp_path / "index")
    caught = 0
    for place, bit in places_to_flip(path, draw):
        path.write_bytes(flipped(whole, place, bit))
        try:
            found = everything_in(tmp_path / "index")
        except IntegrityError as error:
            assert str(path) in str(error)
            caught += 1
        else:
            assert found == expected, f"bit {bit} of byte {place} of {name}"
    assert caught > 100


def test_a_flipped_letter_is_found_by_the_checksum_of_its_page(tmp_path: Path) -> None:
    indexed(some_reads(count=200), tmp_path / "index")
    path = tmp_path / "index" / "rows.parquet"
    column = pq.read_metadata(path).row_group(0).column(3)
    place = column.data_page_offset + column.total_compressed_size - 20
    path.write_bytes(flipped(path.read_bytes(), place, 3))
    index = SequenceIndex.open(tmp_path / "index")
    with pytest.raises(
        IntegrityError, match=r"rows\.parquet: found .*CRC checksum.*; expected .*materialise"
    ):
        index.rows(0, 1)


def test_a_file_that_was_cut_short_is_found_at_once(tmp_path: Path) -> None:
    indexed(some_reads(count=40), tmp_path / "index")
    path = tmp_path / "index" / "rows.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"rows\.parquet: found .* bytes"):
        SequenceIndex.open(tmp_path / "index")


def test_a_folder_without_a_manifest_is_no_index(tmp_path: Path) -> None:
    indexed(some_reads(count=40), tmp_path / "index")
    (tmp_path / "index" / "manifest.toml").unlink()
    with pytest.raises(IntegrityError, match=r"manifest\.toml: found no file"):
        SequenceIndex.open(tmp_path / "index")


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    manifest = indexed([], tmp_path / "index")
    other = manifest.model_copy(update={"format_version": 9})
    write_manifest(tmp_path / "index" / "manifest.toml", other)
    with pytest.raises(IntegrityError, match="found index format 9; expected 3"):
        SequenceIndex.open(tmp_path / "index")


def test_nothing_temporary_stays_after_success_or_an_error(tmp_path: Path) -> None:
    def broken() -> Iterator[ReadBatch]:
        yield from in_batches(some_reads(count=60), 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_batches(
            broken(),
            tmp_path / "bad",
            IndexOrigin(drop_digest="", chunk_length=300, ranks=1),
            memory_budget=1000,
        )
    assert list(tmp_path.iterdir()) == []
    indexed(some_reads(count=60), tmp_path / "good")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["good", "manifest.toml", *FILES])


def test_an_error_leaves_the_index_that_was_there(tmp_path: Path) -> None:
    manifest = indexed(some_reads(count=60), tmp_path / "index")

    def broken() -> Iterator[ReadBatch]:
        yield from in_batches([b"ATGC"], 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_batches(broken(), tmp_path / "index", IndexOrigin(drop_digest="", chunk_length=300, ranks=1))
    assert SequenceIndex.open(tmp_path / "index", verify_content=True).manifest == manifest


def test_a_crash_before_the_manifest_leaves_no_index_and_nothing_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed(some_reads(count=60), tmp_path / "index")

    def full_disk(table: TableWriter) -> None:
        table.abandon()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TableWriter, "close", full_disk)
    with pytest.raises(OSError, match="No space left"):
        indexed(some_reads(count=50), tmp_path / "index")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["index", *FILES]
    with pytest.raises(IntegrityError, match=r"manifest\.toml: found no file"):
        SequenceIndex.open(tmp_path / "index")
