"""Faults on a real device: a kill in the middle, memory that is too small, numbers that overflow.

    python -m benchmarks.device_faults [--device cuda:0] [--shape 650M] [--reads 20000] [--out FILE]

With random weights of a published ESM-2 shape, in float16, over generated reads of 150 bases:

1. killed: the device process is killed with SIGKILL after a third of the parts and started again
   by the pool; the parts must equal those of an uninterrupted run byte by byte.
2. out_of_memory (CUDA only): the process may use a small share of the device's memory and is given
   packs that do not fit; they must be cut, and the rows agree with the uninterrupted run.
3. overflow: weights that are no finite number in float16; every row must be computed again in
   float32, be flagged, and equal the float32 embedding.

`--device cpu:0 --shape 8M --reads 400` runs 1 and 3 anywhere.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from virnucpro_assets.inference.devices import Device, find_devices
from virnucpro_assets.inference.encoder_choice import EncoderChoice, Machine, choose_kernels
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.loading import random_weights, save_encoder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.index_manifest import IndexOrigin
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.provenance import Incidents, Recipe
from virnucpro_assets.storage.shards import ShardManifest, rank_name

SHAPES = {"8M": (6, 320, 20), "35M": (12, 480, 20), "650M": (33, 1280, 20)}
RANKS = 2
SMALL_SHARE = 0.03
LIMITED = (
    "-c",
    f"import torch; torch.cuda.set_per_process_memory_fraction({SMALL_SHARE}); "
    "from virnucpro_assets.inference.device_process import main; main()",
)


def make_index(folder: Path, reads: int) -> SequenceIndex:
    """Index `reads` random reads, the same for the same number."""
    bases = np.random.default_rng(3).choice(np.frombuffer(b"ACGT", np.uint8), (reads, 150))
    lines = (b">read_%d\n%b\n" % (number, row.tobytes()) for number, row in enumerate(bases))
    (folder / "reads.fa").write_bytes(b"".join(lines))
    files = [ReadFile(folder / "reads.fa")]
    build_index(files, folder / "index", IndexOrigin(drop_digest="0" * 64, chunk_length=300, ranks=RANKS))
    return SequenceIndex.open(folder / "index")


def make_model(folder: Path, shape: str, device: Device, *, overflowing: bool = False) -> EncoderChoice:
    """A model folder with random weights; `overflowing` ones are no finite number in float16."""
    layers, width, heads = SHAPES[shape]
    config = Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    state = random_weights(config, seed=5)
    if overflowing:
        state["layers.0.fc1.bias"][0] = 1e5
    saved = save_encoder(folder, config, state)
    kernels = choose_kernels("esm2", "float16", Machine(has_gpus=device.kind == "cuda"))
    return EncoderChoice(
        kind="esm2",
        folder=folder,
        digest=saved.digest,
        width=width,
        precision="float16",
        attention=kernels.attention,
        fused=kernels.fused,
    )


def make_job(index: SequenceIndex, encoder: EncoderChoice, out: Path, budget: int, packs: int) -> ShardJob:
    """A job over all ranks."""
    recipe = Recipe(
        encoder=encoder.kind,
        index_digest=index.manifest.digest,
        weights_digest=encoder.digest,
        precision=encoder.precision,
        attention=encoder.attention,
        fused=encoder.fused,
        token_budget=budget,
        packs_per_part=packs,
        ranks=RANKS,
    )
    folders = {rank: out / rank_name(rank, RANKS) for rank in range(RANKS)}
    return ShardJob(index, encoder, recipe, folders)


def run(
    job: ShardJob, device: Device, options: PoolOptions, *, kill_after: int | None = None
) -> tuple[list[ShardManifest], float]:
    """Compute a job, and the seconds that took; its process is killed when `kill_after` parts are there."""
    heard: list[str] = []
    started = time.monotonic()
    with DevicePool([device], options) as pool, pool.lease() as lease:
        killer = threading.Thread(target=kill_in_the_middle, args=(job, pool, device, kill_after))
        killer.start()
        shards = sorted(embed_shards([job], lease, heard.append), key=lambda shard: shard.rank)
        killer.join()
    if kill_after is not None and not any("SIGKILL" in line for line in heard):
        sys.exit("the kill did not land")
    return shards, time.monotonic() - started


def kill_in_the_middle(job: ShardJob, pool: DevicePool, device: Device, parts: int | None) -> None:
    """Wait for some parts and kill the device process."""
    while parts is not None and len(list(job.folders[0].parent.glob("rank-*/part-?????.h5"))) < parts:
        time.sleep(0.01)
    if parts is not None:
        os.kill(pool.running([device])[0].pid, signal.SIGKILL)


def rows_of_parts(job: ShardJob, shards: list[ShardManifest]) -> np.ndarray:
    """float32 [rows, width] in the order of the index."""
    rows = np.empty((job.index.manifest.rows, job.encoder.width), np.float32)
    for shard in shards:
        for part in shard.parts:
            with h5py.File(job.folders[shard.rank] / part.name) as file:
                rows[file["rows"][:]] = file["embeddings"][:]
    return rows


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """float64 [n]: the cosine of each row to its reference."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def files_of(shards: list[ShardManifest]) -> list[tuple[int, str, str]]:
    """Rank, name and SHA-256 of each part's file."""
    return [(shard.rank, part.name, part.file.sha256) for shard in shards for part in shard.parts]


