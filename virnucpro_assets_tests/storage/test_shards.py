import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from virnucpro_assets.errors import DamagedFileError, IntegrityError
from virnucpro_assets.files.digests import VerifiedFiles
from virnucpro_assets.storage.hdf5 import SEAL_SIZE, write_sealed
from virnucpro_assets.storage.merged import merged_rows, read_merged, write_merged
from virnucpro_assets.storage.merged_reader import MergedReader, merged_blocks, read_merged_at
from virnucpro_assets.storage.parts import PackCounts, PartPlan, rows_of, verify_part, write_part
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow, Recipe, finite_rows
from virnucpro_assets.storage.shards import (
    ShardManifest,
    finish_shard,
    rank_name,
    read_shard,
    set_aside_shard,
    valid_parts,
)
from virnucpro_assets_tests.damage import flip_byte
from virnucpro_assets_tests.recipes import some_recipe

RANKS = 3
WIDTHS = {"dnabert_s": 4, "esm2": 6}


def recipe_of(kind: str = "esm2", **changes) -> Recipe:
    return some_recipe(encoder=kind, ranks=RANKS, **changes)


def embedding(kind: str, row: int) -> np.ndarray:
    return np.arange(WIDTHS[kind], dtype=np.float32) + np.float32(100 * row + (0 if kind == "esm2" else 0.5))


def write_shard(folder: Path, kind: str, rank: int, rows: int, rows_a_part: int = 2) -> ShardManifest:
    folder.mkdir(parents=True)
    owned = len(range(rank, rows, RANKS))
    records = []
    for number, start in enumerate(range(0, owned, rows_a_part)):
        plan = PartPlan(rank, number, start, min(start + rows_a_part, owned))
        values = np.array([embedding(kind, row) for row in rows_of(plan, RANKS)])
        counts = PackCounts(packs=1, tokens=9)
        records.append(write_part(folder / plan.file_name, plan, recipe_of(kind), values, counts))
    manifest = ShardManifest(rank=rank, rows=owned, width=WIDTHS[kind], recipe=recipe_of(kind), parts=records)
    finish_shard(folder, manifest)
    return manifest


RECIPES = {kind: recipe_of(kind) for kind in WIDTHS}


def write_drop(folder: Path, rows: int) -> dict[str, list[Path]]:
    folders = {kind: [folder / kind / rank_name(rank, RANKS) for rank in range(RANKS)] for kind in WIDTHS}
    for kind, of_ranks in folders.items():
        for rank, path in enumerate(of_ranks):
            write_shard(path, kind, rank, rows)
    return folders


def merged_drop(folder: Path, rows: int = 20) -> dict[str, list[Path]]:
    """The folders of the shards of a drop with a merged view of them."""
    folders = write_drop(folder, rows)
    write_merged(folder, folders, RECIPES, rows)
    return folders


def merged_row(row: int) -> np.ndarray:
    return np.r_[embedding("dnabert_s", row), embedding("esm2", row)]


def test_a_part_has_the_same_bytes_whenever_and_wherever_it_is_written(tmp_path: Path) -> None:
    plan = PartPlan(1, 0, 0, 2)
    values = np.ones((2, 6), np.float32)
    first = write_part(tmp_path / "a.h5", plan, recipe_of(), values, PackCounts())
    second = write_part(tmp_path / "b" / "b.h5", plan, recipe_of(), values, PackCounts())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b" / "b.h5").read_bytes()
    assert first == second


def test_a_part_opens_in_plain_h5py_and_names_its_rows(tmp_path: Path) -> None:
    plan = PartPlan(1, 4, 3, 5)
    values = np.array([embedding("esm2", 10), embedding("esm2", 13)])
    record = write_part(tmp_path / "part.h5", plan, recipe_of(), values, PackCounts(packs=2, tokens=77))
    with h5py.File(tmp_path / "part.h5") as file:
        assert file["rows"][:].tolist() == [10, 13]
        np.testing.assert_array_equal(file["embeddings"][:], values)
        assert Recipe.model_validate_json(file.attrs["recipe"]) == recipe_of()
    assert verify_part(tmp_path / "part.h5", plan, recipe_of()) == record
    assert record.counts.efficiency(100) == 77 / 200


