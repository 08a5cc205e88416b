"""A step of a run as a process of its own, so that it can be ended from outside: embeds a job, without Dagster.

    python -m virnucpro_assets_tests.faults.embed_program SPECIFICATION.json

Says on standard output, one JSON object a line, what it hears and in the end what it made. SIGTERM
and SIGINT interrupt it, which is what an orchestrator's step makes of them, also where a shell has
started the tests in the background, and so with SIGINT ignored.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from pydantic import BaseModel

from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.inference import process_handle
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.vocabulary import Precision, QuarantinePolicy, WhenBusy
from virnucpro_assets_tests.faults.faulty_device_process import move_clock, refuse_writes
from virnucpro_assets_tests.jobs import small_job


class Specification(BaseModel):
    """What to embed and how.

    `devices` are the numbers of CPU slots of one thread, `silence_seconds` how long a device process
    may give no sign of life. `write` and `clock_steps` are faults of the step itself, as in Faults.
    """

    index: Path
    out: Path
    model: Path
    locks: Path
    precision: Precision = "float32"
    budget: int = 256
    packs_per_part: int = 1
    quarantine: QuarantinePolicy = "fail"
    devices: list[int] = [0]
    program: tuple[str, ...] = process_handle.PROGRAM
    when_busy: WhenBusy = "wait"
    stall_seconds: float = 60.0
    silence_seconds: float = process_handle.SILENCE_SECONDS
    restarts: int = 3
    write: Path | None = None
    clock_steps: list[float] = []


def main() -> int:
    """Embed what the file named by the first argument says."""
    given = Specification.model_validate_json(Path(sys.argv[1]).read_bytes())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    process_handle.SILENCE_SECONDS = given.silence_seconds
    if given.write:
        refuse_writes(given.write)
    if given.clock_steps:
        move_clock(given.clock_steps)
    job = small_job(
        SequenceIndex.open(given.index),
        given.out,
        given.model,
        precision=given.precision,
        budget=given.budget,
        packs_per_part=given.packs_per_part,
        quarantine=given.quarantine,
    )
    options = PoolOptions(
        given.locks, given.when_busy, given.stall_seconds, given.restarts, program=given.program
    )
    started = time.monotonic()
    devices = [Device("cpu", number, 1) for number in given.devices]
    with DevicePool(devices, options) as pool, pool.lease() as lease:
        for shard in embed_shards([job], lease, lambda line: _say(heard=line)):
            _say(
                finished=shard.rank,
                seconds=shard.seconds,
                parts=len(shard.parts),
                reused=shard.reused_parts,
                after=time.monotonic() - started,
            )
    return 0


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VirnucproError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
