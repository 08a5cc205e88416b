"""Embeddings of a drop under other settings than before: refused, or kept aside on demand."""

import os
import shutil
from pathlib import Path

import pytest

from virnucpro_assets.demo.paths import ESM2_FOLDER
from virnucpro_assets.drops.stage_records import read_stages
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets_tests.passed_checks import pass_checks_of_index


def test_replacing_keeps_the_former_shards_aside(tmp_path: Path) -> None:
    (tmp_path / "one.fa").write_text(">one\nATGGCTGCAGGTCTGAAAGTTCGTGAC\n")
    former = Settings(data_root=tmp_path / "data", ranks=3, devices="cpu:1")
    register_reads("d", [ReadFile(tmp_path / "one.fa")], former)
    list_drop("d", former)
    work = DropWork.on("d", former, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    now = DropWork.on("d", former.model_copy(update={"precision": "bfloat16"}), [].append)
    with open_pool(former) as pool, pool.lease() as lease:
        before = list(embed_drop(work, {"esm2": [0, 1, 2]}, lease))
        with pytest.raises(IntegrityError, match=r"precision float32 is now bfloat16"):
            list(embed_drop(now, {"esm2": [0, 1, 2]}, lease))
        after = list(embed_drop(now, {"esm2": [1]}, lease, replace=True))
    assert [(shard.rank, shard.recipe.precision) for shard in after] == [(1, "bfloat16")]
    folders = sorted(path.name for path in (work.folder.path / "esm2").iterdir() if path.is_dir())
    assert folders == ["rank-00-of-03", "rank-01-of-03", "rank-01-of-03.superseded-1", "rank-02-of-03"]
    aside = read_shard(work.folder.path / "esm2" / "rank-01-of-03.superseded-1", content=True)
    assert aside == {shard.rank: shard for shard in before}[1]
    assert read_stages(work.folder.stages)["esm2"].figures["ranks"] == "1"


def test_an_index_for_other_ranks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.fa").write_text(">one\nATGC\n")
    settings = Settings(data_root=tmp_path / "data", ranks=3, devices="cpu:1")
    register_reads("d", [ReadFile(tmp_path / "one.fa")], settings)
    list_drop("d", settings)
    index_drop(DropWork.on("d", settings, [].append))
    other = DropWork.on("d", settings.model_copy(update={"ranks": 2}), [].append)
    with (
        pytest.raises(IntegrityError, match="found 3 ranks; expected 2 as in the settings"),
        open_pool(settings) as pool,
        pool.lease() as lease,
    ):
        list(embed_drop(other, {"esm2": [0]}, lease))


@pytest.mark.slow
@pytest.mark.usefixtures("cold_devices")
def test_weights_that_changed_in_place_are_refused_with_both_digests(tmp_path: Path) -> None:
    (tmp_path / "one.fa").write_text(">one\nATGGCTGCAGGTCTGAAAGTTCGTGAC\n")
    model = shutil.copytree(ESM2_FOLDER, tmp_path / "model")
    settings = Settings(
        data_root=tmp_path / "data", esm2=model, classifiers=tmp_path / "none", ranks=2, devices="cpu:1"
    )
    register_reads("d", [ReadFile(tmp_path / "one.fa")], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    with open_pool(settings) as pool, pool.lease() as lease:
        list(embed_drop(work, {"esm2": [0]}, lease))
    before, weights = work.encoders["esm2"].digest, model / "model.safetensors"
    content, state = bytearray(weights.read_bytes()), weights.stat()
    content[-2] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    now = DropWork.on("d", settings, [].append)
    after = now.encoders["esm2"].digest
    assert (work.encoders["esm2"].digest, after != before) == (before, True)

    with open_pool(settings) as pool, pool.lease() as lease:
        with pytest.raises(IntegrityError, match=f"weights_digest {before} is now {after}"):
            list(embed_drop(now, {"esm2": [0, 1]}, lease))
        # A run that chose its models before the change does not compute with those of now.
        with pytest.raises(EmbeddingError, match=f"found a model of digest {after}; expected {before}"):
            list(embed_drop(work, {"esm2": [1]}, lease))
    assert not list((work.folder.shard("esm2", 1, 2)).glob("part-*"))
