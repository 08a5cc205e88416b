"""Truncated and flipped files of a finished job: each is found and set aside, and only what it held is made anew."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.storage.shards import SHARD_MANIFEST, SHARD_VIEW
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.harness import Reference, assert_equal, part_files

DAMAGES = 16
Damage = Callable[[bytes, int, random.Random], bytes]


def truncated(content: bytes, number: int, draw: random.Random) -> bytes:
    """`content` cut off: to nothing, before its last byte, or anywhere."""
    return content[: {0: 0, 1: len(content) - 1}.get(number, draw.randrange(len(content)))]


def flipped(content: bytes, number: int, draw: random.Random) -> bytes:
    """`content` with one bit turned, spread over its length."""
    changed = bytearray(content)
    place = (len(content) * number // DAMAGES + draw.randrange(len(content) // DAMAGES)) % len(content)
    changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


both_damages = pytest.mark.parametrize("damage", [truncated, flipped])


@pytest.fixture
def finished(bench: Bench, undisturbed: Bench) -> Bench:
    """A bench whose job is finished."""
    shutil.copytree(undisturbed.job_folder, bench.job_folder)
    return bench


def states(files: list[Path]) -> dict[Path, tuple[int, int]]:
    """What changes when a file is replaced or written to."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def spoil(paths: list[Path], damage: Damage, first: int, draw: random.Random) -> dict[Path, bytes]:
    """Damage files; what each of them then holds."""
    for number, path in enumerate(paths, start=first):
        path.write_bytes(damage(path.read_bytes(), number, draw))
    return {path: path.read_bytes() for path in paths}


def assert_set_aside(spoilt: dict[Path, bytes], heard: list[str]) -> None:
    """Each damaged file was reported and is kept as it was found; nothing else was set aside."""
    said = [line.partition(" was set aside as ")[2] for line in heard if " was set aside as " in line]
    assert len(said) == len(spoilt)
    for path, content in spoilt.items():
        (line,) = [line for line in said if line.startswith(f"{path}.quarantine-")]
        assert Path(line.split()[0]).read_bytes() == content


@both_damages
def test_damaged_parts_are_set_aside_and_only_they_are_computed_again(
    finished: Bench, reference: Reference, damage: Damage
) -> None:
    draw, heard = random.Random(17), list[str]()
    parts = part_files(finished.job)
    chosen = draw.sample(parts, DAMAGES)
    spoilt = spoil(chosen, damage, 0, draw)
    assert len(spoilt) == DAMAGES < reference.parts
    before = states([path for path in parts if path not in spoilt])

    shards = finished.finish(heard=heard)

    assert_set_aside(spoilt, heard)
    again = {
        rank: sum(path.parent == folder for path in spoilt) for rank, folder in finished.job.folders.items()
    }
    assert {shard.rank: len(shard.parts) - shard.reused_parts for shard in shards} == again
    assert states(list(before)) == before
    assert_equal(finished.job, reference)


@both_damages
@pytest.mark.parametrize("name", [SHARD_VIEW, SHARD_MANIFEST])
def test_a_damaged_view_or_manifest_is_set_aside_and_made_anew_from_the_parts(
    finished: Bench, reference: Reference, name: str, damage: Damage
) -> None:
    draw = random.Random(23)
    before = states(part_files(finished.job))
    whole = {folder: (folder / name).read_bytes() for folder in finished.job.folders.values()}
    ranks = len(whole)
    for first in range(0, DAMAGES, ranks):
        heard = list[str]()
        spoilt = spoil([folder / name for folder in whole], damage, first, draw)
        assert all(content != whole[path.parent] for path, content in spoilt.items())

        shards = finished.finish(heard=heard)

        assert_set_aside(spoilt, heard)
        assert all(shard.reused_parts == len(shard.parts) for shard in shards)
        assert_equal(finished.job, reference)
    assert states(part_files(finished.job)) == before
    assert len(list(finished.job_folder.rglob(f"{name}.quarantine-*"))) == DAMAGES
