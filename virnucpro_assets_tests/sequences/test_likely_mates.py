"""Files that begin like mates and are taken as single reads."""

import os
from pathlib import Path

import pytest

from virnucpro_assets.sequences.read_files import pair_files
from virnucpro_assets.sequences.reads import likely_mates

PAIRED = "They are taken as single reads; if they hold mates, give --paired"
TURN = "They are taken as single reads; if the file holds alternating mates, give --interleaved"


def fasta(path: Path, names: str) -> Path:
    path.write_text("".join(f">{name} x\nACGT\n" for name in names))
    return path


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ({"a.fa": "xyz"}, []),
        ({"a.fa": ""}, []),
        ({"a.fa": "x"}, []),
        ({"a.fa": "xx"}, [f"a.fa begins with two reads called x. {TURN}"]),
        ({"a.fa": "xyy"}, []),
        ({"a.fa": "xy", "b.fa": "xz"}, [f"a.fa and b.fa both begin with a read called x. {PAIRED}"]),
        ({"a.fa": "xy", "b.fa": "yx"}, []),
        ({"a.fa": "xy", "b.fa": "xy", "c.fa": "xy"}, []),
        ({"a_1.fa": "xy", "a_2.fa": "xy"}, []),
        ({"a.interleaved.fa": "xx"}, []),
        ({"a.fa": "no letters?"}, []),
    ],
)
def test_files_that_look_like_mates_and_are_not_taken_as_such_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], lines: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [fasta(Path(name), names) for name, names in files.items()]
    assert list(likely_mates(pair_files(paths))) == lines


def test_what_cannot_be_read_twice_or_at_all_is_not_touched(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "noise").write_bytes(b"\0\1")
    paths = [tmp_path / "pipe", tmp_path / "noise", tmp_path / "missing", tmp_path]
    assert list(likely_mates(pair_files(paths))) == []


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.write_text(f">{'n' * 200}\nA\n" * 2)
    assert list(likely_mates(pair_files([path]))) == [
        f"{path} begins with two reads called {'n' * 80}. {TURN}"
    ]
