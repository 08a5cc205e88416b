"""Room on the disk: what is asked for before the work, and how near that is to what the work takes."""

import dataclasses
import gzip
import shutil
from pathlib import Path

import pytest

from virnucpro_assets.drops.disk_space import (
    INDEX_PER_PACKED_BYTE,
    INDEX_PER_PLAIN_BYTE,
    PART_FRAME,
    cache_bytes,
    check_data_root,
    embedding_bytes,
    index_bytes,
    readable_size,
    require_disk_space,
    table_bytes,
)
from virnucpro_assets.drops.recipes import EncoderChoices
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, InsufficientDiskSpaceError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.embed import embed_drop, open_pool, require_space_for_embeddings
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.passed_checks import pass_checks_of_index, pass_checks_of_shards


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_root=tmp_path / "data", devices="cpu:1", token_budget=1024, packs_per_part=1)


@pytest.fixture
def indexed(settings: Settings, small_reads: Path) -> DropWork:
    register_reads("d", [ReadFile(small_reads)], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    return work


def written(folder: Path) -> int:
    """The bytes of the files of a generation that embeddings add to it."""
    files = [path for kind in ENCODER_KINDS for path in (folder / kind).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in [*files, folder / "merged.h5", folder / "merged.toml"])


def test_the_room_for_embeddings_is_what_they_take_but_for_the_frames(indexed: DropWork) -> None:
    before = sum(embedding_bytes(indexed, kind, range(4)) for kind in ENCODER_KINDS)
    with open_pool(indexed.settings) as pool, pool.lease() as lease:
        shards = list(embed_drop(indexed, dict.fromkeys(ENCODER_KINDS, range(4)), lease))
    pass_checks_of_shards(indexed)
    merge_drop(indexed)
    parts = sum(len(shard.parts) for shard in shards)
    assert parts > 8
    taken = written(indexed.folder.path)
    assert taken <= before < taken + parts * PART_FRAME
    assert [embedding_bytes(indexed, kind, range(4)) for kind in ENCODER_KINDS] == [0, 0]
    first = shards[0].parts[0]
    (indexed.folder.shard("dnabert_s", shards[0].rank, 4) / first.name).unlink()
    row = 4 * indexed.encoders["dnabert_s"].width + 24
    missing = (first.stop - first.start) * row + PART_FRAME
    assert embedding_bytes(indexed, "dnabert_s", range(4)) == missing
    assert embedding_bytes(indexed, "dnabert_s", [rank for rank in range(4) if rank != shards[0].rank]) == 0


@pytest.mark.slow
def test_the_cache_asks_for_room_up_to_its_limit_and_what_it_holds_already_lies_there(
    indexed: DropWork,
) -> None:
    assert cache_bytes(indexed, 1 << 30) == 0
    large, small = (
        dataclasses.replace(
            indexed, settings=indexed.settings.model_copy(update={"embedding_cache_gib": size / 2**30})
        )
        for size in (1 << 30, 30_000)
    )
    all_of_it = sum(embedding_bytes(indexed, kind, range(4)) for kind in ENCODER_KINDS)
    assert cache_bytes(large, all_of_it) == all_of_it
    assert cache_bytes(small, all_of_it) == 30_000
    with open_pool(small.settings) as pool, pool.lease() as lease:
        list(embed_drop(small, dict.fromkeys(ENCODER_KINDS, range(4)), lease))
    taken = sum(path.stat().st_size for path in small.settings.cache_folder.rglob("*.npy"))
    assert 10_000 < taken <= 30_000
    shutil.rmtree(small.folder.path / "esm2")
    assert cache_bytes(small, all_of_it) == 30_000 - taken


def test_packed_reads_ask_for_more_room_a_byte_than_plain_ones(tmp_path: Path, small_reads: Path) -> None:
    plain, packed = ReadFile(small_reads), ReadFile(tmp_path / "reads.fastq")
    packed.path.write_bytes(gzip.compress(small_reads.read_bytes()))
    sizes = [file.path.stat().st_size for file in (plain, packed)]
    expected = [int(sizes[0] * INDEX_PER_PLAIN_BYTE), int(sizes[1] * INDEX_PER_PACKED_BYTE)]
    assert [index_bytes([plain]), index_bytes([packed])] == expected
    assert index_bytes([plain, packed]) == sum(expected)


def test_a_disk_with_too_little_room_is_named_with_both_sizes(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    require_disk_space(tmp_path / "not" / "yet", free // 2, "the index of drop d")
    with pytest.raises(InsufficientDiskSpaceError) as raised:
        require_disk_space(tmp_path / "not" / "yet", 3 * 10**18, "the index of drop d")
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}: found ")
    assert (
        " free on its disk; expected about 3e+06 TB for the index of drop d. Free some space there" in message
    )
    assert raised.value.exit_code == 1


def test_a_run_without_room_for_both_encoders_ends_before_it_computes_anything(indexed: DropWork) -> None:
    wide = EncoderChoices(indexed.settings)
    large = wide["esm2"].model_copy(update={"width": 10**12})
    # No classifier fits so wide an encoder; without one there is only a warning.
    without_classifier = indexed.settings.model_copy(
        update={"classifiers": indexed.settings.data_root / "none"}
    )
    work = dataclasses.replace(
        indexed, settings=without_classifier, encoders={"dnabert_s": wide["dnabert_s"], "esm2": large}
    )
    assert embedding_bytes(work, "esm2", [0]) > 10**13
    require_space_for_embeddings(work, {"dnabert_s": range(4)})
    with pytest.raises(
        InsufficientDiskSpaceError,
        match=r"for the embeddings of dnabert_s and esm2 and the tables of drop d\.",
    ):
        require_space_for_embeddings(work, dict.fromkeys(ENCODER_KINDS, range(4)))
    with (
        open_pool(work.settings) as pool,
        pool.lease() as lease,
        pytest.raises(InsufficientDiskSpaceError, match=r"for the embeddings of esm2"),
    ):
        list(embed_drop(work, {"esm2": range(4)}, lease))
    assert list(work.folder.path.glob("*/*/part-*")) == []


@pytest.mark.slow
def test_the_tables_of_a_drop_fit_into_what_was_asked_for_them(
    tmp_path: Path, settings: Settings, small_reads: Path
) -> None:
    register_reads("d", [ReadFile(small_reads)], settings)
    folder = run_drop("d", settings.model_copy(update={"check_sample": 1}), [].append)
    tables = [path for part in (folder.predictions, folder.calls) for path in part.iterdir()]
    text = sum(path.stat().st_size for path in tables if path.suffix != ".parquet")
    assert 0 < text < table_bytes(DropWork.on("d", settings, [].append))


def test_data_that_cannot_be_written_are_told_before_the_reads_are_looked_at(settings: Settings) -> None:
    root = Path("/proc/data")
    with pytest.raises(InputError, match=r"/proc: found a folder that takes no files .*VIRNUCPRO_DATA_ROOT"):
        check_data_root(root)
    with pytest.raises(InputError, match=r"/proc: found a folder that takes no files"):
        run_drop("never-registered", settings.model_copy(update={"data_root": root}), [].append)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_006, "1.01 kB"),
        (999_400, "999 kB"),
        (999_700, "1 MB"),
        (12_345_678, "12.3 MB"),
        (999_900_000_000, "1 TB"),
        (1_500_000_000_000, "1.5 TB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(size: int, text: str) -> None:
    assert readable_size(size) == text
