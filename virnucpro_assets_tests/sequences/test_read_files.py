"""Which files are mates."""

import os
import socket
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.files.user_paths import require_plain_file
from virnucpro_assets.sequences.prepare import prepare
from virnucpro_assets.sequences.read_files import INTERLEAVED, ReadFile, first_word, pair_files, with_mate
from virnucpro_assets_tests.names_of_mates import NAMES_OF_MATES


@pytest.mark.parametrize(
    ("names", "mates"),
    [
        ([], []),
        (["a.fa"], [0]),
        (["a_R1.fastq.gz", "a_R2.fastq.gz"], [1, 2]),
        (["a_R2.fq", "b.fq", "a_R1.fq"], [2, 0, 1]),
        (["a_1.fa", "a_2.fa"], [1, 2]),
        (["a_S1_L001_R1_001.fastq.gz", "a_S1_L001_R2_001.fastq.gz"], [1, 2]),
        (["a_R1.fq"], [0]),
        (["a_R1.fq", "b_R2.fq"], [0, 0]),
        (["a_R1.fq", "a_2.fq"], [0, 0]),
        (["a_1.fq", "a_2.fq.gz"], [1, 2]),
        (["a_1.fq", "a_1.fq.gz", "a_2.fq"], [1, 0, 2]),
        (["a_1.fq", "a_2.fa"], [0, 0]),
        (["a_1.fq", "a_3.fq"], [0, 0]),
        (["a_11.fq", "a_12.fq"], [0, 0]),
        (["x/a_1.fq", "y/a_2.fq"], [1, 2]),
        (["x/a_1.fq", "y/a_2.fq", "z/a_2.fq"], [0, 0, 0]),
        (["x/a_1.fq", "x/a_2.fq", "y/a_1.fq", "y/a_2.fq", "z/a_1.fq"], [1, 2, 1, 2, 0]),
        (["./a_1.fq", "x/../a_2.fq"], [1, 2]),
        (["_1.fq", "_2.fq"], [0, 0]),
    ],
)
def test_files_are_mates_if_the_partner_is_there(names: list[str], mates: list[int]) -> None:
    files = pair_files([Path(name) for name in names])
    assert files == [ReadFile(Path(name), mate) for name, mate in zip(names, mates, strict=True)]


@pytest.mark.parametrize(("origin", "one", "two", "drop"), NAMES_OF_MATES)
def test_the_names_that_programs_and_archives_give_to_mates_are_known(
    origin: str, one: str, two: str, drop: str
) -> None:
    assert [file.mate for file in pair_files([Path(two), Path(one)])] == [2, 1], origin


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("plate.A1.fq", "plate.A2.fq"),
        ("WT-1.fq", "WT-2.fq"),
        ("sample1.fq", "sample2.fq"),
        ("s_R1.fq", "s_R1_trimmed.fq"),
        ("s_R1.fq", "s_R2_trimmed.fq"),
        ("s_1P.fq", "s_2U.fq"),
        ("s_R1_001.fastq.gz", "s_R2_002.fastq.gz"),
        ("s_1_val_1.fq", "s_2_val_1.fq"),
        ("a_R1_x.fq", "a_R2_x.fq"),
        ("s_R1.fq", "S_R2.fq"),
        ("s_I1_001.fastq.gz", "s_I2_001.fastq.gz"),
    ],
)
def test_other_names_that_end_in_one_and_two_are_no_mates(one: str, two: str) -> None:
    assert [file.mate for file in pair_files([Path(one), Path(two)])] == [0, 0]


def test_one_path_may_be_absolute_and_the_other_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [file.mate for file in pair_files([tmp_path / "a_R1.fq", Path("a_R2.fq")])] == [1, 2]


@pytest.mark.parametrize(
    "name", ["s.interleaved.fq.gz", "s_interleaved.fastq", "Interleaved.fq", "s_interleaved_qc.fq"]
)
def test_a_file_is_interleaved_if_its_name_says_so(name: str) -> None:
    assert pair_files([Path(name), Path("b.fq")]) == [
        ReadFile(Path(name), INTERLEAVED),
        ReadFile(Path("b.fq")),
    ]
    assert pair_files([Path("deinterleaved.fq")]) == [ReadFile(Path("deinterleaved.fq"))]


