"""Six-frame candidates against a reference that looks at one codon after the other."""

import random

import numpy as np
import pytest

from virnucpro_assets.sequences import frames
from virnucpro_assets.sequences.batches import FRAMES, ReadBatch
from virnucpro_assets.sequences.frames import REASONS, candidates_of
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets_tests.golden_prep import GOLDEN, RNA, without_rna

AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODON_TABLE = {
    a + b + c: AMINO_ACIDS[16 * i + 4 * j + k]
    for i, a in enumerate("TCAG")
    for j, b in enumerate("TCAG")
    for k, c in enumerate("TCAG")
}
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}

Candidate = tuple[int, int, str, bytes, bytes]


def batch_of(sequences: list[bytes], first: int = 0) -> ReadBatch:
    return ReadBatch(first, [f"r{i}" for i in range(len(sequences))], Ragged.from_strings(sequences))


def naive_cuts(length: int, chunk_length: int) -> list[tuple[int, int]]:
    count = -(-length // chunk_length)
    surplus = count * chunk_length - length
    cuts, shift = [], 0
    for i in range(count):
        cuts.append((i * chunk_length - shift, min((i + 1) * chunk_length - shift, length)))
        share = surplus // count
        shift += share + 1 if i < surplus - share * (count - 1) else share
    return cuts


def naive_candidates(sequences: list[bytes], chunk_length: int) -> list[Candidate]:
    found = []
    for read, sequence in enumerate(sequences):
        for number, (start, end) in enumerate(naive_cuts(len(sequence), chunk_length), 1):
            forward = sequence[start:end].decode("ascii").upper().replace("U", "T")
            backward = "".join(COMPLEMENT.get(letter, letter) for letter in reversed(forward))
            for name, strand in (("F", forward), ("R", backward)):
                for frame in (1, 2, 3):
                    codons = [strand[i : i + 3] for i in range(frame - 1, len(strand) - 2, 3)]
                    protein = "".join(CODON_TABLE.get(codon, "") for codon in codons)
                    if protein and "*" not in protein:
                        nucleotides = strand[frame - 1 : frame + 3 * len(protein)]
                        found.append((read, number, f"{name}{frame}", nucleotides.encode(), protein.encode()))
    return found


def found_candidates(sequences: list[bytes], chunk_length: int) -> list[Candidate]:
    candidates, _ = candidates_of(batch_of(sequences), chunk_length)
    return [
        (
            int(candidates.read[i]),
            int(candidates.chunk[i]),
            FRAMES[candidates.frame[i]],
            candidates.nucleotides[i],
            candidates.proteins[i],
        )
        for i in range(len(candidates.read))
    ]


def random_sequences(seed: int, count: int, longest: int, letters: str) -> list[bytes]:
    rng = random.Random(seed)
    return ["".join(rng.choices(letters, k=rng.randrange(longest))).encode() for _ in range(count)]


def outcome_of(sequence: bytes) -> tuple[int, int, str]:
    _, outcomes = candidates_of(batch_of([sequence]), 300)
    return int(outcomes.chunks[0]), int(outcomes.members[0]), REASONS[outcomes.reasons[0]]


@pytest.mark.parametrize(
    ("letters", "longest", "chunk_length"),
    [
        ("ACGT", 12, 300),
        ("ACGT", 400, 300),
        ("ACGT", 2500, 60),
        ("acgtACGT", 300, 50),
        ("CCCGGGACGTN", 200, 40),
        ("ACGTacgtNnRYKMSWBDHVryu-.U", 90, 30),
        ("ANU", 40, 7),
    ],
)
def test_random_reads_give_the_candidates_of_the_reference(
    letters: str, longest: int, chunk_length: int
) -> None:
    sequences = random_sequences(len(letters) + longest, 400, longest, letters)
    expected = naive_candidates(sequences, chunk_length)
    assert found_candidates(sequences, chunk_length) == expected
    assert len(expected) > 100


def test_the_result_does_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = random_sequences(8, 60, 900, "ACGTN")
    whole = found_candidates(sequences, 100)
    monkeypatch.setattr(frames, "BLOCK_BASES", 150)
    assert found_candidates(sequences, 100) == whole == naive_candidates(sequences, 100)


@pytest.mark.parametrize(("name", "chunk_length"), [("edge", 300), ("edge", 500), ("lambda", 300)])
def test_candidates_of_the_golden_reads_match_line_by_line(name: str, chunk_length: int) -> None:
    records = [part.split("\n", 1) for part in (GOLDEN / f"{name}.fa").read_text().split(">")[1:]]
    names = [header.split()[0] for header, _ in records]
    sequences = [body.replace("\n", "").encode() for _, body in records]
    candidates = [found for found in found_candidates(sequences, chunk_length) if names[found[0]] != RNA]
    ids = [f">{names[read]}_chunk_{chunk}{frame}" for read, chunk, frame, _, _ in candidates]
    for ending, column in (("nucleotide.fa", 3), ("protein.faa", 4)):
        lines = without_rna((GOLDEN / f"{name}_{chunk_length}.{ending}").read_text()).splitlines()
        assert lines[0::2] == ids
        assert lines[1::2] == [candidate[column].decode() for candidate in candidates]


def test_rna_gives_the_candidates_of_the_same_dna() -> None:
    dna = random_sequences(3, 100, 700, "ACGTacgtN")
    rna = [sequence.replace(b"T", b"U").replace(b"t", b"u") for sequence in dna]
    assert found_candidates(rna, 300) == found_candidates(dna, 300)
    with_u = sum(b"u" in sequence.lower() for sequence in rna)
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
        *random_sequences(5, 300, 400, "ANNNNNNCG"),
    ]
    expected = []
    for sequence in reads:
        cuts = naive_cuts(len(sequence), 100)
        codons = {
            (number, frame): (end - start - int(frame[1]) + 1) // 3
            for number, (start, end) in enumerate(cuts, 1)
            for frame in FRAMES[:6]
        }
        found = naive_candidates([sequence], 100)
        expected.append(sum(2 * len(protein) < codons[chunk, frame] for _, chunk, frame, _, protein in found))
    _, outcomes = candidates_of(batch_of(reads), 100)
    assert outcomes.unreadable.tolist() == expected
    assert expected[:4] == [0, 2, 4, 6]
    assert 0 < sum(count > 0 for count in expected) < len(expected)


