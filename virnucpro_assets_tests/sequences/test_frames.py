"""Six-frame candidates against the original's loop, which looks at one codon after the other."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.sequences import frames
from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.sequences.frames import REASONS, candidates_of
from virnucpro_assets_tests.sequences.reference import (
    batch_of,
    chunk_lengths,
    drops,
    listed,
    reason_for,
    reference_candidates,
    reference_chunks,
)


@given(drops(), chunk_lengths, st.integers(1, 400), st.sampled_from([0, 70]))
def test_candidates_and_outcomes_are_those_of_the_original_loop_whatever_the_size_of_blocks(
    reads: list[bytes], chunk_length: int, block_bases: int, first: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "BLOCK_BASES", block_bases)
        candidates, outcomes = candidates_of(batch_of(reads, first), chunk_length)
    expected = reference_candidates(reads, chunk_length, first=first)
    members = [sum(one.read == read for one in expected) for read in range(first, first + len(reads))]
    assert listed(candidates) == expected
    assert outcomes.members.tolist() == members
    assert outcomes.chunks.tolist() == [len(reference_chunks(bases, chunk_length)) for bases in reads]
    assert [REASONS[reason] for reason in outcomes.reasons] == [
        reason_for(bases, count, chunk_length) for bases, count in zip(reads, members, strict=True)
    ]
    numbers = (candidates.read, candidates.chunk, candidates.frame, outcomes.members, outcomes.reasons)
    assert [one.dtype for one in numbers] == [np.int64, np.int32, np.int8, np.int32, np.int8]


@pytest.mark.parametrize("chunk_length", [60, 300])
def test_long_reads_give_the_candidates_of_the_original_loop(chunk_length: int) -> None:
    rng = random.Random(chunk_length)
    reads = ["".join(rng.choices("ACGT", k=rng.randrange(2500))).encode() for _ in range(100)]
    expected = reference_candidates(reads, chunk_length)
    assert listed(candidates_of(batch_of(reads), chunk_length)[0]) == expected
    assert len(expected) > 50


@pytest.mark.parametrize(
    ("bases", "expected"),
    [
        (b"ATGC", "F1 ATGC M, F2 TGC C, R1 GCAT A, R2 CAT H"),
        (b"ATGNNNATGCC", "F1 ATGNNNA MM, F2 TGNN C, F3 GNNN A, R1 GGCA G, R2 GCAT A, R3 CATNNNC HH"),
    ],
    ids=["one base more than its codons", "a codon with another letter adds nothing"],
)
def test_a_candidate_has_the_bases_and_residues_of_the_rules(bases: bytes, expected: str) -> None:
    found = listed(candidates_of(batch_of([bases]), 300)[0])
    assert (
        ", ".join(f"{one.frame} {one.nucleotides.decode()} {one.protein.decode()}" for one in found)
        == expected
    )


@pytest.mark.parametrize(
    ("bases", "chunks", "members", "reason"),
    [
        (b"", 0, 0, "empty"),
        (b"AC", 1, 0, "too_short"),
        (b"ATG", 1, 2, ""),
        (b"ACNGTN" * 60, 2, 0, "no_codon"),
        (b"TAACTAACTAACTTAGTTAGTTAG", 1, 0, "no_stop_free_frame"),
    ],
)
def test_a_read_without_candidates_says_why(bases: bytes, chunks: int, members: int, reason: str) -> None:
    _, outcomes = candidates_of(batch_of([bases]), 300)
    assert (int(outcomes.chunks[0]), int(outcomes.members[0])) == (chunks, members)
    assert REASONS[outcomes.reasons[0]] == reason


def random_reads(seed: int, count: int, longest: int, letters: str) -> list[bytes]:
    rng = random.Random(seed)
    return ["".join(rng.choices(letters, k=rng.randrange(longest))).encode() for _ in range(count)]


def test_rna_gives_the_candidates_of_the_same_dna() -> None:
    dna = random_reads(3, 100, 700, "ACGTacgtN")
    rna = [read.replace(b"T", b"U").replace(b"t", b"u") for read in dna]
    of_dna, _ = candidates_of(batch_of(dna), 300)
    of_rna, _ = candidates_of(batch_of(rna), 300)
    assert listed(of_rna) == listed(of_dna)
    with_u = sum(b"u" in read.lower() for read in rna)
    _, outcomes = candidates_of(batch_of([*rna, *dna, b"", b"acgt", b"aU"]), 300)
    assert outcomes.with_u == with_u + 1
    assert candidates_of(batch_of(dna), 300)[1].with_u == 0


def test_frames_with_under_half_of_their_codons_readable_are_counted_for_each_read() -> None:
    reads = [
        b"ATGGCTGCAGGTCTGAAA",
        b"NNNNNNNNNNNNNNNATG",
        b"NNNNNNATGGCA",
        b"NNNNNNNATGGC",
        b"N" * 290 + b"ATGGCTGCAG" + b"ATGGCTGCAGGTCTG" * 20,
        b"N" * 20,
        *random_reads(5, 300, 400, "ANNNNNNCG"),
    ]
    expected = []
    for read in reads:
        codons = {
            (number, frame): (len(chunk) - int(frame[1]) + 1) // 3
            for number, chunk in enumerate(reference_chunks(read, 100), 1)
            for frame in FRAMES[:6]
        }
        found = reference_candidates([read], 100)
        expected.append(sum(2 * len(one.protein) < codons[one.chunk, one.frame] for one in found))
    _, outcomes = candidates_of(batch_of(reads), 100)
    assert outcomes.unreadable.tolist() == expected
    assert expected[:4] == [0, 2, 4, 6]
    assert 0 < sum(count > 0 for count in expected) < len(expected)
