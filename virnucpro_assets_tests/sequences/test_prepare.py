"""The three files of the preparation against those of the published rules."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.prepare import prepare
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.golden_prep import GOLDEN, without_rna
from virnucpro_assets_tests.sequences.reference import (
    chunk_lengths,
    drops,
    reference_candidates,
    reference_chunks,
    reference_names,
)


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


@settings(max_examples=30)
@given(drops(), st.lists(st.sampled_from(["a", "a_1", "b|x", "é"]), min_size=12, max_size=12), chunk_lengths)
def test_the_files_are_those_of_the_original_loop_under_names_that_are_told_apart(
    reads: list[bytes], names: list[str], chunk_length: int
) -> None:
    names = names[: len(reads)]
    final = reference_names(names)
    chunks = [
        (f"{name}_chunk_{number}", chunk)
        for name, bases in zip(final, reads, strict=True)
        for number, chunk in enumerate(reference_chunks(bases, chunk_length), 1)
    ]
    candidates = [
        (f"{final[one.read]}_chunk_{one.chunk}{one.frame}", one.nucleotides.decode(), one.protein.decode())
        for one in reference_candidates(reads, chunk_length)
    ]
    with TemporaryDirectory() as folder:
        records = (f">{name} x\n{bases.decode()}\n" for name, bases in zip(names, reads, strict=True))
        path = written(Path(folder), "".join(records))
        summary = prepare([ReadFile(path)], Path(folder, "out"), chunk_length=chunk_length)
        found = {file.name: file.read_text() for file in Path(folder, "out").glob("[!.]*")}
    assert found == {
        "chunks.fa": "".join(f">{name}\n{chunk}\n" for name, chunk in chunks),
        "nucleotide.fa": "".join(f">{name}\n{nucleotides}\n" for name, nucleotides, _ in candidates),
        "protein.faa": "".join(f">{name}\n{protein}\n" for name, _, protein in candidates),
    }
    assert (summary.reads, summary.chunks, summary.candidates) == (len(reads), len(chunks), len(candidates))
    assert summary.renames.count == sum(old != new for old, new in zip(names, final, strict=True))


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
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").glob("[!.]*")}

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("virnucpro_assets.sequences.prepare.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare([ReadFile(written(tmp_path, ">b\nATG\n"))], tmp_path / "out", chunk_length=300)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").glob("[!.]*")} == before


@pytest.mark.parametrize("name", ["chunks.fa", "nucleotide.fa", "protein.faa"])
@pytest.mark.parametrize("way", ["itself", "hard link", "symbolic link"])
def test_no_input_is_replaced_whatever_name_it_goes_by(tmp_path: Path, name: str, way: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = out / name if way == "itself" else tmp_path / "reads.fa"
    path.write_text(">r\nATGC\n")
    if way == "hard link":
        (out / name).hardlink_to(path)
    if way == "symbolic link":
        (out / name).symlink_to(path)

    with pytest.raises(InputError, match=f"{name}: found the input .* under the name of a result"):
        prepare([ReadFile(path)], out, chunk_length=300)

    assert [file.name for file in out.iterdir()] == [name]
    assert (out / name).read_text() == path.read_text() == ">r\nATGC\n"


@pytest.mark.parametrize("change", ["never ours", "changed", "a folder", "a link to nothing"])
def test_no_file_of_others_is_replaced(tmp_path: Path, change: str) -> None:
    path, out = written(tmp_path, ">a\nATG\n"), tmp_path / "out"
    foreign = out / "protein.faa"
    out.mkdir()
    if change == "changed":
        prepare([ReadFile(path)], out, chunk_length=300)
        foreign.unlink()
    if change == "a folder":
        foreign.mkdir()
    elif change == "a link to nothing":
        foreign.symlink_to(tmp_path / "later")
    else:
        foreign.write_text("mine")
    before = sorted((file.name, file.lstat().st_ino, file.lstat().st_mtime_ns) for file in out.iterdir())

    with pytest.raises(
        InputError, match=r"protein\.faa: found a file that was not written here by this program"
    ):
        prepare([ReadFile(path)], out, chunk_length=300)

    now = sorted((file.name, file.lstat().st_ino, file.lstat().st_mtime_ns) for file in out.iterdir())
    assert now == before


def test_what_was_written_there_before_is_replaced_also_after_a_command_that_was_cut_off(
    tmp_path: Path,
) -> None:
    path, out = written(tmp_path, ">a\nATG\n"), tmp_path / "out"
    prepare([ReadFile(path)], out, chunk_length=300)
    former = (out / "chunks.fa").read_bytes()
    written(tmp_path, ">b\nATGCC\n")
    prepare([ReadFile(path)], out, chunk_length=300)
    latter = (out / "chunks.fa").read_bytes()
    assert former != latter
    (out / "chunks.fa").write_bytes(former)

    prepare([ReadFile(path)], out, chunk_length=300)

    assert (out / "chunks.fa").read_bytes() == latter


@dataclass(frozen=True)
class Prepared:
    """What `virnucpro prepare` is given, files by the names of their reads, and what comes of it."""

    files: dict[str, str]
    names: str = ""
    options: tuple[str, ...] = ()
    said: str = ""
    exit_code: int = 0


SINGLE = "They are taken as single reads; if"
RENAMED = "note: reads renamed because an earlier read has their name: "
SAY_SO = "If they are mates, say so with --paired or --interleaved"


@pytest.mark.parametrize(
    "case",
    [
        Prepared({"t.R1.fa": "ab", "t.R2.fa": "ab"}, "a/1 b/1 a/2 b/2"),
        Prepared({"t.fa": "aabb"}, "a/1 a/2 b/1 b/2", ("--interleaved",)),
        Prepared({"t.interleaved.fa": "aabb"}, "a/1 a/2 b/1 b/2"),
        Prepared({"x.fa": "ab", "y.fa": "ab"}, "a/1 b/1 a/2 b/2", ("--paired",)),
        Prepared(
            {"un_R1.fa": "abcd", "un_R2.fa": "ac"},
            "a/1 b/1 c/1 d/1 a/2 c/2",
            said="note: mates whose partner is not there: 2 of 6 reads\n",
        ),
        Prepared(
            {"inter.fa": "aabb"},
            "a a_1 b b_1",
            said=f"note: inter.fa begins with two reads called a. {SINGLE} the file holds alternating mates, give "
            f"--interleaved.\n{RENAMED}2 of 4 (a to a_1). {SAY_SO}\n",
        ),
        Prepared(
            {"x.fa": "ab", "y.fa": "ac"},
            "a b a_1 c",
            said=f"note: x.fa and y.fa both begin with a read called a. {SINGLE} they hold mates, give --paired.\n"
            f"{RENAMED}1 of 4 (a to a_1). {SAY_SO}\n",
        ),
        Prepared(
            {"t.fa": "aab"},
            options=("--interleaved",),
            said="error: t.fa, record 3: found the last record, without a mate; expected alternating mates, as in an "
            "interleaved file. Repair the file (for example with BBTools' repair.sh); or leave out --interleaved, and "
            "the word `interleaved` in the file's name.\n",
            exit_code=2,
        ),
        Prepared(
            {"t.fa": "aa"},
            options=("--interleaved", "--paired"),
            said="error: options: found --paired and --interleaved; expected one of them at most. --paired is for "
            "mates in two files, --interleaved for alternating mates in one.\n",
            exit_code=2,
        ),
    ],
)
def test_the_command_line_knows_mates_and_says_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Prepared
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, reads in case.files.items():
        Path(name).write_text("".join(f">{read}\nATGC\n" for read in reads))
    done = CliRunner().invoke(app, ["prepare", *case.files, "--out", "out", *case.options])
    assert (done.exit_code, done.stderr) == (case.exit_code, case.said)
    written = [] if case.exit_code else records_of(Path("out", "chunks.fa"))
    assert [name.removesuffix("_chunk_1") for name, _ in written] == case.names.split()
