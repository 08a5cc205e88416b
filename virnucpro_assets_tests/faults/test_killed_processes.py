"""A killed step leaves nothing behind but whole parts, and the next one goes on from them."""

from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import (
    PartLog,
    Reference,
    assert_equal,
    assert_nothing_is_left,
    part_files,
)


def test_a_killed_step(bench: Bench, reference: Reference) -> None:
    log = PartLog(bench.folder / "log")
    program = Faults(log=log.path, pause=0.02).program
    step = bench.step(0, 1, program=program)
    step.wait_until(lambda: len(part_files(bench.job)) > 5)
    step.kill()
    assert_nothing_is_left(step)
    assert 0 < len(part_files(bench.job)) < reference.parts
    bench.run(0, program=program)
    assert_equal(bench.job, reference)
