"""Standard input as reads: kept once in a file of its own, whatever comes later."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.intake import standard_input
from virnucpro_assets.intake.standard_input import keep_standard_input
from virnucpro_assets.settings import Settings


def test_the_same_content_is_the_same_file_and_other_content_another(tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path)
    one, again, other = (
        keep_standard_input(settings, io.BytesIO(content))
        for content in (b">a\nAC\n", b">a\nAC\n", b">b\nAC\n")
    )
    assert one == again
    assert (one.read_bytes(), other.read_bytes()) == (b">a\nAC\n", b">b\nAC\n")
    assert sorted((tmp_path / "_stdin").iterdir()) == sorted([one, other])


def test_the_name_of_what_is_kept_is_on_the_disk_before_it_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, synced = os.fsync, list[tuple[str, list[str]]]()

    def recorded(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, [file.name for file in path.iterdir()] if path.is_dir() else []))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    kept = keep_standard_input(Settings(data_root=tmp_path), io.BytesIO(b">a\nAC\n"))
    assert synced[-1] == ("_stdin", [kept.name])


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_prepare_takes_standard_input_as_predict_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", str(tmp_path / "data"))
    reads, out = ">a\nATGGCTGCAGGTCTG\n", tmp_path / "out"
    done = CliRunner().invoke(app, ["prepare", name, "--out", str(out)], input=reads)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"1 read, 1 chunk, 6 candidates in {out}")
    assert (out / "chunks.fa").read_text() == ">a_chunk_1\nATGGCTGCAGGTCTG\n"
    (kept,) = (tmp_path / "data" / "_stdin").iterdir()
    assert kept.read_text() == reads


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_reads_from_standard_input_are_kept_before_they_are_looked_at(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("VIRNUCPRO_DEVICES", "cuda:7")
    done = CliRunner().invoke(app, ["predict", name, "--out", str(tmp_path / "out")], input=">a\nACGT\n")
    # The first mistake after the reads: nothing is computed here.
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: setting devices, 'cuda:7'")
    (kept,) = (tmp_path / "data" / "_stdin").iterdir()
    assert kept.read_text() == ">a\nACGT\n"


def test_two_streams_that_end_at_once_keep_their_reads_whatever_the_number_of_their_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, others = Settings(data_root=tmp_path), list[Path]()

    @contextmanager
    def then_the_other(target: Path) -> Iterator[IO[bytes]]:
        with atomic_file(target) as copy:
            yield copy
        monkeypatch.undo()
        if not others:
            others.append(keep_standard_input(settings, io.BytesIO(b">b\nGT\n")))

    monkeypatch.setattr(standard_input, "atomic_file", then_the_other)
    kept = keep_standard_input(settings, io.BytesIO(b">a\nAC\n"))
    assert (kept.read_bytes(), others[0].read_bytes()) == (b">a\nAC\n", b">b\nGT\n")


@pytest.mark.parametrize(
    ("reads", "given", "line"),
    [
        (["-"], "", "found nothing; expected reads. Check the command before the pipe."),
        (
            ["-", "/dev/stdin"],
            ">a\nAC\n",
            "found it more than once; expected it once. Give mates in one stream",
        ),
    ],
)
def test_no_reads_and_one_stream_for_two_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], given: str, line: str
) -> None:
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", str(tmp_path / "data"))
    done = CliRunner().invoke(app, ["predict", *reads, "--out", str(tmp_path / "out")], input=given)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: standard input: {line}")
    assert list((tmp_path / "data").rglob("*.reads")) == []
    assert not (tmp_path / "out").exists()


def test_a_closed_standard_input_is_named(tmp_path: Path) -> None:
    program = "import os, sys; os.close(0); os.execv(sys.argv[1], sys.argv[1:])"
    command = [str(Path(sys.executable).with_name("virnucpro")), "prepare", "-", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        2,
        "error: standard input: found a closed stream; expected reads. Give files, or open it.\n",
    )


def test_an_empty_out_is_refused_and_not_taken_for_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["prepare", "-", "--out", ""], input=">a\nACGT\n")
    assert done.exit_code == 2
    assert "Invalid value for '--out'" in done.stderr
    assert list(tmp_path.iterdir()) == []
