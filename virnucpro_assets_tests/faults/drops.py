"""A whole drop, done by real processes of the engine's command line: stopped, changed, done again."""

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.files.atomic import TEMPORARY_MARK
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind
from virnucpro_assets_tests.faults.harness import device_processes_of
from virnucpro_assets_tests.waiting import wait_until

RANKS = 4
READS = 240
KEY = "reads"

Numbers = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Run:
    """A running or ended process; what it says on standard error goes to a file."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    def wait(self, seconds: float = 100) -> int:
        """Its exit code."""
        return self.process.wait(seconds)


@dataclass(frozen=True)
class DropPlace:
    """A folder for one drop of demo reads, in parts of one small pack on one CPU slot."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with gzip.open(DROP_FILE, "rt") as lines:
            self.reads.write_text("".join(islice(lines, 4 * READS)))

    @property
    def reads(self) -> Path:
        return self.folder / f"{KEY}.fastq"

    @property
    def drop(self) -> DropFolder:
        return DropStore(self.folder / "data").current(KEY)[1]

    def environment(self, **settings: object) -> dict[str, str]:
        """The environment of a process with the settings of this place and some of its own."""
        given = {
            "data_root": self.folder / "data",
            "locks_folder": self.folder / "locks",
            "devices": "cpu:1",
            "check_sample": 4,
            "ranks": RANKS,
            "token_budget": 1024,
            "packs_per_part": 1,
        } | settings
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRNUCPRO_")}
        return kept | {f"VIRNUCPRO_{name.upper()}": str(value) for name, value in given.items()}

    @contextmanager
    def start(self, *options: str, name: str = "run", **settings: object) -> Iterator[Run]:
        """Start the work on the drop; it does not outlive the block."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "virnucpro_assets.pipeline", str(self.reads)),
                    *("--out", str(self.folder / "out"), *options),
                ],
                env=self.environment(**settings),
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            yield Run(process, log)
        finally:
            process.kill()
            process.wait()

    def run(self, *options: str, **settings: object) -> tuple[int, list[str]]:
        """Do the work on the drop to its end; the exit code and what was said."""
        with self.start(*options, **settings) as run:
            return run.wait(), run.said

    def said(self, name: str = "run") -> list[str]:
        """What the last run of that name said."""
        return (self.folder / f"{name}.log").read_text().splitlines()

    def stop_in_the_middle(self, parts: int = 3, **settings: object) -> list[Path]:
        """Start the work and kill it with SIGKILL once some parts are there; the parts that it left."""
        with self.start(name="stopped", **settings) as run:
            self.wait_for_parts(run, parts)
            run.process.send_signal(signal.SIGKILL)
            run.wait()
            wait_until(lambda: not device_processes_of(run.process.pid), 5, pause=0.02)
        return self.parts()

    def wait_for_parts(self, run: Run, parts: int) -> None:
        """Wait until so many parts are there while the process runs."""
        deadline = time.monotonic() + 60
        while len(self.parts()) < parts:
            assert run.process.poll() is None, run.said
            assert time.monotonic() < deadline, "no parts came"
            time.sleep(0.01)

    def parts(self) -> list[Path]:
        """The parts of both encoders that are there, sorted."""
        return sorted((self.folder / "data" / KEY).glob("*/*/rank-??-of-??/part-?????.h5"))

    def stored(self) -> dict[str, tuple[str, int]]:
        """Every whole file of embeddings, also of what was set aside: its digest and inode."""
        found = {}
        for kind in ENCODER_KINDS:
            for path in sorted((self.drop.path / kind).rglob("*")):
                if path.is_file() and path.suffix != ".lock" and TEMPORARY_MARK not in path.name:
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[str(path.relative_to(self.drop.path))] = (digest, path.stat().st_ino)
        return found

    def shards(self) -> dict[tuple[EncoderKind, int], ShardManifest]:
        """The finished shards, every digest checked."""
        return {
            (kind, rank): read_shard(self.drop.shard(kind, rank, RANKS), content=True)
            for kind in ENCODER_KINDS
            for rank in range(RANKS)
        }

    def numbers(self) -> Numbers:
        """The rows and embeddings of every shard, in their order."""
        found = {}
        for kind, rank in self.shards():
            with h5py.File(self.drop.shard(kind, rank, RANKS) / "shard.h5") as file:
                found[f"{kind} {rank} rows"] = file["rows"][:]
                found[f"{kind} {rank}"] = file["embeddings"][:]
        return found

    def tables(self) -> dict[str, bytes]:
        """The tables and hits that people take away, which hold no times."""
        names = (
            "prediction_results.txt",
            "prediction_results_highestscore.csv",
            "contig_calls.tsv",
            "hits.fasta",
        )
        return {name: (self.folder / "out" / name).read_bytes() for name in names}


def assert_equal_numbers(found: Numbers, expected: Numbers) -> None:
    """Bit for bit the same rows and embeddings."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].tobytes() == values.tobytes(), name
