"""Training sets: the embeddings of the drops, split by source, balanced, without leaks, and made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.pipeline.embed import open_pool
from virnucpro_assets.sequences.index import first_members
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.merged_reader import read_merged_at
from virnucpro_assets.storage.training_set import FILE, LabelledRows, TrainingSetManifest, read_training_set
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.training.options import SetOptions
from virnucpro_assets.training.splits import SPLITS, TEST, TRAINING, VALIDATION
from virnucpro_assets.training.training_set import make_training_set
from virnucpro_assets_tests.frameless import frameless_bases
from virnucpro_assets_tests.labelled import embed

Reads = dict[str, str]

COMPLEMENT = str.maketrans("ACGT", "TGCA")
CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in {"TAA", "TAG", "TGA"}]
GENOMES = 6


def coding(codons: int, seed: int) -> str:
    """Bases of random codons none of which is a stop."""
    return "".join(np.random.default_rng(seed).choice(CODONS, codons))


def reads_of(label: str) -> Reads:
    """Five reads of 150 bases of each of six genomes, by name."""
    return {
        f"{label}{genome}:{number}": coding(50, 1000 * len(label) + 10 * genome + number)
        for genome in range(GENOMES)
        for number in range(5)
    }


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevicePool]:
    """One device process for all tests here."""
    with open_pool(Settings(data_root=tmp_path_factory.mktemp("pool"), devices="cpu:1")) as pool:
        yield pool


@pytest.fixture
def made(
    tmp_path: Path, pool: DevicePool
) -> Callable[..., tuple[TrainingSetManifest, LabelledRows, Settings]]:
    """A training set of the reads given for each class, and of a second drop of viruses."""

    def make(
        virus: Reads,
        others: Reads,
        second: Reads | None = None,
        *,
        score_reads_without_open_frame: bool = False,
        **options: object,
    ):
        settings = Settings(
            data_root=tmp_path / "data",
            classifiers=tmp_path,
            devices="cpu:1",
            ranks=1,
            score_reads_without_open_frame=score_reads_without_open_frame,
        )
        drops = {"v": virus, "o": others} | ({"w": second} if second else {})
        for key, reads in drops.items():
            path = tmp_path / f"{key}.fa"
            path.write_text("".join(f">{name}\n{bases}\n" for name, bases in reads.items()))
            embed(key, [path], settings, pool)
        labelled = [LabelledDrop(drop=key, label="others" if key == "o" else "virus") for key in drops]
        folder, _ = make_training_set(labelled, SetOptions(**options), settings, [].append)
        return (*read_training_set(folder), settings)

    return make


def names_in(rows: LabelledRows, settings: Settings, split: int) -> set[str]:
    """The names of the reads that the rows of a split are from."""
    found = set()
    for drop, key in enumerate(key for key in ("v", "o", "w") if DropStore(settings.data_root).source(key)):
        chosen = rows.row[(rows.split == split) & (rows.drop == drop)].tolist()
        index = DropWork.on(key, settings, [].append).index
        found |= {name.split("_chunk")[0] for name in first_members(index, chosen).values()}
    return found


def test_rows_are_those_of_the_drops_and_a_source_stands_in_one_split(made):
    manifest, rows, settings = made(reads_of("virus"), reads_of("others"))
    store = DropStore(settings.data_root)
    for drop, key in enumerate(("v", "o")):
        own = np.flatnonzero(rows.drop == drop)
        merged = read_merged_at(store.current(key)[1].path, rows.row[own])
        assert np.array_equal(rows.embeddings[own], merged)
        assert (rows.is_virus[own] == (key == "v")).all()
    assert (rows.read_length == 150).all()
    splits = [{name.split(":")[0] for name in names_in(rows, settings, split)} for split in range(3)]
    assert sorted(map(len, splits)) == [2, 2, 8]
    assert not splits[0] & splits[1] | splits[0] & splits[2] | splits[1] & splits[2]
    for name, place in zip(SPLITS, (TRAINING, VALIDATION, TEST), strict=True):
        count = int((rows.split == place).sum())
        assert manifest.counts[name] == {"virus": count // 2, "others": count // 2}
        recorded = {one.name for one in manifest.sources if one.split == name}
        assert recorded == {source.split(":")[0] for source in splits[place]}


def test_what_the_test_split_holds_already_is_taken_out_of_training_and_counted(made):
    virus, others = reads_of("virus"), reads_of("others")
    _, rows, settings = made(virus, others)
    tested = sorted(name for name in names_in(rows, settings, TEST) if name.startswith("virus"))
    taught = next(
        name.split(":")[0] for name in names_in(rows, settings, TRAINING) if name.startswith("virus")
    )
    bases = virus[tested[0]]
    leaks = {
        f"{taught}:copy": bases,
        f"{taught}:reverse": bases.translate(COMPLEMENT)[::-1],
        f"{taught}:half": bases[:75] + coding(25, 77),
        f"{taught}:new": coding(50, 78),
    }
    manifest, rows, settings = made(virus, others, leaks, source_factor=100)
    assert tested[0] in names_in(rows, settings, TEST)
    assert names_in(rows, settings, TRAINING) & {*leaks} == {f"{taught}:new"}
    assert not {*leaks} & (names_in(rows, settings, TEST) | names_in(rows, settings, VALIDATION))
    index = DropWork.on("w", settings, [].append).index
    half = [n for n in first_members(index, range(index.manifest.rows)).values() if ":half" in n]
    new = [n for n in first_members(index, range(index.manifest.rows)).values() if ":new" in n]
    # The copy and its reverse are one and the same row for each of their frames.
    assert manifest.left_out["near_identical_to_another_split"] == len(half)
    assert manifest.left_out["identical_to_another_split"] == index.manifest.rows - len(half) - len(new)


def test_what_stands_in_both_classes_is_in_neither(made):
    virus, others = reads_of("virus"), reads_of("others")
    shared = virus["virus3:2"]
    manifest, rows, settings = made(virus, others | {"others1:shared": shared})
    found = set.union(*(names_in(rows, settings, split) for split in range(3)))
    assert not found & {"virus3:2", "others1:shared"}
    assert manifest.left_out["in_both_classes"] >= 2


def test_a_single_genome_is_split_by_regions_and_the_manifest_says_so(made):
    one = {f"phage:{number:02d}": coding(50, 5000 + number) for number in range(30)}
    manifest, rows, settings = made(one, reads_of("others"), validation_share=0.2, test_share=0.2)
    numbers = [
        sorted(
            int(name.split(":")[1]) for name in names_in(rows, settings, split) if name.startswith("phage")
        )
        for split in (TRAINING, VALIDATION, TEST)
    ]
    # Of 30 reads 6 are for the test, 6 for validation, and one at each border for nothing.
    assert (max(numbers[0]), min(numbers[1]), max(numbers[1])) <= (15, 17, 22)
    assert min(numbers[1]) >= 17
    assert min(numbers[2]) >= 24
    assert manifest.left_out["at_borders_of_regions"] >= 2
    (source,) = (source for source in manifest.sources if source.label == "virus")
    assert (source.name, source.split) == ("phage", "regions")
    assert manifest.notes == [
        "virus: 1 source, too few to split by genome; split by regions of the input, so the accuracy on "
        "other genomes is unknown."
    ]


def test_reads_without_a_stop_free_frame_teach_nothing(made):
    virus, others = reads_of("virus"), reads_of("others")
    frameless = {
        f"virus{genome}:frameless": frameless_bases(150, genome).decode() for genome in range(GENOMES)
    }
    manifest, rows, settings = made(virus | frameless, others, score_reads_without_open_frame=True)
    index = DropWork.on("v", settings, [].append).index
    assert index.manifest.whole_chunks is not None
    assert manifest.left_out["whole_chunks"] == index.manifest.whole_chunks.rows == GENOMES
    assert not set.union(*(names_in(rows, settings, split) for split in range(3))) & {*frameless}
    assert rows.embeddings[:, manifest.widths["dnabert_s"] :].any(axis=1).all()
    without, plain, _ = made(virus, others)
    assert np.array_equal(np.sort(plain.embeddings, axis=0), np.sort(rows.embeddings, axis=0))
    assert "whole_chunks" not in without.left_out


def test_the_same_training_set_is_not_made_twice(made, tmp_path):
    virus, others = reads_of("virus"), reads_of("others")
    manifest, _, settings = made(virus, others)
    (file,) = (settings.training_root / "sets").rglob(FILE)
    before = file.stat().st_mtime_ns
    assert made(virus, others)[0] == manifest
    assert file.stat().st_mtime_ns == before
    assert made(virus, others, seed=1)[0].digest != manifest.digest
    assert len(list((settings.training_root / "sets").iterdir())) == 2


def test_a_damaged_training_set_is_refused(made):
    *_, settings = made(reads_of("virus"), reads_of("others"))
    (file,) = (settings.training_root / "sets").rglob(FILE)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="found SHA-256"):
        read_training_set(file.parent)


def test_too_little_for_a_split_is_refused_with_its_counts(made):
    with pytest.raises(
        InputError,
        match=r"training set, (training|validation): found . rows? of class virus, .* of each class",
    ):
        made({f"genome{n}:1": coding(50, n) for n in range(3)}, reads_of("others"))


def test_one_class_alone_is_no_training_set(tmp_path):
    one = [LabelledDrop(drop="v", label="virus")]
    with pytest.raises(InputError, match=r"found v \(virus\); expected drops of both classes"):
        make_training_set(one, SetOptions(), Settings(data_root=tmp_path), [].append)