def test_a_frame_takes_one_base_more_than_its_codons_where_the_strand_has_one() -> None:
    candidates = {frame: (bases, protein) for _, _, frame, bases, protein in found_candidates([b"ATGC"], 300)}
    assert candidates == {
        "F1": (b"ATGC", b"M"),
        "F2": (b"TGC", b"C"),
        "R1": (b"GCAT", b"A"),
        "R2": (b"CAT", b"H"),
    }


def test_a_codon_with_another_letter_adds_nothing_to_the_protein() -> None:
    forward = [candidate for candidate in found_candidates([b"ATGNNNATGCC"], 300) if candidate[2] == "F1"]
    assert forward == [(0, 1, "F1", b"ATGNNNA", b"MM")]


def test_the_position_of_a_read_in_the_drop_counts_from_the_start_of_the_batch() -> None:
    candidates, _ = candidates_of(batch_of([b"A", b"ATG"], first=70), 300)
    assert candidates.read.tolist() == [71, 71]
    assert candidates.read.dtype == np.int64
    assert candidates.chunk.dtype == np.int32
    assert candidates.frame.dtype == np.int8


def test_a_read_of_no_bases_is_empty() -> None:
    assert outcome_of(b"") == (0, 0, "empty")


def test_a_read_of_two_bases_is_too_short() -> None:
    assert outcome_of(b"AC") == (1, 0, "too_short")


def test_a_read_of_three_bases_has_candidates_on_both_strands() -> None:
    assert outcome_of(b"ATG") == (1, 2, "")


def test_a_read_without_any_known_codon_says_so() -> None:
    assert outcome_of(b"ACNGTN" * 60) == (2, 0, "no_codon")


def test_a_read_with_stops_in_all_frames_says_so() -> None:
    assert outcome_of(b"TAACTAACTAACTTAGTTAGTTAG") == (1, 0, "no_stop_free_frame")


def test_a_batch_without_reads_has_no_candidates() -> None:
    candidates, outcomes = candidates_of(batch_of([]), 300)
    assert (len(candidates.read), len(candidates.proteins), len(outcomes.chunks)) == (0, 0, 0)
