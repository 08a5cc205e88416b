"""A BAM file without a reference, as sequencers write it."""

import tempfile
from pathlib import Path

import pysam


def unaligned_bam(pairs: dict[str, tuple[str, str]]) -> bytes:
    """A BAM of pairs without a reference."""
    with tempfile.NamedTemporaryFile() as file:
        with pysam.AlignmentFile(file.name, "wb", header={"HD": {"VN": "1.6"}}) as bam:
            for name, mates in pairs.items():
                for flag, bases in zip((77, 141), mates, strict=True):
                    record = pysam.AlignedSegment()
                    record.query_name, record.flag, record.query_sequence = name, flag, bases
                    bam.write(record)
        return Path(file.name).read_bytes()