INCIDENTS = Incidents(
    recomputed=[4],
    quarantined=[QuarantinedRow(row=1, reason="kills_process"), QuarantinedRow(row=10, reason="not_finite")],
    split_packs=2,
    token_limit=50,
)


def part_values(*quarantined: int) -> np.ndarray:
    """Embeddings of rows 1, 4, 7, 10: NaN in the rows `quarantined`."""
    values = np.array([embedding("esm2", row) for row in (1, 4, 7, 10)])
    values[np.isin([1, 4, 7, 10], quarantined)] = np.nan
    return values


def test_a_part_keeps_its_incidents_and_nan_in_the_quarantined_rows_alone(tmp_path: Path) -> None:
    plan, path = PartPlan(1, 0, 0, 4), tmp_path / "part.h5"
    record = write_part(path, plan, recipe_of(), part_values(1, 10), PackCounts(), incidents=INCIDENTS)
    assert record.incidents == INCIDENTS
    assert verify_part(path, plan, recipe_of()) == record
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"][:], part_values(1, 10))


@pytest.mark.parametrize(
    ("nan_rows", "incidents", "found"),
    [
        ((1,), INCIDENTS, "numbers in row 10, which is recorded as quarantined"),
        ((1, 7, 10), INCIDENTS, "NaN or Inf in row 7, which is not recorded as quarantined"),
        ((4,), Incidents(), "NaN or Inf in row 4, which is not recorded as quarantined"),
        ((), Incidents(recomputed=[5]), "an incident of row 5, which is not one of its rows"),
        ((4,), INCIDENTS + INCIDENTS, "two incidents of one row"),
    ],
)
def test_a_part_that_contradicts_its_incidents_is_neither_written_nor_accepted(
    tmp_path: Path, nan_rows: tuple[int, ...], incidents: Incidents, found: str
) -> None:
    plan, path = PartPlan(1, 0, 0, 4), tmp_path / "part.h5"
    with pytest.raises(ValueError, match=found):
        write_part(path, plan, recipe_of(), part_values(*nan_rows), PackCounts(), incidents=incidents)
    assert list(tmp_path.iterdir()) == []

    def fill(file: h5py.File) -> None:
        with h5py.File(tmp_path / "good.h5") as good:
            file["rows"], file["embeddings"] = good["rows"][:], part_values(*nan_rows)
            file.attrs.update(good.attrs)
        content = hashlib.sha256(file["rows"][:].tobytes() + file["embeddings"][:].tobytes()).hexdigest()
        file.attrs.update({"incidents": incidents.model_dump_json(), "content_sha256": content})

    write_part(tmp_path / "good.h5", plan, recipe_of(), part_values(), PackCounts())
    write_sealed(path, fill)
    with pytest.raises(DamagedFileError, match=found):
        verify_part(path, plan, recipe_of())


def test_incidents_of_parts_are_joined_with_the_lowest_token_limit() -> None:
    other = Incidents(recomputed=[7], split_packs=1, token_limit=40)
    assert INCIDENTS + other == Incidents(
        recomputed=[4, 7], quarantined=INCIDENTS.quarantined, split_packs=3, token_limit=40
    )
    assert (Incidents() + INCIDENTS).token_limit == 50


@pytest.mark.parametrize("keep", [True, False])
def test_a_part_with_quarantined_rows_counts_only_where_they_may_stay(tmp_path: Path, keep: bool) -> None:
    plans = [PartPlan(1, 0, 0, 4), PartPlan(1, 1, 4, 6)]
    paths = [tmp_path / plan.file_name for plan in plans]
    first = write_part(paths[0], plans[0], recipe_of(), part_values(1, 10), PackCounts(), incidents=INCIDENTS)
    second = write_part(paths[1], plans[1], recipe_of(), np.ones((2, 6), np.float32), PackCounts())
    records, quarantined = valid_parts(tmp_path, plans, recipe_of(), keep_quarantined=keep)
    assert records == ({0: first, 1: second} if keep else {1: second})
    assert quarantined == []
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("place", [3, SEAL_SIZE - 1, SEAL_SIZE, SEAL_SIZE + 40, -1])
def test_a_flipped_bit_anywhere_in_a_part_is_found(tmp_path: Path, place: int) -> None:
    plan, path = PartPlan(0, 0, 0, 2), tmp_path / "part.h5"
    write_part(path, plan, recipe_of(), np.ones((2, 6), np.float32), PackCounts())
    flip_byte(path, place)
    with pytest.raises(DamagedFileError, match=str(path)):
        verify_part(path, plan, recipe_of())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_part_is_set_aside_and_the_whole_ones_are_kept(tmp_path: Path, share: float) -> None:
    folder = tmp_path / "shard"
    manifest = write_shard(folder, "esm2", 0, rows=12)
    plans = [PartPlan(0, number, part.start, part.stop) for number, part in enumerate(manifest.parts)]
    damaged = folder / "part-00001.h5"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: int(share * len(content))])
    records, quarantined = valid_parts(folder, plans, recipe_of(), keep_quarantined=True)
    assert records == {0: manifest.parts[0]}
    assert [path.name for path in quarantined] == ["part-00001.h5.quarantine-1"]
    assert not damaged.exists()


