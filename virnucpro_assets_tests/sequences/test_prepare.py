"""The three files of the preparation against those of the published rules."""

from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.prepare import prepare
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.golden_prep import GOLDEN, without_rna


def records_of(path: Path) -> list[tuple[str, str]]:
    """(header, sequence in upper case, unwrapped) of every record."""
    parts = [part.split("\n", 1) for part in path.read_text().split(">")[1:]]
    return [(header, body.replace("\n", "").upper()) for header, body in parts]


def written(tmp_path: Path, fasta: str) -> Path:
    path = tmp_path / "reads.fa"
    path.write_text(fasta)
    return path


@pytest.mark.parametrize(("name", "chunk_length"), [("edge", 300), ("edge", 500), ("lambda", 300)])
def test_every_golden_file_is_reproduced(tmp_path: Path, name: str, chunk_length: int) -> None:
    summary = prepare([ReadFile(GOLDEN / f"{name}.fa")], tmp_path, chunk_length=chunk_length)
    chunks = records_of(tmp_path / "chunks.fa")
    assert chunks == records_of(GOLDEN / f"{name}_{chunk_length}.chunks.fa")
    for file in ("nucleotide.fa", "protein.faa"):
        golden = (GOLDEN / f"{name}_{chunk_length}.{file}").read_text()
        assert without_rna((tmp_path / file).read_text()) == without_rna(golden)
    assert (summary.reads, summary.chunks) == (len(records_of(GOLDEN / f"{name}.fa")), len(chunks))
    assert summary.candidates == len(records_of(tmp_path / "protein.faa"))
    assert summary.with_u == (name == "edge")


def test_chunks_keep_the_letters_of_rna_and_candidates_are_those_of_dna(tmp_path: Path) -> None:
    rna = prepare([ReadFile(written(tmp_path, ">r\nauGGCU\n"))], tmp_path / "rna", chunk_length=300)
    dna = prepare([ReadFile(written(tmp_path, ">r\natGGCT\n"))], tmp_path / "dna", chunk_length=300)
    assert (tmp_path / "rna" / "chunks.fa").read_text() == ">r_chunk_1\nauGGCU\n"
    for name in ("nucleotide.fa", "protein.faa"):
        assert (tmp_path / "rna" / name).read_bytes() == (tmp_path / "dna" / name).read_bytes()
    assert (rna.with_u, dna.with_u) == (1, 0)


def test_chunks_keep_the_case_of_the_input(tmp_path: Path) -> None:
    prepare([ReadFile(written(tmp_path, ">r\natGC\n"))], tmp_path / "out", chunk_length=300)
    assert (tmp_path / "out" / "chunks.fa").read_text() == ">r_chunk_1\natGC\n"
    assert (
        (tmp_path / "out" / "nucleotide.fa").read_text().startswith(">r_chunk_1F1\nATGC\n>r_chunk_1F2\nTGC\n")
    )


def test_repeated_names_are_told_apart_in_all_files(tmp_path: Path) -> None:
    path = written(tmp_path, ">a\nATG\n>a\nATG\n>a_1\nATG\n")
    summary = prepare([ReadFile(path)], tmp_path / "out", chunk_length=300)
    ids = [header for header, _ in records_of(tmp_path / "out" / "chunks.fa")]
    assert ids == ["a_chunk_1", "a_2_chunk_1", "a_1_chunk_1"]
    assert [header for header, _ in records_of(tmp_path / "out" / "protein.faa")] == [
        f"{name}{frame}" for name in ids for frame in ("F1", "R1")
    ]
    assert summary.renames.count == 1


def test_wrong_input_leaves_nothing_behind(tmp_path: Path) -> None:
    path = written(tmp_path, ">a\nATG\n>a\nATG\n")
    with pytest.raises(InputError):
        prepare([ReadFile(path)], tmp_path / "out", chunk_length=300, duplicates="refuse")
    with pytest.raises(InputError):
        prepare([ReadFile(tmp_path / "missing.fa")], tmp_path / "out", chunk_length=300)
    assert [file.name for file in tmp_path.iterdir()] == ["reads.fa"]


def test_an_error_while_writing_leaves_the_files_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, ">a\nATG\n")
    prepare([ReadFile(path)], tmp_path / "out", chunk_length=300)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("virnucpro_assets.sequences.prepare.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare([ReadFile(written(tmp_path, ">b\nATG\n"))], tmp_path / "out", chunk_length=300)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_no_reads_make_three_empty_files(tmp_path: Path) -> None:
    prepare([], tmp_path / "out", chunk_length=300)
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "out").iterdir()}
    assert sizes == {"chunks.fa": 0, "nucleotide.fa": 0, "protein.faa": 0}
