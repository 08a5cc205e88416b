"""Whole chunks of reads without a stop-free frame: which are kept, in which order, and in what index."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given

from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.sequences.frames import REASONS, candidates_of
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_builder import build_index, index_batches
from virnucpro_assets.sequences.index_manifest import IndexManifest, IndexOrigin
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.without_open_frame import with_whole_chunks
from virnucpro_assets_tests.frameless import STOPS, mixed_reads
from virnucpro_assets_tests.sequences.reference import (
    batch_of,
    chunk_lengths,
    drops,
    listed,
    reason_for,
    reference_candidates,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "prep"


@given(drops(), chunk_lengths)
@example([STOPS + b"N" * 22 + b"ACG" + b"N" * 23], 24)
@example([STOPS + b"N" * 23 + b"ACG" + b"N" * 22], 24)
def test_a_frameless_read_is_kept_as_its_chunks_that_have_a_codon_and_others_as_before(
    reads: list[bytes], chunk_length: int
) -> None:
    batch = batch_of(reads, first=40)
    before = candidates_of(batch, chunk_length)
    candidates, outcomes = with_whole_chunks(batch, chunk_length, *before)
    expected = reference_candidates(reads, chunk_length, first=40, whole_chunks=True)
    members = [sum(one.read == read for one in expected) for read in range(40, 40 + len(reads))]
    assert listed(candidates) == expected
    assert outcomes.members.tolist() == members
    assert outcomes.chunks.tolist() == before[1].chunks.tolist()
    assert [REASONS[reason] for reason in outcomes.reasons] == [
        reason_for(bases, count, chunk_length) for bases, count in zip(reads, members, strict=True)
    ]
    numbers = (candidates.read, candidates.chunk, candidates.frame, outcomes.members, outcomes.reasons)
    assert [one.dtype for one in numbers] == [np.int64, np.int32, np.int8, np.int32, np.int8]


def test_the_mixed_reads_are_kept_as_their_names_say() -> None:
    reads = mixed_reads()
    batch = batch_of(list(reads.values()))
    candidates, outcomes = with_whole_chunks(batch, 300, *candidates_of(batch, 300))
    by_read: dict[str, list[tuple[int, str, bytes]]] = {name: [] for name in reads}
    for read, chunk, frame, nucleotides, _ in listed(candidates):
        by_read[list(reads)[read]].append((chunk, frame, nucleotides))
    frameless = reads["frameless"]
    assert by_read["frameless"] == by_read["lower"] == [(1, "N0", frameless)]
    assert by_read["reverse"] == [(1, "N0", reads["reverse"])] != by_read["frameless"]
    assert {(chunk, frame) for chunk, frame, _ in by_read["half"]} >= {(2, "F1")}
    assert all(chunk == 2 and frame != "N0" for chunk, frame, _ in by_read["half"])
    long = reads["long"]
    assert by_read["long"] == [(1, "N0", long[:300]), (2, "N0", long[233:533]), (3, "N0", long[466:700])]
    assert by_read["last"] == [(1, "N0", reads["last"][:300])]
    assert by_read["unknown"] == []
    assert by_read["framed"] == by_read["again"]
    assert [REASONS[reason] for reason in outcomes.reasons] == [
        "no_codon" if name == "unknown" else "" for name in reads
    ]


def test_a_batch_without_frameless_reads_is_what_it_was() -> None:
    batch = batch_of([b"ATG" * 20, b"", b"NNNN"])
    candidates, outcomes = candidates_of(batch, 300)
    assert with_whole_chunks(batch, 300, candidates, outcomes) == (candidates, outcomes)


def origin(frameless: bool) -> IndexOrigin:
    return IndexOrigin(
        drop_digest="d" * 64, chunk_length=300, ranks=4, frameless="kept" if frameless else None
    )


def test_a_drop_of_frameless_reads_alone_has_an_index_of_whole_chunks(tmp_path: Path) -> None:
    manifest = index_batches([batch_of([STOPS, STOPS.lower()])], tmp_path / "index", origin(frameless=True))
    assert (manifest.rows, manifest.members, manifest.rows_with_protein) == (1, 2, 0)
    batch = SequenceIndex.open(tmp_path / "index").rows(0, 1)
    assert (batch.nucleotides[0], batch.proteins[0]) == (STOPS, b"")


# Of the reads of golden/prep, made before there was a choice; of edge with T in place of U.
BEFORE = {
    "edge": "9f06fcc45536b96d439394b3f0f4e0a7464f2c1481cd03ae38904e18a931fdf9",
    "lambda": "33683134e88269a7824f5311c710a83660fcb1797b959bdb4d4e1f2e477830fc",
}


@pytest.mark.parametrize("name", list(BEFORE))
def test_an_index_that_keeps_none_has_the_digest_and_the_manifest_that_it_always_had(
    tmp_path: Path, name: str
) -> None:
    build_index([ReadFile(GOLDEN / f"{name}.fa")], tmp_path / "index", origin(frameless=False))
    manifest = read_manifest(tmp_path / "index" / "manifest.toml", IndexManifest)
    assert manifest.digest == BEFORE[name]
    text = (tmp_path / "index" / "manifest.toml").read_text()
    assert not {"frameless", "whole_chunks"} & set(text.replace("[", " ").replace("]", " ").split())


def test_the_digest_is_that_of_the_content_so_a_drop_without_frameless_reads_keeps_it(tmp_path: Path) -> None:
    digests = {}
    for name, reads in {"framed": [b"ATG" * 30], "frameless": [b"ATG" * 30, STOPS]}.items():
        for frameless in (False, True):
            manifest = index_batches([batch_of(reads)], tmp_path / f"{name}{frameless}", origin(frameless))
            digests[name, frameless] = manifest.digest
    assert digests["framed", False] == digests["framed", True]
    assert digests["frameless", False] != digests["frameless", True]
