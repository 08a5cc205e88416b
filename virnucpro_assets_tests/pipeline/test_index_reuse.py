"""An index that is there: kept if it is the one that would be built, never used if it is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.drops.stage_records import read_stages
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.manifests import write_manifest
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_manifest import IndexManifest
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings

FILES = ("rows.parquet", "members.parquet", "reads.parquet")
READS = {"a.fa": ">one\nATGGCTGCAGGTCTGAAAGTT\n>two\nATGCCC\n", "b.fa": ">three\nATGGCTGAA\n"}

Index = Callable[..., tuple[IndexManifest, list[str]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_root=tmp_path / "data", devices="cpu:1")


@pytest.fixture
def index(tmp_path: Path, settings: Settings) -> Index:
    """Register the two files with some options, list and index them; the manifest and what was said."""
    for name, text in READS.items():
        (tmp_path / name).write_text(text)

    def run(
        files: tuple[ReadFile, ...] = (ReadFile(tmp_path / "a.fa"), ReadFile(tmp_path / "b.fa")),
        ranks: int = 4,
        **options: object,
    ) -> tuple[IndexManifest, list[str]]:
        now, said = settings.model_copy(update={"ranks": ranks}), []
        register_reads("d", files, now, replace=True, **options)
        list_drop("d", now)
        return index_drop(DropWork.on("d", now, said.append)), said

    return run


def folder_of(settings: Settings) -> Path:
    return DropWork.on("d", settings, print).folder.index


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def test_a_whole_index_of_the_same_reads_is_kept_and_so_is_the_record_of_its_making(
    settings: Settings, index: Index
) -> None:
    before, said = index()
    assert said == []
    folder = folder_of(settings)
    stage, files = read_stages(folder.parent / "stages")["index"], inodes(folder)
    after, said = index()
    assert after == before
    assert said == [f"index {before.digest[:12]} exists, is whole and of these reads: it is reused"]
    assert inodes(folder) == files
    assert read_stages(folder.parent / "stages")["index"] == stage


@pytest.mark.parametrize(
    ("changes", "words", "same_content"),
    [
        ({"ranks": 3}, ["ranks 4 is now 3"], False),
        ({"chunk_length": 500}, ["chunk_length 300 is now 500"], False),
        ({"duplicates": "refuse"}, ["duplicates suffix is now refuse"], True),
    ],
)
def test_an_index_made_otherwise_is_made_anew(
    settings: Settings, index: Index, changes: dict[str, object], words: list[str], same_content: bool
) -> None:
    before, _ = index()
    after, said = index(**changes)
    assert said == [f"the index was made from something else ({'; '.join(words)}) and is built again"]
    assert (after.digest == before.digest) == same_content
    assert SequenceIndex.open(folder_of(settings), verify_content=True).manifest == after
    assert index(**changes)[0] == after


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ((("b.fa", 0), ("a.fa", 0)), ["three", "one", "two"]),
        ((("a.fa", 1), ("b.fa", 2)), ["one/1", "two/1", "three/2"]),
    ],
)
def test_the_order_of_the_files_and_who_is_whose_mate_are_part_of_what_an_index_is_made_from(
    tmp_path: Path, settings: Settings, index: Index, files: tuple[tuple[str, int], ...], names: list[str]
) -> None:
    index()
    folder = folder_of(settings)
    _, said = index(files=tuple(ReadFile(tmp_path / name, mate) for name, mate in files))
    assert folder_of(settings) == folder
    assert said[0].startswith("the index was made from something else (files_digest ")
    (reads,) = SequenceIndex.open(folder).read_batches()
    assert reads.names == names


def test_an_index_of_another_format_or_engine_is_made_anew(settings: Settings, index: Index) -> None:
    before, _ = index()
    for changes in ({"format_version": 1}, {"engine_format": 0}):
        write_manifest(folder_of(settings) / "manifest.toml", before.model_copy(update=changes))
        after, said = index()
        (name,) = changes
        assert said == [
            f"the index was made from something else ({name} {changes[name]} is now {getattr(before, name)}) "
            "and is built again"
        ]
        assert after == before


@pytest.mark.parametrize("name", [*FILES, "manifest.toml"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_index_is_set_aside_and_made_anew_equal(
    settings: Settings, index: Index, name: str, damage: str
) -> None:
    before, _ = index()
    folder = folder_of(settings)
    content = bytearray((folder / name).read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    (folder / name).write_bytes(content if damage == "flip" else content[:-1])
    if damage == "remove":
        (folder / name).unlink()
    after, said = index()
    assert after == before
    assert SequenceIndex.open(folder, verify_content=True).manifest == before
    aside = folder.with_name("index.quarantine-1")
    if (name, damage) == ("manifest.toml", "remove"):
        # Without a manifest it never was an index: a build that was killed looks like that.
        assert (said, aside.exists()) == ([], False)
        return
    assert [line.partition(":")[0] for line in said] == [
        f"a damaged index was renamed to {aside} and is built again"
    ]
    assert sorted(path.name for path in aside.iterdir()) == sorted(
        {*FILES, "manifest.toml"} - ({name} if damage == "remove" else set())
    )


def test_a_file_that_changed_is_told_even_if_the_index_is_there(tmp_path: Path, index: Index) -> None:
    index()
    work = DropWork.on("d", Settings(data_root=tmp_path / "data", devices="cpu:1"), print)
    (tmp_path / "a.fa").write_text(READS["a.fa"].replace("GTT", "GTA"))
    with pytest.raises(IntegrityError, match=r"a\.fa: found SHA-256"):
        index_drop(work)
