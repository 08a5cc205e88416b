"""The shipped data: unchanged, accounted for, and held-out regions truly held out."""

import csv
import hashlib
from itertools import pairwise

import dnaio
import pytest

from tools.demo.data import DataManifest, write_data_manifest
from tools.demo.drop import make_drop, write_drop, write_truth
from tools.demo.reads import cut_read
from tools.demo.regions import REGIONS, seen_sources
from virnucpro_assets.demo.excerpts import ROLES, Excerpt, read_excerpts, write_excerpts
from virnucpro_assets.demo.paths import (
    DATA_FOLDER,
    DROP_FILE,
    MANIFEST_FILE,
    MODELS_FOLDER,
    SOURCES_FILE,
    TRUTH_FILE,
)
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.files.digests import check_file
from virnucpro_assets.files.manifests import read_manifest

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def table_of_sources():
    with SOURCES_FILE.open(encoding="ascii", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def words_of(letters, length=31):
    return {letters[start : start + length] for start in range(len(letters) - length + 1)}


def test_every_data_file_has_the_size_and_digest_of_the_manifest():
    manifest = read_manifest(MANIFEST_FILE, DataManifest)
    for name, record in manifest.files.items():
        check_file(DATA_FOLDER / name, record, content=True)
    found = {path.relative_to(DATA_FOLDER).as_posix() for path in DATA_FOLDER.rglob("*") if path.is_file()}
    assert found == {*manifest.files, "manifest.toml"}


def test_what_is_shipped_stays_small():
    sizes = [path.stat().st_size for folder in (DATA_FOLDER, MODELS_FOLDER) for path in folder.rglob("*")]
    assert max(sizes) < 2_000_000
    assert sum(sizes) < 4_000_000


def test_the_table_of_sources_lists_exactly_the_shipped_regions_with_their_digests():
    shipped = {
        (role, excerpt.header.split(" ")[0], excerpt.label): hashlib.sha256(
            excerpt.letters.encode("ascii")
        ).hexdigest()
        for role in ROLES
        for excerpt in read_excerpts(DATA_FOLDER, role)
    }
    table = {(row["role"], row["region"], row["label"]): row["sha256"] for row in table_of_sources()}
    assert table == shipped
    assert len(table) == len(REGIONS)


def test_every_source_says_accession_organism_package_and_version():
    for row in table_of_sources():
        assert all(row.values()), row


def test_regions_of_a_source_do_not_overlap():
    for source in {region.source for region in REGIONS}:
        spans = sorted((region.start, region.stop) for region in REGIONS if region.source == source)
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), source


def test_no_word_of_31_bases_of_a_held_out_region_is_known_from_training_or_validation():
    known = set()
    for role in ("training", "validation"):
        for excerpt in read_excerpts(DATA_FOLDER, role):
            known |= words_of(excerpt.letters)
            known |= words_of(excerpt.letters.translate(COMPLEMENT)[::-1])
    shared = {
        excerpt.header: len(words_of(excerpt.letters) & known)
        for excerpt in read_excerpts(DATA_FOLDER, "held_out")
    }
    assert {header: count for header, count in shared.items() if count} == {}


def test_the_genomes_that_training_never_saw_are_the_ones_that_the_documentation_names():
    unseen = {region.source for region in REGIONS} - seen_sources()
    fly = {"fly_up_1", "fly_up_2", "fly_up_3", "fly_up_4"}
    assert unseen == {"phix174", "hiv1", "rabies", "yellow_fever", "hpylori", *fly}


def test_the_drop_and_its_truth_come_out_of_the_held_out_excerpts_byte_for_byte(tmp_path):
    records = make_drop(read_excerpts(DATA_FOLDER, "held_out"))
    write_drop(tmp_path / "demo.fastq.gz", records)
    write_truth(tmp_path / "truth.tsv", records)
    with dnaio.open(tmp_path / "demo.fastq.gz") as made, dnaio.open(DROP_FILE) as shipped:
        assert [str(record) for record in made] == [str(record) for record in shipped]
    assert (tmp_path / "truth.tsv").read_bytes() == TRUTH_FILE.read_bytes()


def test_another_seed_gives_another_drop():
    held_out = read_excerpts(DATA_FOLDER, "held_out")
    assert make_drop(held_out, seed=1)[0].bases != make_drop(held_out, seed=2)[0].bases


def test_the_drop_has_as_many_viruses_as_others_and_three_artefacts():
    labels = [fact.label for fact in read_truth().values()]
    assert {label: labels.count(label) for label in set(labels)} == {
        "virus": 412,
        "others": 412,
        "artefact": 3,
    }


def test_the_truth_knows_every_read_of_the_drop_in_its_order():
    with dnaio.open(DROP_FILE) as records:
        assert [record.id for record in records] == list(read_truth())


def test_every_read_lies_where_the_truth_says():
    by_source = {}
    for excerpt in read_excerpts(DATA_FOLDER, "held_out"):
        by_source.setdefault(excerpt.source, []).append(excerpt)
    with TRUTH_FILE.open(encoding="ascii", newline="") as stream:
        truth = {row["read_id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    with dnaio.open(DROP_FILE) as records:
        for record in records:
            row = truth[record.id]
            start, length = int(row["start"]) - 1, int(row["stop"]) - int(row["start"]) + 1
            found = [
                cut_read(excerpt, start - excerpt.start, length, row["strand"]).bases.decode("ascii")
                for excerpt in by_source.get(row["source"], [])
                if excerpt.start <= start and start + length <= excerpt.start + len(excerpt.letters)
            ]
            assert found == ([] if row["label"] == "artefact" else [record.sequence])


def test_excerpts_are_read_as_they_were_written(tmp_path):
    excerpts = [Excerpt("a", 0, "virus", "ACGT"), Excerpt("b", 41, "others", "GGNNC")]
    write_excerpts(tmp_path, "held_out", excerpts)
    assert read_excerpts(tmp_path, "held_out") == excerpts


def test_excerpts_are_compressed_to_the_same_bytes_every_time(tmp_path):
    excerpts = read_excerpts(DATA_FOLDER, "validation")
    write_excerpts(tmp_path / "first", "validation", excerpts)
    write_excerpts(tmp_path / "second", "validation", excerpts)
    first, second = (tmp_path / name / "validation.fa.gz" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_a_manifest_lists_the_files_below_its_folder_and_not_itself(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_bytes(b"abc")
    for _ in range(2):
        write_data_manifest(tmp_path)
    manifest = read_manifest(tmp_path / "manifest.toml", DataManifest)
    assert {name: record.size for name, record in manifest.files.items()} == {"inner/a.txt": 3}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_viruses_and_others(role):
    labels = [excerpt.label for excerpt in read_excerpts(DATA_FOLDER, role)]
    assert set(labels) == {"virus", "others"}
