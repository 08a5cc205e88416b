"""Two runs of one drop at the same time, as on two machines that share a disk: each part is computed once."""

import re
import signal
from pathlib import Path

import pytest

from virnucpro_assets.errors import BusyError
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.faults.drops import DropPlace, assert_equal_numbers
from virnucpro_assets_tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LAST_WORDS = re.compile(r"(dnabert_s|esm2): (nothing to compute|[\d,]+ of [\d,]+ \(100%\) sequences)")
NOTHING = "nothing to compute"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> DropPlace:
    """The drop, done by one undisturbed run."""
    place = DropPlace(tmp_path_factory.mktemp("alone"))
    code, said = place.run()
    assert code == 0, said
    return place


def embedded(said: list[str]) -> dict[str, str]:
    """What a run says at the end of each encoder: how many sequences it computed, or that none was left."""
    return {match[1]: match[2] for match in map(LAST_WORDS.match, said) if match}


def waits_for_the_drop(said: list[str]) -> bool:
    return any(
        re.match(r"waiting for .*/reads\.lock, which registration of drop .* holds", line) for line in said
    )


def test_each_part_is_computed_by_one_of_two_runs(tmp_path: Path, alone: DropPlace) -> None:
    place = DropPlace(tmp_path)
    with (
        place.start(name="a", locks_folder=tmp_path / "locks-a") as a,
        place.start(name="b", locks_folder=tmp_path / "locks-b") as b,
    ):
        assert (a.wait(), b.wait()) == (0, 0), (a.said, b.said)
    assert waits_for_the_drop(a.said) or waits_for_the_drop(b.said)
    whole = embedded(alone.said())
    for kind in ENCODER_KINDS:
        assert sorted([embedded(a.said)[kind], embedded(b.said)[kind]]) == sorted([whole[kind], NOTHING])
    assert_equal_numbers(place.numbers(), alone.numbers())
    assert place.tables() == alone.tables()


def test_a_run_that_waits_for_a_killed_one_goes_on_from_its_parts(tmp_path: Path, alone: DropPlace) -> None:
    place = DropPlace(tmp_path)
    with place.start(name="a", locks_folder=tmp_path / "locks-a") as a:
        place.wait_for_parts(a, 1)
        with place.start(name="b", locks_folder=tmp_path / "locks-b") as b:
            # Stopped, it holds its locks while the other one starts up.
            a.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: waits_for_the_drop(b.said), 60, pause=0.05)
            a.process.send_signal(signal.SIGKILL)
            a.wait()
            left = {path: path.stat().st_ino for path in place.parts()}
            assert b.wait() == 0, b.said
    assert 0 < len(left) < len(alone.parts())
    assert {path: path.stat().st_ino for path in left} == left
    assert sum(shard.reused_parts for shard in place.shards().values()) == len(left)
    assert_equal_numbers(place.numbers(), alone.numbers())
    assert place.tables() == alone.tables()


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path: Path, alone: DropPlace) -> None:
    place = DropPlace(tmp_path)
    with place.start(name="a", locks_folder=tmp_path / "locks-a") as a:
        place.wait_for_parts(a, 1)
        a.process.send_signal(signal.SIGSTOP)
        code, said = place.run(locks_folder=tmp_path / "locks-b", when_busy="refuse")
        assert a.process.poll() is None
        assert 0 < len(place.parts()) < len(alone.parts())
        a.process.send_signal(signal.SIGCONT)
        assert a.wait() == 0, a.said
    assert code == BusyError.exit_code
    assert f"found it held by registration of drop reads (process {a.process.pid} on " in said[-1]
    assert said[-1].startswith("error: ")
    assert_equal_numbers(place.numbers(), alone.numbers())
    assert place.tables() == alone.tables()
