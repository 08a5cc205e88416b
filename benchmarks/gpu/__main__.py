"""Everything that only a GPU can show, in parts that fit a few minutes each and add to one JSON file.

    python -m benchmarks.gpu PART... [--out benchmarks/results/gpu_h200.json] [--seconds 1.0]
        [--reads N] [--folder /dev/shm] [--processes 8] [--rounds 4] [--devices 1,2]
        [--gib 24 16 12]

`kernels` our kernels against plain PyTorch in float64, and the bandwidth of each
`steady` DNABERT-S and ESM-2 3B in float16 as they run on a GPU: tokens a second, and the first pack
`flash` the kernel of flash-attn, where it is installed, beside the one that is chosen without it
`bits` all parts by `--processes` processes at a time that start with nothing compiled, `--rounds` times, by pools
    of `--devices`, and by one that is killed: compared byte by byte
`agreement` half precision and fast kernels against float32, at the 650M shape
`throughput` tokens a second of ESM-2 3B and 650M and of DNABERT-S, beside the rate of their products
`others` transformers' EsmModel and fair-esm's own module beside ours
`variants` what was tried for the rest of the time
`biases` the attention of DNABERT-S by several kernels, on packs of new lengths and on one pack
`pipeline` the whole job on 100,000 generated reads
`pipeline-killed` the whole job on 30,000 reads, once left alone and once with its device process killed
`small-memory` the whole job with only `--gib` of the GPU's memory left

A part that is done is in the file before the next one begins. Models and data of the last three go to
a temporary folder in `--folder`, 6 GB at the 3B shape and the drop's 13 KB a candidate; parts of one
call share the models. `--small` takes small shapes, few reads and whatever device there is: a trial
of the command.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import (
    agreement,
    biases,
    bits,
    flash,
    kernels,
    pipeline,
    small_memory,
    steady,
    throughput,
    variants,
)
from benchmarks.gpu.bench import FULL, SMALL, Bench, counts_of, devices_by_count
from benchmarks.gpu.models import ESM2_3B, ESM2_650M, SHAPES, SMALL_DNABERT_S
from benchmarks.gpu.progress import step
from benchmarks.gpu.results import add
from benchmarks.shapes import DNABERT_S, ESM2_8M
from virnucpro_assets.vocabulary import EncoderKind

PARTS = (
    *("kernels", "steady", "flash", "bits"),
    *(
        "agreement",
        "throughput",
        "others",
        "variants",
        "biases",
        "pipeline",
        "pipeline-killed",
        "small-memory",
    ),
)
ON_GPUS_ONLY = {"kernels": kernels.measure, "steady": steady.measure, "flash": flash.measure}
GPU_BUDGET, SMALL_BUDGET = 32768, 1024
READS = {"pipeline": 100_000, "pipeline-killed": 30_000, "small-memory": 20_000}
FEW_READS = 400
READS_OF_BITS = 8000
"""Some ten packs of proteins, the last one of each rank not full."""


def main() -> None:
    """Measure the parts that were asked for and add them to the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_h200.json"))
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, three times")
    parser.add_argument("--reads", type=int, help="of each drop")
    parser.add_argument("--folder", type=Path, help="where models and data go for the time")
    parser.add_argument("--processes", type=int, default=8, help="of bits, at a time")
    parser.add_argument("--rounds", type=int, default=4, help="of bits")
    parser.add_argument("--devices", type=counts_of, default=[1], help="of bits: numbers of devices, as 1,2")
    parser.add_argument(
        "--gib", type=int, nargs="+", default=[24, 16, 12], help="of small-memory: left to it"
    )
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        trial = _trial(Path(name), small=options.small)
        for part in options.parts:
            started = time.monotonic()
            with step(part):
                if part in READS:
                    reads = options.reads or (FEW_READS if options.small else READS[part])
                    if part == "small-memory":
                        found = small_memory.measure(trial, reads, options.gib)
                    else:
                        found = (pipeline.whole if part == "pipeline" else pipeline.killed)(trial, reads)
                elif part in ON_GPUS_ONLY:
                    found = ON_GPUS_ONLY[part](torch.device("cuda:0"), options.seconds)
                elif part == "bits":
                    size = replace(SMALL if options.small else FULL, reads=options.reads or READS_OF_BITS)
                    one_pack: dict[EncoderKind, int] = {"esm2": 1, "dnabert_s": 1}
                    folder = Path(name) / part
                    folder.mkdir()
                    bench = Bench(replace(size, packs=one_pack), devices_by_count(options.devices), folder)
                    found = bits.measure(bench, options.processes, options.rounds)
                else:
                    found = _measure(part, options.seconds, small=options.small)
            add(options.out, part, found, time.monotonic() - started)


def _trial(folder: Path, *, small: bool) -> pipeline.Trial:
    return pipeline.Trial(
        protein=ESM2_8M if small else ESM2_3B,
        dna=SMALL_DNABERT_S if small else DNABERT_S,
        device="cuda:0" if torch.cuda.is_available() else "cpu:1",
        token_budget=SMALL_BUDGET if small else GPU_BUDGET,
        packs_per_part=1 if small else 4,
        folder=folder,
    )


def _measure(part: str, seconds: float, *, small: bool) -> Any:
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    budget = SMALL_BUDGET if small else GPU_BUDGET
    large, middle = (ESM2_8M, ESM2_8M) if small else (ESM2_3B, ESM2_650M)
    match part:
        case "agreement":
            return agreement.measure(middle, device, budget)
        case "throughput":
            return {
                name: throughput.measure(config, device, _budget(name, budget), seconds)
                for name, config in SHAPES.items()
                if (name == "esm2_8m") == small
            }
        case "others":
            # fair-esm and transformers are slow to import, and not everywhere.
            from benchmarks.gpu import others  # noqa: PLC0415

            return {
                "esm2_650m": others.measure(middle, device, budget, seconds),
                "esm2_3b": others.measure(large, device, budget, seconds),
            }
        case "biases":
            return biases.measure(SMALL_DNABERT_S if small else DNABERT_S, device, seconds)
        case _:
            return {
                "esm2_3b": variants.measure(large, device, seconds),
                "dnabert_s": variants.measure(DNABERT_S, device, seconds),
            }


def _budget(name: str, budget: int) -> int:
    return 2 * budget if name == "dnabert_s" else budget


if __name__ == "__main__":
    main()
