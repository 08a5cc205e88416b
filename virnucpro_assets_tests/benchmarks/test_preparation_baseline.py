"""The original's preparation, restated to be measured against, gives the original's files."""

from pathlib import Path

import pytest

from benchmarks.baselines import preparation

GOLDEN = Path(__file__).parents[1] / "golden" / "prep"


@pytest.mark.parametrize(("name", "chunk_length"), [("edge", 300), ("edge", 500), ("lambda", 300)])
def test_every_golden_file_is_reproduced_byte_by_byte(tmp_path: Path, name: str, chunk_length: int) -> None:
    count = preparation.prepare(GOLDEN / f"{name}.fa", tmp_path, chunk_length)
    for file in ("chunks.fa", "nucleotide.fa", "protein.faa"):
        assert (tmp_path / file).read_bytes() == (GOLDEN / f"{name}_{chunk_length}.{file}").read_bytes()
    assert count == (tmp_path / "protein.faa").read_bytes().count(b">") > 0
