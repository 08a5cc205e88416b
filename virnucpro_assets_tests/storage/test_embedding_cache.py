"""The cache of embeddings as files: what is given back, what is damage, what is removed first."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.files.locks import FileLock
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.cached_rows import CachedRows
from virnucpro_assets.storage.embedding_cache import (
    EmbeddingCache,
    cache_namespace,
    cache_size,
    keep_rows,
    keys_of,
)
from virnucpro_assets.storage.parts import PackCounts, PartPlan, part_recipe, verify_part, write_part
from virnucpro_assets_tests.damage import flip_byte
from virnucpro_assets_tests.recipes import some_recipe

RECIPE = some_recipe()
MAKER = cache_namespace(RECIPE)
WIDTH = 5

WRITER = """
import sys
from pathlib import Path
import numpy as np
from virnucpro_assets.storage.embedding_cache import EmbeddingCache, keep_rows
cache = EmbeddingCache(Path(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
for number in range(int(sys.argv[3]), int(sys.argv[3]) + 40):
    keys = np.array([[number * 100 + row, 0] for row in range(50)], np.uint64)
    keep_rows(cache, sys.argv[4], keys, np.full((50, 5), number, np.float32))
    print(number, flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "_cache", 1 << 20)


def some_keys(*names: str) -> np.ndarray:
    return keys_of(Ragged.from_strings([name.encode() for name in names]))


def some_rows(first: int, count: int) -> np.ndarray:
    return (np.arange(count * WIDTH, dtype=np.float32) + first * 1000).reshape(count, WIDTH)


def keep(cache: EmbeddingCache, *names: str, first: int = 0, maker: str = MAKER) -> Path:
    path = keep_rows(cache, maker, some_keys(*names), some_rows(first, len(names)))
    assert path is not None
    return path


def reader(cache: EmbeddingCache, maker: str = MAKER) -> CachedRows:
    return CachedRows(cache, maker, WIDTH)


def test_a_row_comes_back_by_its_sequence_from_any_segment(cache: EmbeddingCache) -> None:
    keep(cache, "MAD", "MK", "MLLV", first=1)
    cached = reader(cache)
    assert cached.find(some_keys("MQ")).positions.tolist() == []
    keep(cache, "MQ", "MRR", first=2)
    found = cached.find(some_keys("MRR", "unknown", "MK", "MQ", "MK"))
    assert found.positions.tolist() == [0, 2, 3, 4]
    one, two = some_rows(1, 3), some_rows(2, 2)
    np.testing.assert_array_equal(found.embeddings, [two[1], one[1], two[0], one[1]])
    assert found.warnings == []


def test_a_key_is_the_blake2b_of_its_sequence() -> None:
    expected = b"".join(hashlib.blake2b(text, digest_size=16).digest() for text in (b"MAD", b"MK"))
    assert some_keys("MAD", "MK").tobytes() == expected


def test_a_segment_is_two_arrays_that_numpy_reads(cache: EmbeddingCache) -> None:
    path = keep(cache, "MAD", "MK")
    with path.open("rb") as stream:
        keys, stored = np.load(stream), np.load(stream)
        assert stream.read() == b""
    order = np.lexsort(some_keys("MAD", "MK").T[::-1])
    np.testing.assert_array_equal(keys, some_keys("MAD", "MK")[order])
    np.testing.assert_array_equal(stored["row"], some_rows(0, 2)[order])


def test_a_row_of_other_weights_is_never_met(cache: EmbeddingCache) -> None:
    keep(cache, "MAD")
    other = cache_namespace(some_recipe(weights_digest="3" * 64))
    assert len(reader(cache, other).find(some_keys("MAD")).positions) == 0
    # Nor does it where somebody moved the files.
    shutil.copytree(cache.folder / MAKER, cache.folder / other)
    found = reader(cache, other).find(some_keys("MAD"))
    assert len(found.positions) == 0
    assert "set aside" in found.warnings[0]


def test_every_flipped_byte_is_found_or_harmless(cache: EmbeddingCache) -> None:
    path = keep(cache, "MAD", "MK", "MLLV")
    whole, expected = path.read_bytes(), some_rows(0, 3)
    for place in range(0, len(whole), 3):
        path.write_bytes(whole)
        flip_byte(path, place, 4)
        found = reader(cache).find(some_keys("MAD", "MK", "MLLV"))
        assert found.positions.tolist() == []
        assert "quarantine-" in found.warnings[0]
        assert not path.exists()
    path.write_bytes(whole)
    np.testing.assert_array_equal(reader(cache).find(some_keys("MAD", "MK", "MLLV")).embeddings, expected)


@pytest.mark.parametrize("size", [0, 1, 127, 200, -1, -21])
def test_a_truncated_segment_is_set_aside(cache: EmbeddingCache, size: int) -> None:
    path = keep(cache, "MAD", "MK")
    content = path.read_bytes()
    path.write_bytes(content[:size])
    cached = reader(cache)
    assert "set aside as" in cached.find(some_keys("MAD")).warnings[0]
    assert [file.name for file in path.parent.iterdir()] == [f"{path.name}.quarantine-1"]
    assert cached.find(some_keys("MAD")).warnings == []
    keep(cache, "MAD", "MK", first=7)
    np.testing.assert_array_equal(cached.find(some_keys("MK")).embeddings, some_rows(7, 2)[1:])


def test_a_segment_that_breaks_after_its_keys_were_read_gives_nothing(cache: EmbeddingCache) -> None:
    path, cached = keep(cache, "MAD", "MK"), reader(cache)
    keep(cache, "MQ", first=3)
    assert len(cached.find(some_keys("MAD", "MQ")).positions) == 2
    os.truncate(path, path.stat().st_size - 1)
    found = cached.find(some_keys("MAD", "MK", "MQ"))
    assert found.positions.tolist() == [2]
    assert "set aside as" in found.warnings[0]
    np.testing.assert_array_equal(found.embeddings, some_rows(3, 1))


def test_what_was_used_longest_ago_goes_first_and_the_limit_is_kept(tmp_path: Path) -> None:
    roomy = EmbeddingCache(tmp_path / "_cache", 1 << 20)
    paths = [keep(roomy, f"M{number}", first=number) for number in range(4)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    size = paths[0].stat().st_size
    reader(roomy).find(some_keys("M0"))
    tight = EmbeddingCache(roomy.folder, 4 * size)
    paths.append(keep(tight, "M4", first=4))
    assert [path.exists() for path in paths] == [True, False, True, True, True]
    assert cache_size(tight.folder) == 4 * size
    keep(EmbeddingCache(roomy.folder, 2 * size), "M5", first=5)
    assert cache_size(tight.folder) == 2 * size
    assert reader(tight).find(some_keys("M4", "M5")).positions.tolist() in ([1], [0, 1])


def test_the_limit_is_of_all_models_together(tmp_path: Path) -> None:
    roomy = EmbeddingCache(tmp_path / "_cache", 1 << 20)
    old = keep(roomy, "MAD", maker="a" * 64)
    os.utime(old, (1000, 1000))
    keep(EmbeddingCache(roomy.folder, old.stat().st_size), "MAD")
    assert not old.exists()


def test_what_is_larger_than_the_limit_is_not_kept_and_removes_nothing(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "_cache", 700)
    path = keep(cache, "MAD")
    assert keep_rows(cache, MAKER, some_keys(*"ABCDEFGHIJKLMNOPQ"), some_rows(0, 17)) is None
    assert path.exists()


def test_a_segment_that_was_removed_is_gone_on_without(cache: EmbeddingCache) -> None:
    cached, path = reader(cache), keep(cache, "MAD")
    keep(cache, "MK", first=1)
    assert len(cached.find(some_keys("MAD", "MK")).positions) == 2
    path.unlink()
    found = cached.find(some_keys("MAD", "MK"))
    assert (found.positions.tolist(), found.warnings) == ([1], [])
    np.testing.assert_array_equal(found.embeddings, some_rows(1, 1))


def test_a_cache_that_is_removed_while_it_is_written_keeps_its_lock(cache: EmbeddingCache) -> None:
    keep(cache, "a")
    holder = FileLock(cache.lock, "a writer")
    assert holder.try_acquire() is None
    shutil.rmtree(cache.folder)
    assert str(FileLock(cache.lock, "another").try_acquire()).startswith("a writer (process ")
    holder.release()
    assert keep(cache, "b").exists()
    assert [path.name for path in cache.folder.rglob("*.lock")] == []


def test_two_processes_write_at_once_and_the_limit_holds_all_the_while(tmp_path: Path) -> None:
    limit = 20_000
    cache = EmbeddingCache(tmp_path / "_cache", limit)
    command = [sys.executable, "-c", WRITER, str(cache.folder), str(limit)]
    writers = [
        subprocess.Popen([*command, str(first), MAKER], stdout=subprocess.DEVNULL) for first in (0, 1000)
    ]
    cached, right, largest = reader(cache), 0, 0
    keys = np.array([[number * 100 + 7, 0] for number in [*range(40), *range(1000, 1040)]], np.uint64)
    while any(writer.poll() is None for writer in writers):
        found = cached.find(keys)
        assert found.warnings == []
        np.testing.assert_array_equal(
            found.embeddings[:, 0], (keys[found.positions, 0] // 100).astype(np.float32)
        )
        right, largest = right + len(found.positions), max(largest, cache_size(cache.folder))
        time.sleep(0.01)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert right > 0
    assert 0 < largest <= limit


def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "_cache", 1 << 20)
    command = [sys.executable, "-c", WRITER, str(cache.folder), str(cache.limit), "0", MAKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert [writer.stdout.readline() for _ in range(4)]
        writer.kill()
    left = cache.folder / MAKER / f"{'f' * 64}.npy.partial-1-abcd"
    left.write_bytes(b"half")
    keys = np.array([[number * 100 + 7, 0] for number in range(40)], np.uint64)
    found = reader(cache).find(keys)
    assert found.warnings == []
    assert 3 <= len(found.positions) < 40
    np.testing.assert_array_equal(
        found.embeddings[:, 0], (keys[found.positions, 0] // 100).astype(np.float32)
    )
    keep(cache, "MAD")
    assert not left.exists()


def test_recipes_and_parts_without_a_cache_are_what_they_were(tmp_path: Path) -> None:
    assert RECIPE.digest == "43e6ed9d232c3719c9b648d22ef233f1e92c2977a87f278bdcffe3db6d559337"
    assert "cached" not in RECIPE.model_dump_json()
    cached = some_recipe(cached=True)
    assert cached.digest != RECIPE.digest
    assert RECIPE.differences(cached) == ["cached False is now True"]
    plan, rows = PartPlan(0, 0, 0, 2), some_rows(0, 2)
    plain = write_part(tmp_path / "plain.h5", plan, RECIPE, rows, PackCounts(packs=1, tokens=9))
    assert plain.file.sha256 == "96f2f2f855e1cbd09505dd74a86c1ee2ba97c35b148cd76f7db696dc18e9376b"
    assert "cached" not in plain.model_dump()
    told = write_part(tmp_path / "told.h5", plan, cached, rows, PackCounts(), cached=2)
    assert verify_part(tmp_path / "told.h5", plan, cached) == told
    assert (told.cached, part_recipe(tmp_path / "told.h5")) == (2, cached)
