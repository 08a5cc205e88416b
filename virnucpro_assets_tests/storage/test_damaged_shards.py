"""Damaged files of a shard: each is found and set aside, and no more is computed again than was lost."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.storage.parts import PackCounts, PartPlan, PartRecord, write_part
from virnucpro_assets.storage.shards import (
    ShardManifest,
    finish_shard,
    finished_shard,
    read_shard,
    set_aside_shard,
    valid_parts,
)
from virnucpro_assets_tests.recipes import some_recipe

RECIPE, OTHER_RECIPE = some_recipe(ranks=3), some_recipe(ranks=3, precision="float16")
PLANS = [PartPlan(1, number, 4 * number, 4 * number + 4) for number in range(5)]
FILES = ("part-00002.h5", "shard.h5", "manifest.toml")


def compute_part(folder: Path, plan: PartPlan) -> PartRecord:
    """Stands for the encoder: every row has values of its own."""
    values = np.random.default_rng(plan.number).normal(size=(plan.stop - plan.start, 6)).astype(np.float32)
    return write_part(folder / plan.file_name, plan, RECIPE, values, PackCounts(packs=2, tokens=150))


@dataclass(frozen=True)
class Resumed:
    """What a resume came to: the finished shard, the parts it computed, and the files it set aside."""

    manifest: ShardManifest
    computed: list[str]
    set_aside: list[Path]


def resume(folder: Path) -> Resumed:
    """Finish the shard in `folder` as a run does: keep what is whole, compute the rest."""
    folder.mkdir(exist_ok=True)
    records, set_aside = valid_parts(folder, PLANS, RECIPE, keep_quarantined=True)
    computed = [plan for plan in PLANS if plan.number not in records]
    records |= {plan.number: compute_part(folder, plan) for plan in computed}
    manifest = ShardManifest(
        rank=1, rows=20, width=6, recipe=RECIPE, parts=[records[plan.number] for plan in PLANS]
    )
    return Resumed(finish_shard(folder, manifest), [plan.file_name for plan in computed], set_aside)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A finished shard of five parts."""
    assert len(resume(tmp_path / "shard").computed) == 5
    assert sorted(contents(tmp_path / "shard")) == [
        "manifest.toml",
        *(plan.file_name for plan in PLANS),
        "shard.h5",
    ]
    return tmp_path / "shard"


def truncations(content: bytes, count: int) -> list[bytes]:
    """The content cut at its start, before its last byte, and at seeded random places."""
    places = np.random.default_rng(7).integers(1, len(content) - 1, count - 2).tolist()
    return [content[:place] for place in (0, len(content) - 1, *places)]


def flips(content: bytes, count: int) -> list[bytes]:
    """The content with one bit flipped: of its first byte, its last, and at seeded random places."""
    random = np.random.default_rng(8)
    damaged = []
    for place in (0, len(content) - 1, *random.integers(1, len(content) - 1, count - 2).tolist()):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        damaged.append(bytes(flipped))
    return damaged


@pytest.mark.parametrize("damage", [truncations, flips])
@pytest.mark.parametrize("name", FILES)
def test_each_damage_is_found_and_set_aside_and_only_a_lost_part_is_computed_again(
    shard: Path, name: str, damage
) -> None:
    whole, inodes = contents(shard), {path.name: path.stat().st_ino for path in shard.glob("part-*.h5")}
    expected = read_shard(shard, content=True)
    for number, damaged in enumerate(damage(whole[name], 16), 1):
        assert damaged != whole[name]
        (shard / name).write_bytes(damaged)
        with pytest.raises(IntegrityError, match=name):
            read_shard(shard, content=True)

        found = resume(shard)

        assert [path.name for path in found.set_aside] == [f"{name}.quarantine-{number}"]
        assert found.set_aside[0].read_bytes() == damaged
        assert found.computed == ([name] if name.startswith("part") else [])
        assert found.manifest == expected == read_shard(shard, content=True)
        assert {file: content for file, content in contents(shard).items() if file in whole} == whole
        for part in set(inodes) - {name}:
            assert (shard / part).stat().st_ino == inodes[part]
    assert len(contents(shard)) == len(whole) + 16
    assert [path.name for path in resume(shard).set_aside] == []


def test_everything_that_is_damaged_at_once_is_set_aside_at_once(shard: Path) -> None:
    expected = read_shard(shard)
    for name in ("manifest.toml", "part-00000.h5", "part-00004.h5"):
        (shard / name).write_bytes(b"")
    found = resume(shard)
    assert [path.name for path in found.set_aside] == [
        "manifest.toml.quarantine-1",
        "part-00000.h5.quarantine-1",
        "part-00004.h5.quarantine-1",
    ]
    assert found.computed == ["part-00000.h5", "part-00004.h5"]
    assert read_shard(shard, content=True) == expected


def test_a_view_has_the_same_bytes_whenever_it_is_written(shard: Path) -> None:
    before = contents(shard)
    # HDF5 counts time in seconds.
    time.sleep(1.1)
    resume(shard)
    assert contents(shard) == before


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_is_made_anew(shard: Path, name: str) -> None:
    expected = read_shard(shard)
    (shard / name).unlink()
    found = resume(shard)
    assert found.set_aside == []
    assert found.computed == ([name] if name.startswith("part") else [])
    assert read_shard(shard, content=True) == expected


def test_a_name_that_is_taken_is_never_written_over(shard: Path) -> None:
    (shard / "part-00002.h5.quarantine-1").write_bytes(b"former")
    (shard / "part-00002.h5.quarantine-2").symlink_to(shard / "nowhere")
    (shard / "part-00002.h5.quarantine-3").mkdir()
    (shard / "part-00002.h5").write_bytes(b"damaged")
    found = resume(shard)
    assert [path.name for path in found.set_aside] == ["part-00002.h5.quarantine-4"]
    assert (shard / "part-00002.h5.quarantine-1").read_bytes() == b"former"
    assert (shard / "part-00002.h5.quarantine-4").read_bytes() == b"damaged"
    assert not (shard / "nowhere").exists()


def test_what_was_set_aside_counts_for_nothing(shard: Path) -> None:
    (shard / "part-00001.h5").rename(shard / "part-00001.h5.quarantine-1")
    write_part(shard / "part-00003.h5.quarantine-1", PLANS[3], OTHER_RECIPE, np.ones((4, 6)), PackCounts())
    assert set_aside_shard(shard, RECIPE) is None
    found = resume(shard)
    assert found.computed == ["part-00001.h5"]
    assert found.set_aside == []


def test_a_shard_of_another_recipe_is_set_aside_also_where_its_manifest_is_damaged(shard: Path) -> None:
    (shard / "manifest.toml").write_bytes(b"")
    assert set_aside_shard(shard, RECIPE) is None
    shard.with_name("shard.superseded-1").mkdir()
    assert set_aside_shard(shard, OTHER_RECIPE) == shard.with_name("shard.superseded-2")
    assert finished_shard(shard) is None
