"""What tests of several folders share: a small drop, and the command line in a folder of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.process_handle import ProcessHandle
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets_tests.jobs import build_small_index, write_small_reads
from virnucpro_assets_tests.warm_devices import WarmDevices

REPOSITORY = Path(__file__).parents[1]

# The same examples in every run, however busy the machine is.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=80, database=None)
settings.load_profile("suite")


def with_default_signals() -> None:
    """A shell that starts the tests in the background lets them ignore SIGINT, nohup SIGHUP, and a run of Dagster in
    this process gives SIGTERM the handler of SIGINT: a child would ignore all three."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def as_a_script_in_the_background() -> None:
    """What a shell without job control does before it starts `COMMAND &`."""
    with_default_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    exit_code: int
    stdout: str
    stderr: str
    trace: str = ""


@dataclass(frozen=True)
class Installation:
    """A working folder with its own data root and Dagster home, on one CPU slot."""

    folder: Path

    @property
    def data_root(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRNUCPRO_")}
        return kept | {
            "VIRNUCPRO_DATA_ROOT": str(self.data_root),
            "VIRNUCPRO_LOCKS_FOLDER": str(self.folder / "locks"),
            "VIRNUCPRO_DEVICES": "cpu:1",
            "VIRNUCPRO_CHECK_SAMPLE": "8",
            "DAGSTER_HOME": str(self.folder / "dagster"),
        }

    def run(self, *arguments: str, program: Sequence[str] = (), **environment: str) -> Outcome:
        """Run the console script, or `program`, in the folder."""
        script = str(Path(sys.executable).with_name("virnucpro"))
        done = subprocess.run(
            [*(program or [script]), *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def run_all(self, lines: Sequence[tuple[Sequence[str], dict[str, str]]]) -> list[Outcome]:
        """Run command lines, each with variables of its own, one after the other in one process."""
        asked = [{"arguments": list(line), "environment": variables} for line, variables in lines]
        done = subprocess.run(
            [sys.executable, "-m", "virnucpro_assets_tests.command_lines"],
            cwd=self.folder,
            env=self.environment | {"PYTHONPATH": str(REPOSITORY)},
            input=json.dumps(asked),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return [Outcome(**outcome) for outcome in json.loads(done.stdout)]

    def leftovers(self) -> list[Path]:
        """Temporary files and folders under the data root."""
        return [path for path in self.data_root.rglob("*") if ".partial-" in path.name or "tmp" in path.name]


@dataclass(frozen=True)
class Prediction:
    """The small drop, predicted by the console script."""

    installation: Installation
    out: Path
    outcome: Outcome


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks of devices of their own, so that no test waits for other users of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIRNUCPRO_LOCKS_FOLDER", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Device processes of pools in this process stay warm between tests (`cold_devices` for those about starts)."""
    warm = WarmDevices(tmp_path_factory.mktemp("warm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("virnucpro_assets.inference.pool.ProcessHandle", warm)
        yield
    warm.close()


@pytest.fixture
def cold_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pool starts and ends device processes of its own."""
    monkeypatch.setattr("virnucpro_assets.inference.pool.ProcessHandle", ProcessHandle)


@pytest.fixture(scope="session")
def small_reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FASTQ file of 60 reads."""
    path = tmp_path_factory.mktemp("reads") / "small.fastq"
    write_small_reads(path)
    return path


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory, small_reads: Path) -> SequenceIndex:
    """The index of `small_reads` for 4 ranks."""
    return build_small_index(small_reads, tmp_path_factory.mktemp("small") / "index")


@pytest.fixture(scope="session")
def new_installation(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Installation]:
    """Make an empty installation."""
    return lambda name: Installation(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def predicted(new_installation: Callable[[str], Installation], small_reads: Path) -> Prediction:
    """`virnucpro predict` on the small reads."""
    installation = new_installation("predicted")
    out = installation.folder / "out"
    return Prediction(installation, out, installation.run("predict", str(small_reads), "--out", str(out)))


@pytest.fixture(scope="session")
def finished_data(tmp_path_factory: pytest.TempPathFactory, small_reads: Path) -> Path:
    """A data root with the finished drop `d`, of 4 ranks; look at it only."""
    settings = Settings(data_root=tmp_path_factory.mktemp("finished"), devices="cpu:1", check_sample=4)
    register_reads("d", [ReadFile(small_reads)], settings)
    run_drop("d", settings, [].append)
    return settings.data_root


@pytest.fixture
def finished(tmp_path: Path, finished_data: Path) -> DropWork:
    """The finished drop `d` in a data root of the test's own."""
    shutil.copytree(finished_data, tmp_path / "data")
    return DropWork.on("d", Settings(data_root=tmp_path / "data", devices="cpu:1", check_sample=4), [].append)
