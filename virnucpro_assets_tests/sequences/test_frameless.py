"""Whole chunks of reads without a stop-free frame: which are kept, in which order, and in what index."""

import random
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.sequences.batches import FRAMES, CandidateBatch, ReadBatch
from virnucpro_assets.sequences.chunks import chunks_of
from virnucpro_assets.sequences.frameless import with_whole_chunks
from virnucpro_assets.sequences.frames import REASONS, ReadOutcomes, candidates_of
from virnucpro_assets.sequences.index import IndexManifest, IndexOrigin, SequenceIndex, WholeChunks
from virnucpro_assets.sequences.index_builder import build_index, index_batches
from virnucpro_assets.sequences.member_names import first_members
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.frameless import STOPS, frameless_bases, mixed_reads

GOLDEN = Path(__file__).parents[1] / "golden" / "prep"
Named = tuple[int, int, str, bytes, bytes]


def batch_of(reads: list[bytes], first: int = 0) -> ReadBatch:
    return ReadBatch(first, [f"read{first + i}" for i in range(len(reads))], Ragged.from_strings(reads))


def named(candidates: CandidateBatch) -> list[Named]:
    """Read, chunk, frame, nucleotides and protein of each candidate."""
    places = zip(candidates.read.tolist(), candidates.chunk.tolist(), candidates.frame.tolist(), strict=True)
    return [
        (read, chunk, FRAMES[frame], candidates.nucleotides[i], candidates.proteins[i])
        for i, (read, chunk, frame) in enumerate(places)
    ]


def kept(reads: list[bytes], chunk_length: int, first: int = 0) -> tuple[CandidateBatch, ReadOutcomes]:
    batch = batch_of(reads, first)
    return with_whole_chunks(batch, chunk_length, *candidates_of(batch, chunk_length))


def expected_of(reads: list[bytes], chunk_length: int) -> list[Named]:
    """Read by read: its frames, or else its chunks with three letters of A, C, G, T in a row."""
    found: list[Named] = []
    for read, bases in enumerate(reads):
        own = named(candidates_of(batch_of([bases]), chunk_length)[0])
        found += [(read, *rest) for _, *rest in own]
        if not own:
            cuts = chunks_of(np.array([len(bases)]), chunk_length)
            for number, start, length in zip(cuts.number, cuts.start, cuts.length, strict=True):
                letters = bases[start : start + length].upper()
                known = "".join("x" if letter in b"ACGT" else " " for letter in letters)
                if "xxx" in known:
                    found.append((read, int(number), "N0", letters, b""))
    return found


@pytest.mark.parametrize("chunk_length", [24, 50, 300])
@pytest.mark.parametrize("letters", ["ACGT", "acgtACGT", "TAGCNN", "TANnn"])
def test_a_frameless_read_is_kept_as_its_chunks_that_have_a_codon_and_others_as_before(
    letters: str, chunk_length: int
) -> None:
    rng = random.Random(chunk_length)
    reads = ["".join(rng.choices(letters, k=rng.randrange(0, 260))).encode() for _ in range(150)]
    reads[::3] = [STOPS[rng.randrange(4) :] + read[: rng.choice([0, 5, 20, 200])] for read in reads[::3]]
    candidates, outcomes = kept(reads, chunk_length)
    expected = expected_of(reads, chunk_length)
    assert named(candidates) == expected
    assert {"N0"} < {frame for _, _, frame, _, _ in expected}
    members = [sum(read == one for one, *_ in expected) for read in range(len(reads))]
    assert outcomes.members.tolist() == members
    before = candidates_of(batch_of(reads), chunk_length)[1]
    reasons = np.where(before.reasons == REASONS.index("no_stop_free_frame"), 0, before.reasons)
    assert outcomes.reasons.tolist() == reasons.tolist()
    assert outcomes.chunks.tolist() == before.chunks.tolist()
    assert [outcomes.members.dtype, outcomes.reasons.dtype] == [np.int32, np.int8]
    assert [candidates.read.dtype, candidates.chunk.dtype, candidates.frame.dtype] == [
        np.int64,
        np.int32,
        np.int8,
    ]


def test_the_mixed_reads_are_kept_as_their_names_say() -> None:
    reads = mixed_reads()
    candidates, outcomes = kept(list(reads.values()), 300, first=40)
    by_read: dict[str, list[tuple[int, str, bytes]]] = {name: [] for name in reads}
    for read, chunk, frame, nucleotides, _ in named(candidates):
        by_read[list(reads)[read - 40]].append((chunk, frame, nucleotides))
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


def origin(frameless: bool, chunk_length: int = 300) -> IndexOrigin:
    return IndexOrigin(
        drop_digest="d" * 64, chunk_length=chunk_length, ranks=4, frameless="kept" if frameless else None
    )


def test_the_rows_of_an_index_are_the_frames_and_after_them_the_whole_chunks_by_their_letters(
    tmp_path: Path,
) -> None:
    rng = random.Random(5)
    short = ["".join(rng.choices("TAGC", k=rng.randrange(12, 240))).encode() for _ in range(400)]
    reads = short + [frameless_bases(k, 300 + k) for k in (24, 299, 300, 301, 650)] + short[::3]
    expected = expected_of(reads, 300)
    pairs = {(protein, nucleotides) for *_, nucleotides, protein in expected}
    rows = sorted(pairs, key=lambda pair: (-len(pair[0]), *pair))
    row_of = {pair: row for row, pair in enumerate(rows)}
    manifests = []
    for size, budget in ((1000, 1 << 24), (30, 4000), (7, 1)):
        folder = tmp_path / f"index-{size}"
        batches = (batch_of(reads[first : first + size], first) for first in range(0, len(reads), size))
        manifests.append(index_batches(batches, folder, origin(frameless=True), memory_budget=budget))
        index = SequenceIndex.open(folder, verify_content=True)
        found = index.rows(0, index.manifest.rows)
        assert [(found.proteins[i], found.nucleotides[i]) for i in range(len(rows))] == rows
        (members,) = index.member_batches()
        assert members.row.tolist() == [row_of[protein, nucleotides] for *_, nucleotides, protein in expected]
        assert members.frame.tolist() == [FRAMES.index(frame) for _, _, frame, _, _ in expected]
    assert manifests[0] == manifests[1] == manifests[2]
    whole = [row for row, (protein, _) in enumerate(rows) if not protein]
    assert manifests[0].rows_with_protein == whole[0] == len(rows) - len(whole)
    of_reads = [read for read, _, frame, _, _ in expected if frame == "N0"]
    assert manifests[0].whole_chunks == WholeChunks(
        reads=len(set(of_reads)), members=len(of_reads), rows=len(whole)
    )
    assert manifests[0].reasons["no_stop_free_frame"] == 0
    index = SequenceIndex.open(tmp_path / "index-7")
    assert index.nucleotide_lengths().tolist() == [len(nucleotides) for _, nucleotides in rows]
    first = next(place for place, (_, _, frame, _, _) in enumerate(expected) if frame == "N0")
    read, chunk, *_ = expected[first]
    row = int(members.row[first])
    assert first_members(index, [row]) == {row: f"read{read}_chunk_{chunk}N0"}


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
