"""Everything that only a GPU can show, in parts that fit a few minutes each and add to one JSON file.

    python -m benchmarks.gpu PART... [--out benchmarks/results/gpu_h200.json] [--seconds 1.0]

`agreement` half precision and fast kernels against float32, at the 650M shape
`throughput` tokens a second of ESM-2 3B and 650M and of DNABERT-S, beside the rate of their products
`others` transformers' EsmModel and fair-esm's own module beside ours
`variants` what was tried for the rest of the time
`pipeline` the whole job on 100,000 generated reads, and once more with a process killed

`--small` takes the 8M shape, few reads and whatever device there is: a trial of the command.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import agreement, others, pipeline, throughput, variants
from benchmarks.gpu.models import ESM2_3B, ESM2_650M, SHAPES
from benchmarks.shapes import DNABERT_S, ESM2_8M

PARTS = ("agreement", "throughput", "others", "variants", "pipeline")
GPU_BUDGET, SMALL_BUDGET, READS, FEW_READS = 32768, 1024, 100_000, 400


def main() -> None:
    """Measure the parts that were asked for and add them to the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_h200.json"))
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, three times")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    for part in options.parts:
        started = time.monotonic()
        found = _measure(part, options.seconds, small=options.small)
        _add(options.out, part, found, time.monotonic() - started)


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
            return {
                "esm2_650m": others.measure(middle, device, budget, seconds),
                "esm2_3b": others.measure(large, device, budget, seconds),
            }
        case "variants":
            return {
                "esm2_3b": variants.measure(large, device, seconds),
                "dnabert_s": variants.measure(DNABERT_S, device, seconds),
            }
    with tempfile.TemporaryDirectory() as folder:
        reads = FEW_READS if small else READS
        name = "cuda:0" if device.type == "cuda" else "cpu:1"
        return pipeline.measure(large, DNABERT_S, name, reads=reads, budget=budget, folder=Path(folder))


def _budget(name: str, budget: int) -> int:
    return 2 * budget if name == "dnabert_s" else budget


def _add(path: Path, part: str, found: Any, seconds: float) -> None:
    result = json.loads(path.read_text()) if path.exists() else {}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    result[part] = {
        "device": gpu,
        "torch": torch.__version__,
        "seconds of this part": round(seconds),
        "found": found,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({part: result[part]}, indent=1), flush=True)


if __name__ == "__main__":
    main()
