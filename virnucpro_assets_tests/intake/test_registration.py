"""Registering drops: which name may be given again, and what a key becomes."""

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.drops.disk_space import check_out
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.registration import key_from_name, list_drop, register_reads
from virnucpro_assets.pipeline.__main__ import main as engine
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.run import RESULTS
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_root=tmp_path / "data", drops_folder=tmp_path / "drops", devices="cpu:1")


def written(path: Path, text: str) -> ReadFile:
    """A file of reads."""
    path.write_text(text)
    return ReadFile(path)


def index(key: str, settings: Settings) -> None:
    """List and index a registered drop."""
    list_drop(key, settings)
    index_drop(DropWork.on(key, settings, [].append))


def test_a_drop_without_an_index_may_be_registered_anew(tmp_path: Path, settings: Settings) -> None:
    register_reads("d", [written(tmp_path / "wrong.fa", "no reads")], settings)
    with pytest.raises(InputError):
        index("d", settings)
    right = written(tmp_path / "right.fa", ">a\nATGC\n")
    register_reads("d", [right], settings)
    index("d", settings)
    drop, folder = DropStore(settings.data_root).current("d")
    assert drop.read_files == [right]
    assert (folder.index / "manifest.toml").exists()


def test_an_indexed_drop_is_replaced_on_demand_only(tmp_path: Path, settings: Settings) -> None:
    first, other = (written(tmp_path / f"{n}.fa", f">{n}\nATGC\n") for n in ("a", "b"))
    register_reads("d", [first], settings)
    index("d", settings)
    for files, options in (
        ([other], {}),
        ([first], {"chunk_length": 500}),
        ([first], {"duplicates": "refuse"}),
    ):
        with pytest.raises(InputError, match="drop d: found another drop of this name"):
            register_reads("d", files, settings, **options)
    source = DropStore(settings.data_root).source("d")
    assert source is not None
    assert [file.path for file in source.files] == [first.path]
    register_reads("d", [first], settings, min_score=0.9)
    with pytest.raises(InputError, match="drop d: found another drop of this name"):
        register_reads("d", [other], settings)
    register_reads("d", [other], settings, replace=True)
    index("d", settings)
    assert DropStore(settings.data_root).current("d")[0].read_files == [other]


def test_files_that_come_to_a_folder_later_belong_to_its_next_generation(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "drops" / "d").mkdir(parents=True)
    early = written(tmp_path / "drops" / "d" / "b.fa", ">b\nATGC\n")
    index("d", settings)
    first, _ = DropStore(settings.data_root).current("d")
    later = written(tmp_path / "drops" / "d" / "a.fa", ">a\nATGC\n")
    index("d", settings.model_copy(update={"chunk_length": 500}))
    second, _ = DropStore(settings.data_root).current("d")
    assert (first.read_files, second.read_files) == ([early], [later, early])
    assert second.source.chunk_length == 300
    early.path.unlink()
    assert list_drop("d", settings).read_files == [later]
    assert len({first.digest, second.digest, list_drop("d", settings).digest}) == 3


def test_odd_letters_in_a_path_are_kept_and_bytes_that_are_no_text_refused(
    tmp_path: Path, settings: Settings
) -> None:
    odd = written(tmp_path / 'é "a"\n\t%b\\.fa', ">a\nATGC\n")
    register_reads("odd", [odd], settings)
    index("odd", settings)
    assert DropStore(settings.data_root).current("odd")[0].read_files == [odd]
    no_text = written(tmp_path / os.fsdecode(b"r\xff.fa"), ">a\nATGC\n")
    with pytest.raises(InputError, match=r"r\\xff\.fa: found bytes in the path that are not UTF-8"):
        register_reads("bytes", [no_text], settings)


def test_a_registered_file_that_went_is_named(tmp_path: Path, settings: Settings) -> None:
    gone = written(tmp_path / "gone.fa", ">a\nATGC\n")
    register_reads("d", [gone], settings)
    gone.path.unlink()
    with pytest.raises(InputError, match=f"{gone.path}: found no file; expected a file of reads of drop d"):
        list_drop("d", settings)


def test_a_drop_that_nobody_delivered_is_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(
        InputError, match=f"drop d: found no delivery of this name in {tmp_path / 'drops'} and no registered"
    ):
        list_drop("d", settings)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sample.fastq.gz", "sample"),
        ("lane 1 (new).fa", "lane-1--new"),
        ("_x_.fa", "x"),
        ("é.fa", "drop"),
        (".hidden", "drop"),
        ("plate.A1.fq", "plate-A1"),
        ("s_R1.fastq.gz", "s"),
        ("s_1.trimmed.fq.gz", "s"),
        ("reads_R1", "reads"),
        ("a" * 99, "a" * 64),
    ],
)
def test_a_file_name_becomes_a_key(name: str, key: str) -> None:
    assert key_from_name(Path("folder") / name) == key


def test_results_go_into_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_out(tmp_path)
    check_out(tmp_path / "new" / "one")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"{tmp_path / 'file'}: found a file; expected a folder"):
            check_out(out)


def test_results_go_where_files_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^/proc: found a folder that takes no files \(.+\); expected a folder"
    ):
        check_out(Path("/proc/results"))
    check_out(tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


def test_a_delivered_folder_without_files_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path / "data", drops_folder=tmp_path / "drops")
    (tmp_path / "drops" / "late").mkdir(parents=True)
    with pytest.raises(InputError, match=r"drops/late: found a folder without files"):
        list_drop("late", settings)
    assert DropStore(settings.data_root).source("late") is None


@pytest.mark.parametrize("name", RESULTS)
def test_an_input_in_the_folder_of_results_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    reads = tmp_path / "results" / name
    reads.parent.mkdir()
    reads.write_text(">r\nATGC\n")
    monkeypatch.setattr(sys, "argv", ["virnucpro", f"results/{name}", "--out", "results", "--name", "d"])

    assert engine() == 2

    assert (
        f"error: results/{name}: found the input results/{name} under the name of a"
        in capsys.readouterr().err
    )
    arguments = ["predict", f"results/{name}", "--out", "results", "--name", "d"]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, f"found the input results/{name}" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.rglob("*")] == ["results", name]
    assert reads.read_text() == ">r\nATGC\n"
