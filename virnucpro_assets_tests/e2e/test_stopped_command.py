"""A command that is killed or interrupted in the middle, and the one after it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.defs.steps import PROCESS
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets_tests.conftest import as_a_script_in_the_background, with_default_signals

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

SMALL_PARTS = {"VIRNUCPRO_TOKEN_BUDGET": "1024", "VIRNUCPRO_PACKS_PER_PART": "1"}
ENCODERS = ("dnabert_s", "esm2")
INTERRUPTED = "error: interrupted; what is finished is kept, start again to go on"


def stop_in_the_middle(
    deployment, signal_number: int, *, in_foreground: bool
) -> tuple[subprocess.Popen, list[Path]]:
    """Start `materialize`, send the signal once a part is there; returns the process and the parts."""
    with (deployment.root / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("virnucpro")), "materialize", "stopped"],
            env=deployment.environment | SMALL_PARTS,
            cwd=deployment.root,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=with_default_signals if in_foreground else as_a_script_in_the_background,  # noqa: PLW1509
        )
    shards = deployment.root / "data" / "stopped"
    while not list(shards.glob("*/dnabert_s/*/part-*.h5")):
        assert process.poll() is None, (deployment.root / "stderr").read_text()
        time.sleep(0.02)
    process.send_signal(signal_number)
    process.wait(20)
    return process, sorted(path for kind in ENCODERS for path in shards.glob(f"*/{kind}/*/part-*.h5"))


def wait_for_children_of(pid: int) -> None:
    deadline = time.monotonic() + 10
    while subprocess.run(["pgrep", "-f", f"device_process.*--parent {pid}$"], capture_output=True).stdout:
        assert time.monotonic() < deadline, "a device process outlived the command"
        time.sleep(0.1)


def finish(deployment) -> tuple[dict[str, ShardManifest], list[dict]]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("virnucpro")), "materialize", "stopped"],
        env=deployment.environment | SMALL_PARTS,
        cwd=deployment.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (generation,) = (deployment.root / "data" / "stopped").glob("*/index")
    folder = generation.parent
    folders = [path.parent for kind in ENCODERS for path in folder.glob(f"{kind}/*/manifest.toml")]
    shards = {str(path.relative_to(folder)): read_shard(path, content=True) for path in folders}
    return shards, pq.read_table(folder / "calls" / "read_calls.parquet").to_pylist()


@pytest.fixture(scope="module")
def undisturbed(new_deployment: Callable) -> tuple[dict[str, ShardManifest], list[dict]]:
    deployment = new_deployment()
    deployment.deliver("stopped", reads=60)
    return finish(deployment)


@pytest.mark.parametrize(
    ("number", "in_foreground", "exit_code", "last_words"),
    [
        (signal.SIGKILL, True, -signal.SIGKILL, None),
        (signal.SIGHUP, True, -signal.SIGHUP, None),
        (signal.SIGINT, True, 130, INTERRUPTED),
        (signal.SIGTERM, False, 130, INTERRUPTED),
    ],
)
def test_the_next_command_goes_on_from_the_parts_that_a_stopped_one_left(
    deployment, undisturbed, *, number: int, in_foreground: bool, exit_code: int, last_words: str | None
) -> None:
    deployment.deliver("stopped", reads=60)
    process, parts = stop_in_the_middle(deployment, number, in_foreground=in_foreground)
    expected_shards, expected_calls = undisturbed
    assert process.returncode == exit_code
    if last_words:
        assert (deployment.root / "stderr").read_text().splitlines()[-1] == last_words
    assert 0 < len(parts) < sum(len(shard.parts) for shard in expected_shards.values())
    wait_for_children_of(process.pid)
    before = {path: path.stat().st_ino for path in parts}

    shards, calls = finish(deployment)

    assert {path: path.stat().st_ino for path in parts} == before
    assert sum(shard.reused_parts for shard in shards.values()) == len(parts)
    digests = {name: [part.file.sha256 for part in shard.parts] for name, shard in shards.items()}
    assert digests == {
        name: [part.file.sha256 for part in shard.parts] for name, shard in expected_shards.items()
    }
    assert calls == expected_calls
    with deployment.instance() as instance:
        of_the_stopped = [
            run for run in instance.get_runs() if run.tags[PROCESS].split()[2] == str(process.pid)
        ]
    assert [run.status for run in of_the_stopped] == [
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.SUCCESS,
    ]