def measure(device: Device, shape: str, reads: int, budget: int, folder: Path) -> dict[str, Any]:
    """All cases, one after the other."""
    options = PoolOptions(folder / "locks")
    index, encoder = make_index(folder, reads), make_model(folder / "model", shape, device)
    job = make_job(index, encoder, folder / "whole", budget, 4)
    shards, seconds = run(job, device, options)
    whole, planned = rows_of_parts(job, shards), sum(len(shard.parts) for shard in shards)
    result: dict[str, Any] = {
        "rows": index.manifest.rows,
        "parts": planned,
        "uninterrupted": {"seconds": round(seconds, 1)},
    }

    killed = make_job(index, encoder, folder / "killed", budget, 4)
    killed_shards, seconds = run(killed, device, options, kill_after=planned // 3)
    result["killed"] = {
        "seconds": round(seconds, 1),
        "parts_equal_byte_by_byte": files_of(killed_shards) == files_of(shards),
    }
    if device.kind == "cuda":
        large = 64 * budget
        tight = make_job(index, encoder, folder / "tight", large, 1)
        tight_shards, _ = run(tight, device, PoolOptions(folder / "locks", program=LIMITED))
        incidents = sum((shard.incidents for shard in tight_shards), Incidents())
        result["out_of_memory"] = {
            "share_of_memory": SMALL_SHARE,
            "token_budget": large,
            "split_packs": incidents.split_packs,
            "token_limit": incidents.token_limit,
            "quarantined": len(incidents.quarantined),
            "min_cosine": float(cosines(rows_of_parts(tight, tight_shards), whole).min()),
        }
    overflowing = make_model(folder / "overflowing", shape, device, overflowing=True)
    exact = make_job(index, overflowing.in_precision("float32"), folder / "exact", budget, 4)
    half = make_job(index, overflowing, folder / "half", budget, 4)
    expected = rows_of_parts(exact, run(exact, device, options)[0])
    half_shards, _ = run(half, device, options)
    result["overflow"] = {
        "recomputed": sum(len(shard.incidents.recomputed) for shard in half_shards),
        "largest_difference": float(np.abs(rows_of_parts(half, half_shards) - expected).max()),
    }
    return result


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="650M")
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--token-budget", type=int, default=16_384)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/device_faults.json"))
    options = parser.parse_args()
    (device,) = (
        find_devices(options.device)
        if options.device.startswith("cuda")
        else [Device("cpu", 0, os.cpu_count() or 1)]
    )
    with tempfile.TemporaryDirectory() as folder:
        result = measure(device, options.shape, options.reads, options.token_budget, Path(folder))
    result = {"device": str(device), "shape": options.shape, "reads": options.reads, **result}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
