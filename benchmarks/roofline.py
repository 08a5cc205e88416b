"""The roofline: what bounds each encoder on a processor, how near it comes, and where the rest of the time goes.

    python -m benchmarks.roofline [--tokens 2048] [--out FILE] [--gpu benchmarks/results/gpu_h200.json]

On this machine's processor, one thread: ESM-2 8M, 650M and 3B and DNABERT-S with random weights, of the larger
ones a few layers, since all layers cost the same. Two bounds are measured: the rate of one layer's matrix
products (gemm_rate), and the bandwidth of memory by a copy too large for any cache. The products' operations
per byte, each matrix and each row moved once for every piece of tokens, say which of the two bounds: above
rate / bandwidth it is the rate. The profiler then says what each kind of kernel took. What a GPU showed is
read from the results of `benchmarks.gpu`, its peak rate and bandwidth from its data sheet.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.contests import make_contest
from benchmarks.encoders_cpu import processor, seconds_of
from benchmarks.gemm_rate import LayerProducts, clock_of
from benchmarks.gpu.models import ESM2_3B, ESM2_650M, SHAPES
from benchmarks.sample_sequences import Mixture
from benchmarks.shapes import DNABERT_S, ESM2_8M
from virnucpro_assets.models.configs import EncoderConfig, flops_per_token
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.loading import DTYPES, TOKENS_IN_CACHE
from virnucpro_assets.vocabulary import Precision

Config = EncoderConfig

CPU_LAYERS: dict[str, tuple[Config, int]] = {
    "esm2_8m": (ESM2_8M, 6),
    "esm2_650m": (ESM2_650M, 4),
    "esm2_3b": (ESM2_3B, 2),
    "dnabert_s": (DNABERT_S, 12),
}
"""The shapes, and how many of their layers are computed here."""

MIXTURE: Mixture = "reads of 150"
ROUNDS = 3
COPIED_BYTES = 512 << 20

H200_FLOPS, H200_BYTES = 989e12, 4.8e12
"""Dense half-precision operations and bytes a second: NVIDIA's data sheet of the H200 SXM."""

KINDS = {
    "products": ("linear_pointwise", "addmm", "nvjet"),
    "attention": ("scaled_dot_product", "flash_fwd", "fmha"),
    "norms": ("layer_norm",),
}
"""What the names of kernels have in them; all others are the rest."""


def operations_per_byte(config: Config, rows: int, size: int) -> float:
    """Operations of a layer's products over the bytes of their matrices and rows, numbers of `size` bytes."""
    shapes = config.matrix_shapes
    moved = sum(size * (inner * outer + rows * (inner + outer)) for inner, outer in shapes)
    return sum(2 * rows * inner * outer for inner, outer in shapes) / moved


def memory_bandwidth() -> float:
    """Bytes a second that a copy reads and writes, the best of some."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8)
    target, clock, taken = torch.empty_like(source), clock_of(1), []
    for _ in range(ROUNDS + 1):
        started = clock()
        target.copy_(source)
        taken.append(clock() - started)
    return 2 * COPIED_BYTES / min(taken)


def shares_of(times: dict[str, float]) -> dict[str, float]:
    """The share of each kind of kernel in the time of all, from times by name."""
    shares = dict.fromkeys([*KINDS, "rest"], 0.0)
    for name, taken in times.items():
        kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "rest")
        shares[kind] += taken / sum(times.values())
    return {kind: round(share, 3) for kind, share in shares.items()}


def on_processor(name: str, precisions: list[Precision], tokens: int) -> dict[str, Any]:
    """Rate, bound and shares of an encoder on this processor, by precision."""
    full, layers = CPU_LAYERS[name]
    config = full.model_copy(update={"num_hidden_layers": layers})
    with tempfile.TemporaryDirectory() as folder:
        contest = make_contest(config, MIXTURE, precisions, tokens, Path(folder))
    found: dict[str, Any] = {"layers": f"{layers} of {full.num_hidden_layers}"}
    for precision in precisions:
        embed, products = contest.ours[precision], LayerProducts(full, precision)
        embed()
        rates, seconds = [], []
        for _ in range(ROUNDS):
            rates.append(max(products.rates(at_least=0.3)))
            seconds.append(seconds_of(embed))
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            embed()
        reached, limit = contest.operations / statistics.median(seconds), max(rates)
        found[precision] = {
            "operations_per_byte": round(
                operations_per_byte(full, TOKENS_IN_CACHE, DTYPES[precision].itemsize)
            ),
            "gflops": round(reached / 1e9, 1),
            "limit_gflops": round(limit / 1e9, 1),
            "share": round(reached / limit, 3),
            "time": shares_of({one.key: one.self_cpu_time_total for one in seen.key_averages()}),
        }
    return found


def on_gpu(results: dict[str, Any]) -> dict[str, Any]:
    """The same of what `benchmarks.gpu` found on an H200, in the kernels that a run chooses."""
    found: dict[str, Any] = {}
    for name, rows in results["throughput"]["found"].items():
        best = max(
            (row for row in rows if row["variant"].startswith("float16")),
            key=lambda row: row["TFLOP a second"],
        )
        kernels = results["variants"]["found"].get(name, {}).get("kernels")
        found[name] = {
            "variant": best["variant"],
            "operations_per_byte": round(operations_per_byte(SHAPES[name], best["budget"], 2)),
            "gflops": round(1000 * best["TFLOP a second"]),
            "limit_gflops": round(1000 * best["matrix TFLOP a second"]),
            "share": best["share of matrix rate"],
            "mfu": best["MFU"],
            **({"time": shares_of(kernels)} if kernels else {}),
        }
    return found


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        "| encoder | where | GFLOP a token | operations a byte | bound, GFLOP/s | reached | share "
        "| products | attention | norms | rest |",
        f"|{' --- |' * 11}",
    ]
    cases = [
        (name, f"one core, {precision}", case[precision])
        for name, case in result["cpu"].items()
        for precision in DTYPES
        if precision in case
    ]
    cases += [(name, f"H200, {case['variant']}", case) for name, case in result["gpu"].items()]
    for name, where, case in cases:
        time = [f"{case['time'][kind]:.0%}" if "time" in case else "" for kind in (*KINDS, "rest")]
        lines.append(
            f"| {name} | {where} | {flops_per_token(SHAPES[name]) / 1e9:.3g} | {case['operations_per_byte']:,} "
            f"| {case['limit_gflops']:,} | {case['gflops']:,} | {case['share']:.0%} | {' | '.join(time)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and keep the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--gpu", type=Path, default=Path(__file__).parent / "results/gpu_h200.json")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    limit_threads(1)
    machine = processor()
    precisions: list[Precision] = ["float32", "bfloat16"] if machine["avx512_bf16"] else ["float32"]
    result = {
        **machine,
        "torch": torch.__version__,
        "bandwidth_gb": round(memory_bandwidth() / 1e9, 1),
        "cpu": {name: on_processor(name, precisions, options.tokens) for name in CPU_LAYERS},
        "gpu": on_gpu(json.loads(options.gpu.read_bytes())),
    }
    print(table(result))
    print(f"\nA copy moves {result['bandwidth_gb']} GB a second.")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
