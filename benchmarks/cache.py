"""What the cache of embeddings saves: a drop of which four reads in five were in an earlier one, with it and without.

    python -m benchmarks.cache [--reads 3000] [--shape 8M] [--rounds 3] [--out FILE]

ESM-2 of a published shape with random weights, and the demo DNABERT-S, in float32 on one CPU slot. The earlier drop
fills the cache, once. Then the same later drop is embedded with it and without it in turns, each time as a drop that
was never seen; the cache is put back to what the earlier drop left before every run. Beside the wall clock
stands the processor time of the device process. What it costs to fill the cache is the earlier drop with it against
the same without it, once.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.checkpoint_overhead import processor_seconds
from benchmarks.demo_reads import demo_reads
from benchmarks.device_faults import SHAPES
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.loading import random_weights, save_encoder
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS

READ_LENGTH = 300
KNOWN_SHARE = 0.8
CACHE_GIB = 8.0


def write_drops(folder: Path, reads: int) -> tuple[Path, Path]:
    """FASTA files of the earlier and the later drop, `reads` reads each."""
    new = reads - round(reads * KNOWN_SHARE)
    lines = [
        b">read_%d\n%b\n" % (number, row.tobytes())
        for number, row in enumerate(np.concatenate(list(demo_reads(reads + new, READ_LENGTH))))
    ]
    earlier, later = folder / "earlier.fa", folder / "later.fa"
    earlier.write_bytes(b"".join(lines[:reads]))
    later.write_bytes(b"".join(lines[new:]))
    return earlier, later


def embed(key: str, reads: Path, settings: Settings, pool: DevicePool) -> tuple[dict[str, Any], DropWork]:
    """Seconds and figures of embedding a new drop; its index is made before."""
    register_reads(key, [ReadFile(reads)], settings)
    list_drop(key, settings)
    work = DropWork.on(key, settings, [].append)
    index_drop(work)
    with pool.lease() as lease:
        (device,) = lease.devices
        started, used = time.monotonic(), processor_seconds(pool, device)
        made = list(embed_drop(work, dict.fromkeys(ENCODER_KINDS, range(settings.ranks)), lease))
        seconds, used = time.monotonic() - started, processor_seconds(pool, device) - used
    figures = {kind: _figures([one for one in made if one.recipe.encoder == kind]) for kind in ENCODER_KINDS}
    return {"seconds": round(seconds, 3), "processor_seconds": round(used, 2), **figures}, work


def _figures(shards: list[ShardManifest]) -> dict[str, Any]:
    rows = sum(shard.rows for shard in shards)
    cached = sum(shard.cached_rows for shard in shards)
    return {
        "rows": rows,
        "computed_rows": rows - cached,
        "computed_tokens": sum(shard.counts.tokens for shard in shards),
        "cached_share": round(cached / rows, 4),
    }


def largest_difference(one: DropWork, other: DropWork) -> float:
    """Between the embeddings of two drops of the same reads."""
    largest = 0.0
    for kind in ENCODER_KINDS:
        for rank in range(one.settings.ranks):
            folders = [work.folder.shard(kind, rank, work.settings.ranks) for work in (one, other)]
            rows = []
            for folder in folders:
                parts = []
                for path in sorted(folder.glob("part-*.h5")):
                    with h5py.File(path) as file:
                        parts.append(file["embeddings"][:])
                rows.append(np.concatenate(parts))
            largest = max(largest, float(np.abs(rows[0] - rows[1]).max(initial=0)))
    return largest


def measure(reads: int, shape: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    layers, width, heads = SHAPES[shape]
    config = Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    save_encoder(folder / "esm2", config, random_weights(config, seed=5))
    earlier, later = write_drops(folder, reads)
    without = Settings(
        data_root=folder / "data",
        esm2=folder / "esm2",
        classifiers=folder / "none",
        devices="cpu:1",
        packs_per_part=8,
        locks_folder=folder / "locks",
    )
    with_cache = without.model_copy(update={"embedding_cache_gib": CACHE_GIB})
    runs: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    with open_pool(without) as pool:
        # The first drop of a process also pays for its start.
        embed("warm", earlier, without, pool)
        plain, _ = embed("earlier-without", earlier, without, pool)
        filling, _ = embed("earlier", earlier, with_cache, pool)
        kept = shutil.copytree(with_cache.cache_folder, folder / "kept")
        difference = 0.0
        for number in range(rounds):
            made = {}
            for name in sorted(runs, reverse=bool(number % 2)):
                shutil.rmtree(with_cache.cache_folder)
                shutil.copytree(kept, with_cache.cache_folder)
                settings = with_cache if name == "with" else without
                figures, made[name] = embed(f"later-{name}-{number}", later, settings, pool)
                runs[name].append(figures)
            difference = max(difference, largest_difference(made["with"], made["without"]))
    size = sum(path.stat().st_size for path in kept.rglob("*.npy"))
    return {
        "processors": os.cpu_count(),
        "reads": reads,
        "read_length": READ_LENGTH,
        "esm2": shape,
        "known_reads": KNOWN_SHARE,
        **runs,
        "cost": _cost(runs, "seconds"),
        "cost_in_processor_time": _cost(runs, "processor_seconds"),
        "filling": {"without": plain, "with": filling, "cache_mib": round(size / 2**20, 1)},
        "largest_difference": difference,
    }


def _cost(runs: dict[str, list[dict[str, Any]]], what: str) -> float:
    """The median of the rounds of the drop with the cache over the same without it."""
    pairs = zip(runs["with"], runs["without"], strict=True)
    return round(statistics.median(one[what] / other[what] for one, other in pairs), 3)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"| {result['reads']:,} reads | seconds | processor seconds | rows computed by ESM-2 | tokens |",
        "| --- | --- | --- | --- | --- |",
    ]
    filling = result["filling"]
    for words, made in (
        ("earlier drop, without", [filling["without"]]),
        ("earlier drop, fills the cache", [filling["with"]]),
        ("later drop, without", result["without"]),
        ("later drop, with the cache", result["with"]),
    ):
        seconds, used = (
            f"{statistics.median(one[what] for one in made):.1f}" for what in ("seconds", "processor_seconds")
        )
        esm2 = made[0]["esm2"]
        lines.append(
            f"| {words} | {seconds} | {used} | {esm2['computed_rows']:,} | {esm2['computed_tokens']:,} |"
        )
    last = (
        f"{result['cost']} times the cost, {result['cost_in_processor_time']} times in processor time; "
        f"largest difference of a number {result['largest_difference']:.1e}; cache {filling['cache_mib']} MiB"
    )
    return "\n".join([*lines, "", last])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=3000)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.reads, options.shape, options.rounds, Path(folder))
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