def test_a_part_of_another_recipe_is_refused_with_both_digests(tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    write_shard(folder, "esm2", 0, rows=4)
    other = recipe_of(weights_digest="x" * 64)
    (folder / "manifest.toml").unlink()
    with pytest.raises(IntegrityError, match=f"{recipe_of().digest}.*{other.digest}.*weights_digest"):
        valid_parts(folder, [PartPlan(0, 0, 0, 2)], other, keep_quarantined=True)


def test_a_shard_of_another_recipe_is_set_aside_only_when_it_differs(tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    write_shard(folder, "esm2", 0, rows=4)
    assert set_aside_shard(folder, recipe_of()) is None
    assert set_aside_shard(folder, recipe_of(precision="float16")) == tmp_path / "shard.superseded-1"
    assert not folder.exists()


def test_a_shard_with_a_missing_part_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    write_shard(folder, "esm2", 0, rows=12)
    read_shard(folder, content=True)
    (folder / "part-00001.h5").unlink()
    with pytest.raises(IntegrityError, match=r"part-00001.h5: found no file"):
        read_shard(folder)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 20])
def test_the_merged_view_holds_dna_then_protein_shard_after_shard(tmp_path: Path, rows: int) -> None:
    merged_drop(tmp_path, rows)
    blocks = list(merged_blocks(tmp_path, size=3))
    places = [row for found, _ in blocks for row in found.tolist()]
    assert places == [row for rank in range(RANKS) for row in range(rank, rows, RANKS)]
    for found, values in blocks:
        for row, value in zip(found.tolist(), values, strict=True):
            np.testing.assert_array_equal(value, merged_row(row))


def test_merged_rows_are_found_by_their_place_in_the_index(tmp_path: Path) -> None:
    merged_drop(tmp_path)
    found = read_merged_at(tmp_path, np.array([19, 0, 7]))
    np.testing.assert_array_equal(found, [merged_row(row) for row in (19, 0, 7)])
    assert merged_rows([2, 2, 1]).tolist() == [0, 3, 1, 4, 2]


@pytest.mark.parametrize("rows_a_part", [{"dnabert_s": 2, "esm2": 2}, {"dnabert_s": 3, "esm2": 5}])
def test_threads_read_the_rows_of_the_view_whatever_their_order(
    tmp_path: Path, rows_a_part: dict[str, int]
) -> None:
    rows, folders = (
        40,
        {kind: [tmp_path / kind / rank_name(rank, RANKS) for rank in range(RANKS)] for kind in WIDTHS},
    )
    for kind, of_ranks in folders.items():
        for rank, folder in enumerate(of_ranks):
            write_shard(folder, kind, rank, rows, rows_a_part[kind])
    write_merged(tmp_path, folders, RECIPES, rows)
    with h5py.File(tmp_path / "merged.h5") as view:
        places, values = view["rows"][:], view["embeddings"][:]
    starts = np.random.default_rng(1).permutation(rows).tolist()
    with MergedReader(tmp_path) as reader, ThreadPoolExecutor(8) as threads:
        for start, (found, embeddings) in zip(
            starts, threads.map(lambda first: reader.read(first, first + 4), starts), strict=True
        ):
            assert found.tolist() == places[start : start + 4].tolist()
            assert embeddings.tobytes() == values[start : start + 4].tobytes()


