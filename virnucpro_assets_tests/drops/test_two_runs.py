"""Two runs on one drop at the same time, as real processes on one data root and one device."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.files.user_paths import RECORD
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

SMALL_PARTS = {"VIRNUCPRO_TOKEN_BUDGET": "1024", "VIRNUCPRO_PACKS_PER_PART": "1"}


def begin(
    installation: Any, reads: Path, out: str, *options: str, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "virnucpro_assets.pipeline", str(reads), "--out", out, *options],
        cwd=installation.folder,
        env=installation.environment | SMALL_PARTS | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def generation_of(installation: Any) -> Path:
    (manifest,) = installation.data_root.glob("small/*/drop.toml")
    return manifest.parent


def shards_of(installation: Any) -> dict[tuple[str, int], ShardManifest]:
    folder = generation_of(installation)
    return {
        (kind, rank): read_shard(folder / kind / f"rank-{rank:02d}-of-04", content=True)
        for kind in ENCODER_KINDS
        for rank in range(4)
    }


def tables(folder: Path) -> dict[str, bytes]:
    """The results but for the report and the record of all, which hold times."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name not in {"report.html", RECORD}
    }


@pytest.fixture(scope="module")
def undisturbed(new_installation: Callable[[str], Any], small_reads: Path) -> Any:
    """The drop, computed by one run alone."""
    installation = new_installation("alone")
    _, errors = (process := begin(installation, small_reads, "out")).communicate()
    assert process.returncode == 0, errors
    return installation


def test_the_second_run_waits_and_then_computes_nothing_again(
    new_installation: Callable[[str], Any], small_reads: Path, undisturbed: Any
) -> None:
    installation = new_installation("both")
    runs = [begin(installation, small_reads, f"out-{number}") for number in (1, 2)]
    versions: set[tuple[str, int]] = set()
    while any(run.poll() is None for run in runs):
        for path in installation.data_root.glob("small/*/*/rank-*/part-*.h5"):
            versions.add((str(path), path.stat().st_ino))
        time.sleep(0.01)
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors

    found, expected = shards_of(installation), shards_of(undisturbed)
    parts = sum(len(shard.parts) for shard in expected.values())
    assert parts == 16
    assert len(versions) == parts
    for kind in ENCODER_KINDS:
        (rows,) = {sum(shard.rows for (of, _), shard in expected.items() if of == kind)}
        computed = [re.findall(rf"^{kind}: ([\d,]+) of .*100%", text, re.M) for text in errors]
        assert sorted(computed) == [[], [f"{rows:,}"]]
        assert sum(f"{kind}: nothing to compute" in text for text in errors) == 1
    assert any(re.search(r"^waiting for .*\.lock, which .+ of drop small \(process", t, re.M) for t in errors)
    assert sum("exists, is whole and of these reads: it is reused" in text for text in errors) == 1
    assert {name: [part.file for part in shard.parts] for name, shard in found.items()} == {
        name: [part.file for part in shard.parts] for name, shard in expected.items()
    }
    assert tables(installation.folder / "out-1") == tables(undisturbed.folder / "out")
    assert tables(installation.folder / "out-2") == tables(undisturbed.folder / "out")
    assert installation.leftovers() == []


def test_a_second_run_that_is_to_refuse_names_the_first_and_spoils_nothing(
    new_installation: Callable[[str], Any], small_reads: Path, undisturbed: Any
) -> None:
    installation = new_installation("refusing")
    first = begin(installation, small_reads, "out-1")
    while not list(installation.data_root.glob("small/*/dnabert_s/*/part-*.h5")):
        assert first.poll() is None
        time.sleep(0.01)
    second = begin(installation, small_reads, "out-2", VIRNUCPRO_WHEN_BUSY="refuse")
    _, refused = second.communicate()
    assert first.poll() is None, "the first run was over before the second began"
    _, errors = first.communicate()
    assert (first.returncode, second.returncode) == (0, 4), (errors, refused)
    line = refused.splitlines()[-1]
    assert line.startswith("error: ")
    assert re.search(rf"found it held by \w+( rank 0)? of drop small \(process {first.pid} on ", line)
    assert not (installation.folder / "out-2").exists()
    assert tables(installation.folder / "out-1") == tables(undisturbed.folder / "out")


def test_a_run_after_a_killed_one_does_only_what_is_missing_and_leaves_nothing_half_made(
    new_installation: Callable[[str], Any], small_reads: Path, undisturbed: Any
) -> None:
    installation = new_installation("killed")
    killed = begin(installation, small_reads, "out-1")
    while not list(installation.data_root.glob("small/*/dnabert_s/*/part-*.h5")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    generation = generation_of(installation)
    kept = {path: path.stat().st_ino for path in generation.glob("*/rank-*/part-*.h5")}
    expected = shards_of(undisturbed)
    assert 0 < len(kept) < sum(len(shard.parts) for shard in expected.values())
    half_made = generation / "dnabert_s" / "rank-03-of-04" / "part-00000.h5.partial-1-0a"
    half_made.parent.mkdir(exist_ok=True)
    half_made.write_bytes(b"half")

    after = begin(installation, small_reads, "out-2")
    _, errors = after.communicate()

    assert after.returncode == 0, errors
    assert {path: path.stat().st_ino for path in kept} == kept
    assert "unfinished item" in errors
    assert installation.leftovers() == []
    assert sum(shard.reused_parts for shard in shards_of(installation).values()) == len(kept)
    assert tables(installation.folder / "out-2") == tables(undisturbed.folder / "out")


def outcomes(runs: Sequence[subprocess.Popen[str]]) -> tuple[int, int]:
    """The places of the run that got the name and of the one that did not, whose line says so."""
    errors = [run.communicate()[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2], errors
    won, lost = (next(n for n, run in enumerate(runs) if run.returncode == code) for code in (0, 2))
    assert "waiting for " in errors[lost]
    assert errors[lost].splitlines()[-1].startswith("error: drop contigs: found another drop of this name")
    return won, lost


def test_two_samples_of_one_name_at_once_never_get_the_results_of_each_other(
    new_installation: Callable[[str], Any],
) -> None:
    installation = new_installation("same-name")
    runs = []
    for name in ("ours", "theirs"):
        reads = installation.folder / name / "contigs.fasta"
        reads.parent.mkdir()
        reads.write_text(f">{name}\n{'ATGGCTGCAGGTCTGAAAGTTCGTGAC' * 4}\n")
        runs.append(begin(installation, reads, f"out-{name}"))

    won, lost = outcomes(runs)

    names = ("ours", "theirs")
    lines = (installation.folder / f"out-{names[won]}" / "contig_calls.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [names[won]]
    assert not (installation.folder / f"out-{names[lost]}").exists()


def test_two_chunk_lengths_at_once_are_not_mixed(new_installation: Callable[[str], Any]) -> None:
    installation = new_installation("two-lengths")
    reads = installation.folder / "contigs.fasta"
    reads.write_text(f">one\n{'ATGGCTGCAGGTCTGAAAGTTCGTGAC' * 16}\n")
    lengths = ("300", "500")

    won, lost = outcomes([begin(installation, reads, n, "--chunk-length", n) for n in lengths])

    table = installation.folder / lengths[won] / "prediction_results_highestscore.csv"
    assert len(table.read_text().splitlines()) == 1 + {"300": 2, "500": 1}[lengths[won]]
    assert not (installation.folder / lengths[lost]).exists()
