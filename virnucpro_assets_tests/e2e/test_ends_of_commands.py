"""Ends of commands: nobody reads on, a disk is full, a folder is gone, the locale is old, somebody stops them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.files.locks import FileLock
from virnucpro_assets_tests.conftest import Installation, with_default_signals
from virnucpro_assets_tests.results import TABLES

SCRIPT = str(Path(sys.executable).with_name("virnucpro"))
READS = "@r1\n" + "ACGTTGCA" * 20 + "\n+\n" + "I" * 160 + "\n"
FULL = "standard output: found No space left on device. Check the path, who may use it, and the space on its disk."
OLD_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMANDS = (
    ["--version"],
    ["--help"],
    ["settings"],
    ["models", "list"],
    ["prepare", "one.fq", "--out", "prepared"],
)


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[str], Installation]) -> Installation:
    made = new_installation("ends")
    (made.folder / "one.fq").write_text(READS)
    (made.folder / "öne.fq").write_text(READS)
    return made


def start(installation: Installation, *arguments: str, **streams: int) -> "subprocess.Popen[str]":
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.Popen(
        [SCRIPT, *arguments],
        cwd=installation.folder,
        env=installation.environment,
        text=True,
        preexec_fn=with_default_signals,  # noqa: PLW1509
        **streams,
    )


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_closed_pipe_ends_a_command_as_others_and_a_full_disk_is_named(
    installation: Installation, arguments: list[str]
) -> None:
    pipe, full = closed_pipe(), os.open("/dev/full", os.O_WRONLY)
    into_pipe = start(installation, *arguments, stdout=pipe)
    into_full = start(installation, *arguments, stdout=full)
    os.close(pipe)
    os.close(full)
    assert into_pipe.communicate()[1] == ""
    assert into_full.communicate()[1] == f"error: {FULL}\n"
    assert (into_pipe.returncode, into_full.returncode) == (128 + signal.SIGPIPE, 1)


def test_what_was_finished_before_the_pipe_was_closed_is_kept(installation: Installation) -> None:
    pipe = closed_pipe()
    ended = start(installation, "prepare", "one.fq", "--out", "kept", stdout=pipe)
    os.close(pipe)
    assert ended.communicate()[1] == ""
    assert ended.returncode == 128 + signal.SIGPIPE
    assert (installation.folder / "kept" / "chunks.fa").read_text() == f">r1_chunk_1\n{'ACGTTGCA' * 20}\n"


def test_a_command_does_not_look_for_garbage_among_all_its_modules_when_it_ends(
    installation: Installation,
) -> None:
    program = (
        "import atexit, gc, sys; atexit.register(lambda: sys.stderr.write(str(gc.get_freeze_count() > 10_000))); "
        "from virnucpro_assets.cli import main; main()"
    )
    ended = installation.run("--version", program=[sys.executable, "-c", program])
    assert (ended.exit_code, ended.stderr) == (0, "True")


@pytest.mark.slow
def test_standard_error_may_be_closed_or_full(installation: Installation) -> None:
    codes = []
    for stream in (closed_pipe(), os.open("/dev/full", os.O_WRONLY)):
        ended = start(installation, "predict", "missing.fq", "--out", "x", stderr=stream)
        os.close(stream)
        assert ended.communicate()[0] == ""
        codes.append(ended.returncode)
    assert codes == [128 + signal.SIGPIPE, 2]


@pytest.mark.parametrize("arguments", [["drops"], ["models", "list"]], ids=" ".join)
def test_a_working_folder_that_was_removed_is_named(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = CliRunner().invoke(app, arguments)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == (
        "error: the working folder: found No such file or directory. Check the path, who may use it, and the space "
        "on its disk.\n"
    )


def test_a_tilde_in_arguments_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "one.fq").write_text(READS)
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["prepare", "~/one.fq", "--out=~/out"])
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout == f"1 read, 1 chunk, 6 candidates in {tmp_path / 'home' / 'out'}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
    refused = CliRunner().invoke(app, ["prepare", "one.fq", "--out=~nobody-has-this-name/x"])
    assert refused.exit_code == 2
    assert "a path whose ~NAME is a user's (./~NAME is a file of that name)" in refused.stderr


@pytest.mark.parametrize("encoding", ["", "ascii:strict"])
def test_names_beyond_ascii_are_right_in_an_old_locale(installation: Installation, encoding: str) -> None:
    variables = OLD_LOCALE | {"PYTHONIOENCODING": encoding}
    ended = installation.run("prepare", "öne.fq", "--out", f"aüs{encoding}", **variables)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert (installation.folder / f"aüs{encoding}" / "chunks.fa").is_file()


@pytest.mark.slow
def test_a_drop_is_computed_in_an_old_locale_and_a_data_root_of_odd_letters(
    new_installation: Callable[[str], Installation],
) -> None:
    installation = new_installation("odd")
    root = installation.folder / "run?1 50%ce #'é 日"
    (installation.folder / "öne.fq").write_text(READS)
    ended = installation.run(
        "predict", "öne.fq", "--out", "aüs", "--name", "one", VIRNUCPRO_DATA_ROOT=str(root), **OLD_LOCALE
    )
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.splitlines()[: len(TABLES)] == [f"aüs/{name}" for name in TABLES]
    assert f'path = "{installation.folder / "öne.fq"}"' in (root / "one" / "source.toml").read_text()


INTERRUPTED_IMPORT = """
import sys

interrupted = sys.argv[1]

class Interrupts:
    def find_spec(self, name, *_):
        if name == interrupted:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
from virnucpro_assets.cli import main
sys.argv = ["virnucpro", "drops"]
main()
"""


@pytest.mark.parametrize(
    "module", ["pydantic", "virnucpro_assets.cli.drops", "virnucpro_assets.defs.drop_states", "dagster"]
)
def test_an_interruption_of_any_import_has_no_trace(installation: Installation, module: str) -> None:
    ended = installation.run("-c", INTERRUPTED_IMPORT, module, program=[sys.executable])
    assert (ended.exit_code, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_command_that_waits_can_be_stopped_without_a_trace(
    installation: Installation, number: signal.Signals
) -> None:
    lock = FileLock(installation.data_root / "_registrations" / "one.lock", "the test")
    assert lock.try_acquire() is None
    try:
        waiting = start(installation, "predict", "one.fq", "--out", "stopped")
        assert waiting.stderr is not None
        line = waiting.stderr.readline()
        waiting.send_signal(number)
        rest = waiting.communicate()
    finally:
        lock.release()
    assert line.startswith(f"waiting for {lock.path}, which the test (process {os.getpid()} on ")
    assert rest == ("", "")
    assert waiting.returncode == (130 if number == signal.SIGINT else -number)
    assert not (installation.folder / "stopped").exists()