def test_files_are_interleaved_if_the_caller_says_so() -> None:
    paths = [Path("a_1.fq"), Path("a_2.fq")]
    assert [file.mate for file in pair_files(paths, interleaved=True)] == [INTERLEAVED, INTERLEAVED]
    with pytest.raises(InputError, match=r"^options: found --paired and --interleaved; expected one of them"):
        pair_files(paths, paired=True, interleaved=True)


def test_files_given_as_pairs_are_mates_whatever_their_names() -> None:
    paths = [Path(name) for name in ("x.fq", "a_2.fq", "b_2.fq", "b_1.fq")]
    assert [file.mate for file in pair_files(paths, paired=True)] == [1, 2, 1, 2]


def test_an_odd_number_of_files_given_as_pairs_is_refused() -> None:
    with pytest.raises(InputError, match=r"c\.fq: found the last of 3 files without a partner"):
        pair_files([Path("a.fq"), Path("b.fq"), Path("c.fq")], paired=True)


@pytest.mark.parametrize(
    ("name", "mate", "expected"),
    [
        ("r", 0, "r"),
        ("r", 1, "r/1"),
        ("r", 2, "r/2"),
        ("r/1", 1, "r/1"),
        ("r/1", 0, "r/1"),
        ("r1", 1, "r1/1"),
    ],
)
def test_a_mate_gets_its_suffix_once(name: str, mate: int, expected: str) -> None:
    assert with_mate(name, mate) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("a", "a"), ("a b c", "a"), ("a\tb", "a"), ("", ""), (" a", ""), ("\ta", ""), ("ä|ö x", "ä|ö")],
)
def test_the_id_is_the_first_word_of_the_header(header: str, expected: str) -> None:
    assert first_word(header) == expected


@pytest.mark.parametrize("paired", [False, True])
def test_a_file_given_twice_is_refused(paired: bool) -> None:
    with pytest.raises(InputError, match=r"^a\.fa: found the same file as a\.fa; expected each file once\. "):
        pair_files([Path("a.fa"), Path("a.fa")], paired=paired)


@pytest.mark.parametrize(
    "other", ["./a.fa", "{folder}/a.fa", "s/../a.fa", "s/link.fa", "hard.fa", "s/again/a.fa"]
)
@pytest.mark.parametrize("paired", [False, True])
def test_a_file_given_by_two_paths_is_one(
    other: str, paired: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.fa").touch()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "link.fa").symlink_to("../a.fa")
    (tmp_path / "s" / "again").symlink_to("..")
    (tmp_path / "hard.fa").hardlink_to("a.fa")
    path = other.format(folder=tmp_path)
    with pytest.raises(InputError) as error:
        pair_files([Path("a.fa"), Path(path)], paired=paired)
    assert str(error.value) == (
        f"{Path(path)}: found the same file as a.fa; expected each file once. Give it once; reads that were "
        "delivered twice belong in two files."
    )


def test_two_files_of_equal_content_are_two(tmp_path: Path) -> None:
    paths = [tmp_path / "a.fa", tmp_path / "b.fa"]
    for path in paths:
        path.write_text(">a\nACGT\n")
    assert [file.path for file in pair_files(paths)] == paths


def test_files_of_one_name_in_two_folders_are_two_files() -> None:
    files = [Path("lane1/a.fa"), Path("lane2/a.fa")]
    assert [file.path for file in pair_files(files)] == files


def test_what_gives_its_content_once_or_to_one_process_is_refused_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX) as server, open(reading, "rb"), open(writing, "wb"):  # noqa: PTH123
        server.bind(str(tmp_path / "socket"))
        refused = {
            "fifo": "a pipe",
            "link": "a pipe",
            "socket": "no plain file",
            "-": "standard input",
            "/dev/stdin": "a stream of this process",
            f"/dev/fd/{reading}": "a stream of this process",
            f"/proc/self/fd/{reading}": "a stream of this process",
        }
        for path, found in refused.items():
            error = f"^{path}: found {found}; expected a file of reads. Write it to a file"
            with pytest.raises(InputError, match=error):
                require_plain_file(Path(path))
            with pytest.raises(InputError, match=error):
                prepare([ReadFile(Path(path))], tmp_path / "out", chunk_length=300)
    assert not (tmp_path / "out").exists()


def test_a_plain_file_is_taken_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "stdin", "dev"):
        (tmp_path / name).touch()
        require_plain_file(Path(name))
    (tmp_path / "link").symlink_to("stdin")
    require_plain_file(tmp_path / "link")
    with pytest.raises(InputError, match=r"found a folder; expected a file of reads\. Check the path"):
        require_plain_file(tmp_path)