def test_a_merged_view_survives_moving_the_folder_and_misses_no_lost_part(tmp_path: Path) -> None:
    merged_drop(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    values = np.concatenate([block for _, block in merged_blocks(tmp_path / "b")])
    assert values.shape == (20, 10)
    assert np.isfinite(values).all()
    lost = tmp_path / "b" / "esm2" / rank_name(1, RANKS) / "part-00002.h5"
    lost.unlink()
    with pytest.raises(IntegrityError, match=r"part-00002\.h5: found no file"):
        next(merged_blocks(tmp_path / "b"))


def test_a_merged_view_over_a_shard_that_was_made_again_is_refused(tmp_path: Path) -> None:
    folders = merged_drop(tmp_path)
    shard = read_shard(folders["esm2"][1])
    path, plan = folders["esm2"][1] / "part-00000.h5", PartPlan(1, 0, 0, 2)
    size = path.stat().st_size
    again = write_part(path, plan, recipe_of(), np.zeros((2, 6), np.float32), PackCounts(packs=1, tokens=9))
    assert path.stat().st_size == size
    finish_shard(path.parent, shard.model_copy(update={"parts": [again, *shard.parts[1:]]}))
    with pytest.raises(
        IntegrityError, match=r"part-00000\.h5: found a part that was made after the merged view"
    ):
        next(merged_blocks(tmp_path))


@pytest.mark.parametrize("kind", ["dnabert_s", "esm2"])
def test_a_flipped_bit_in_a_source_is_found_before_a_row_of_it_is_given(tmp_path: Path, kind: str) -> None:
    folders = merged_drop(tmp_path)
    path = folders[kind][2] / "part-00000.h5"
    flip_byte(path, -1, 4)
    read_merged(tmp_path)
    error = rf"{kind}/{rank_name(2, RANKS)}/part-00000\.h5: found SHA-256"
    with pytest.raises(IntegrityError, match=error):
        read_merged(tmp_path, verified=VerifiedFiles())
    blocks, given = merged_blocks(tmp_path, 1), list[int]()
    with pytest.raises(IntegrityError, match=error):
        given += (int(rows[0]) for rows, _ in blocks)
    assert given == merged_rows([7, 7, 6])[:14].tolist()
    with pytest.raises(IntegrityError, match=error):
        read_merged_at(tmp_path, np.array([0, 2]))
    # Row 3 is of rank 0, whose parts are whole.
    assert np.isfinite(read_merged_at(tmp_path, np.array([3]))).all()


@pytest.mark.parametrize("place", [0, 700, -1])
def test_a_flipped_bit_in_the_merged_view_is_found_before_it_is_read(tmp_path: Path, place: int) -> None:
    folders = write_drop(tmp_path, 20)
    manifest = write_merged(tmp_path, folders, RECIPES, 20)
    assert read_merged(tmp_path) == manifest
    flip_byte(tmp_path / "merged.h5", place, 2)
    for read in (lambda: next(merged_blocks(tmp_path)), lambda: read_merged_at(tmp_path, np.array([3]))):
        with pytest.raises(IntegrityError, match=r"merged\.h5: found SHA-256"):
            read()


def test_shards_of_another_recipe_or_number_of_rows_are_not_merged(tmp_path: Path) -> None:
    folders = write_drop(tmp_path, 20)
    with pytest.raises(IntegrityError, match="found 20 rows of dnabert_s; expected 21"):
        write_merged(tmp_path, folders, RECIPES, 21)
    other = {**RECIPES, "esm2": recipe_of("esm2", precision="float16")}
    with pytest.raises(IntegrityError, match=f"{RECIPES['esm2'].digest}.*{other['esm2'].digest}"):
        write_merged(tmp_path, folders, other, 20)
    assert not (tmp_path / "merged.toml").exists()


def test_rows_are_finite_if_each_of_their_numbers_is_also_where_the_sum_is_not() -> None:
    values = np.ones((6, 4), np.float32)
    values[1, 2], values[2, 0], values[3, :2] = np.nan, -np.inf, (np.inf, -np.inf)
    values[4] = 3e38
    assert finite_rows(values).tolist() == [True, False, False, False, True, True]
