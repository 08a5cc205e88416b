"""What a device process died of, where it wrote one part and computed the next."""

from collections import deque
from pathlib import Path

import pytest

from virnucpro_assets.errors import DeviceError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.messages import Finished, PartTask, SampleTask
from virnucpro_assets.inference.pool import DevicePool, Lease, PoolOptions
from virnucpro_assets.inference.rounds import Died
from virnucpro_assets.storage.parts import PartPlan
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.vocabulary import Precision

# The orders and replies of a device process, without a model: a part is written while the next is computed.
PROGRAM = """
import json, os, select, sys

culprit, when = int(sys.argv[1]), sys.argv[2]
orders = open(0, "rb", buffering=0)

def say(**reply):
    os.write(1, json.dumps(reply).encode() + b"\\n")

def written(number, part):
    if when == "writing" and part == culprit:
        os._exit(3)
    say(type="finished", number=number, seconds=0.0)

say(type="ready")
writing = None
while line := orders.readline():
    order = json.loads(line)
    number, part = order["number"], order["task"]["plan"]["number"]
    say(type="began", number=number)
    if when == "computing" and part == culprit:
        os._exit(3)
    if writing:
        written(*writing)
    writing = number, part
    if not select.select([orders], [], [], 0.3)[0]:
        written(*writing)
        writing = None
"""


def part_task(folder: Path, number: int) -> PartTask:
    choice = EncoderChoice(kind="esm2", folder=folder, digest="w", width=1, precision="float32")
    recipe = Recipe(
        encoder="esm2",
        index_digest="i",
        weights_digest="w",
        precision="float32",
        attention="dense-runs",
        token_budget=100,
        packs_per_part=1,
        ranks=1,
    )
    plan = PartPlan(rank=0, number=number, start=number, stop=number + 1)
    return PartTask(encoder=choice, index=folder, plan=plan, recipe=recipe, target=folder / str(number))


@pytest.mark.parametrize("when", ["computing", "writing"])
@pytest.mark.parametrize("culprit", [0, 1, 4])
def test_only_the_part_that_a_process_dies_of_is_blamed_also_while_it_is_written(
    tmp_path: Path, when: str, culprit: int
) -> None:
    program = tmp_path / "device.py"
    program.write_text(PROGRAM)
    options = PoolOptions(locks=tmp_path, max_restarts=9, program=(str(program), str(culprit), when))
    queue, died, finished, said = deque(part_task(tmp_path, n) for n in range(5)), [], [], []
    with DevicePool([Device("cpu", 0, 1)], options) as pool, pool.lease() as lease:
        for event in lease.run(queue):
            match event.task, event.outcome:
                case PartTask() as task, Died():
                    died.append(task.plan.number)
                case PartTask() as task, Finished():
                    finished.append(task.plan.number)
                case None, str() as message:
                    said.append(message)

    assert died == [culprit]
    assert sorted(finished) == [number for number in range(5) if number != culprit]
    assert all("; each of them is tried again alone" in message for message in said)
    if 0 < culprit < 4 or (culprit, when) == (0, "writing"):
        assert len(said) == 1


STARTED = """
import os, sys
with open(os.path.join(sys.argv[1], f"{sys.argv[sys.argv.index('--number') + 1]}.{os.getpid()}"), "w"):
    pass
"""


@pytest.mark.parametrize(
    ("flops", "culprit", "started"),
    [(1.0, 9, {"0"}), (150.0, 9, {"0", "1"}), (None, 9, {"0", "1", "2"}), (1.0, 1, {"0", "1", "2"})],
)
def test_as_many_processes_start_as_the_work_is_worth_and_all_after_a_death(
    tmp_path: Path, flops: float | None, culprit: int, started: set[str]
) -> None:
    program = tmp_path / "device.py"
    # The first two arguments are those of PROGRAM.
    program.write_text(STARTED.replace("sys.argv[1]", repr(str(tmp_path))) + PROGRAM)
    options = PoolOptions(
        locks=tmp_path, program=(str(program), str(culprit), "computing"), flops_of_a_process=100.0
    )
    devices = [Device("cpu", number, 1) for number in range(3)]
    queue, finished = deque(part_task(tmp_path, n) for n in range(6)), []
    with DevicePool(devices, options) as pool, pool.lease() as lease:
        for event in lease.run(queue, flops):
            if isinstance(event.task, PartTask) and isinstance(event.outcome, Finished):
                finished.append(event.task.plan.number)
    assert sorted(finished) == [number for number in range(6) if number != culprit]
    assert {path.name.partition(".")[0] for path in tmp_path.glob("[0-9].*")} == started


NO_MEMORY = """
import json, os, sys

os.write(1, b'{"type": "ready"}\\n')
number = json.loads(sys.stdin.readline())["number"]
os.write(1, json.dumps({"type": "began", "number": number}).encode() + b"\\n")
sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
"""


@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        (
            "float32",
            "The float32 reference of the precision checks does not fit this device: it needs a larger GPU, or a "
            "smaller ESM-2. Finished embeddings are kept.",
        ),
        ("float16", "Finished embeddings are kept: run it again."),
    ],
)
def test_a_sample_that_fails_twice_says_what_to_do(tmp_path: Path, precision: Precision, advice: str) -> None:
    program = tmp_path / "device.py"
    program.write_text(NO_MEMORY)
    sample = SampleTask(
        encoder=EncoderChoice(kind="esm2", folder=tmp_path, digest="w", width=1, precision=precision),
        index=tmp_path,
        index_digest="i",
        rows=[1, 2],
        token_budget=9,
        one_at_a_time=False,
        target=tmp_path / "sample.npy",
    )
    options, said = PoolOptions(locks=tmp_path, program=(str(program),)), list[str]()
    with DevicePool([Device("cpu", 0, 1)], options) as pool, pytest.raises(DeviceError) as error:
        Lease(pool, pool.devices).complete([sample], said.append)
    ended = (
        f"device process cpu:0: ended with exit code 1 at esm2 sample of 2 rows in {precision} "
        "(torch.OutOfMemoryError: CUDA out of memory.)"
    )
    assert said == [f"{ended}; tried again"]
    assert str(error.value) == f"cpu:0: esm2 sample of 2 rows in {precision} failed: {ended}. {advice}"
