"""Random damage to packed files: either the exact reads or one line that names the file, never other reads.

Each case is made from its seed alone. All packings here carry checksums of their content.
"""

import bz2
import gzip
import itertools
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
import zstandard

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences import compression
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets_tests.sequences.reference import records_of

CASES = 60
_BASES = np.random.default_rng(11).choice(np.frombuffer(b"ACGT", np.uint8), (700, 90)).view("S90")[:, 0]
READS = [(f"r{number}", bases.decode()) for number, bases in enumerate(_BASES.tolist())]
FASTA = "".join(f">{name}\n{bases}\n" for name, bases in READS).encode()
FASTQ = "".join(f"@{name}\n{bases}\n+\n{'I' * len(bases)}\n" for name, bases in READS).encode()


def bgzf(text: bytes, folder: Path) -> bytes:
    with pysam.BGZFile(str(folder / "packed"), "wb") as stream:
        stream.write(text)
    return (folder / "packed").read_bytes()


def bam(_: bytes, folder: Path) -> bytes:
    with pysam.AlignmentFile(str(folder / "packed"), "wb", header={"HD": {"VN": "1.6"}}) as stream:
        for name, bases in READS:
            record = pysam.AlignedSegment(stream.header)
            record.query_name, record.flag, record.query_sequence = name, 4, bases
            stream.write(record)
    return (folder / "packed").read_bytes()


PACKINGS: dict[str, Callable[[bytes, Path], bytes]] = {
    "gzip": lambda text, _: gzip.compress(text, mtime=0),
    "bgzf": bgzf,
    "bzip2": lambda text, _: bz2.compress(text),
    "xz": lambda text, _: lzma.compress(text),
    "zstd": lambda text, _: zstandard.ZstdCompressor(write_checksum=True).compress(text),
    "bam": bam,
}
Damage = Callable[[bytes, np.random.Generator], bytes]


def truncated(content: bytes, random: np.random.Generator) -> bytes:
    """Cut anywhere, near either end half of the time."""
    near = int(random.integers(1, 40))
    return content[: int(random.choice([near, len(content) - near, random.integers(1, len(content))]))]


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    """One to three other bits, in the first or the last bytes half of the time."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 4)):
        near = int(random.integers(0, 40))
        damaged[int(random.choice([near, len(content) - near - 1, random.integers(len(content))]))] ^= (
            1 << int(random.integers(8))
        )
    return bytes(damaged)


def overwritten(content: bytes, random: np.random.Generator) -> bytes:
    """A block of zeros or of noise in place of what was there."""
    start, length = int(random.integers(len(content))), int(random.integers(1, 3000))
    block = random.bytes(length) if random.integers(2) else bytes(length)
    return (content[:start] + block + content[start + length :])[: len(content)]


def with_a_hole(content: bytes, random: np.random.Generator) -> bytes:
    """Some bytes left out, or given twice."""
    start, length = int(random.integers(len(content))), int(random.integers(1, 3000))
    end = start + length
    return content[:start] + content[end:] if random.integers(2) else content[:end] + content[start:]


def with_garbage_behind(content: bytes, random: np.random.Generator) -> bytes:
    """Noise, zeros, text or the start of another archive behind the end."""
    length = int(random.integers(1, 20_000))
    start = content[: int(random.integers(1, len(content)))]
    garbage = [random.bytes(length), bytes(length), b"\n", FASTA[:length], start, b"\x1f\x8b\x08", b"BZh9"]
    return content + garbage[int(random.integers(len(garbage)))]


DAMAGES: list[Damage] = [truncated, flipped, overwritten, with_a_hole, with_garbage_behind]


TEXTS = {"fasta": FASTA, "fastq": FASTQ}
PACKED = [(packing, text) for packing in PACKINGS for text in TEXTS if (packing, text) != ("bam", "fastq")]


def outcome_of(path: Path) -> list[tuple[str, str]] | str:
    """The reads of a file, or the line of the error in their place."""
    try:
        return records_of(read_batches([ReadFile(path)]))
    except InputError as error:
        return str(error)


def is_refusal(outcome: object, path: Path) -> bool:
    """Whether an outcome is one line that names the file, what was found and what was expected."""
    return (
        isinstance(outcome, str)
        and re.fullmatch(rf"{path}(, .+)?: found .+; expected .+\..+", outcome) is not None
    )


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("packing", "text"), PACKED)
def test_damage_gives_the_exact_reads_or_one_line(
    damage: Damage, packing: str, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, packed = tmp_path / "reads", PACKINGS[packing](TEXTS[text], tmp_path)
    outcomes = {}
    for seed in range(CASES):
        path.write_bytes(damage(packed, np.random.default_rng(seed)))
        outcomes[seed] = outcome_of(path)
    refused = {seed for seed, outcome in outcomes.items() if is_refusal(outcome, path)}
    assert [seed for seed, outcome in outcomes.items() if seed not in refused and outcome != READS] == []
    assert len(refused) > CASES // 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 16 * 1024])
def test_members_of_any_kind_are_read_wherever_a_block_of_the_file_ends(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "_COMPRESSED_BLOCK", block)
    path = tmp_path / "reads"
    pieces = [FASTA[start : start + 20_000] for start in range(0, len(FASTA), 20_000)]
    for seed in range(12):
        random = np.random.default_rng(seed)
        kinds = random.choice([kind for kind in PACKINGS if kind != "bam"], len(pieces))
        padding = [b"\0\t\n\r "[: int(random.integers(6))] for _ in pieces]
        members = [PACKINGS[kind](piece, tmp_path) for kind, piece in zip(kinds, pieces, strict=True)]
        path.write_bytes(b"".join(itertools.chain(*zip(members, padding, strict=True))))
        assert outcome_of(path) == READS, kinds


def test_bam_files_one_after_the_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reads"
    path.write_bytes(bam(b"", tmp_path) * 2)
    assert is_refusal(outcome_of(path), path)


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_window_or_dictionary_that_no_memory_holds_is_refused(place: int, tmp_path: Path) -> None:
    # .lzma has no checksum of its header: the size of the dictionary is in these bytes.
    path, packed = tmp_path / "reads", bytearray(lzma.compress(FASTA, lzma.FORMAT_ALONE))
    packed[place] = 0xFF
    path.write_bytes(packed)
    outcome = outcome_of(path)
    assert outcome == READS or is_refusal(outcome, path)
