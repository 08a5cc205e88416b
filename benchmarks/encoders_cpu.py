"""Both encoders on a CPU against the original's own loops, and as a share of the matrix products' rate.

    python -m benchmarks.encoders_cpu [--threads 1 | --slots 2] [--rounds 5] [--quick] [--out FILE]

Weights are random, of the published shapes of ESM-2 8M, 35M and DNABERT-S; sequences are candidates of
real reads in two mixtures of lengths. In every round the original's loop, which is float32, our
engine in each precision, and the matrix products alone take turns; ratios and shares are taken
within a round, and their medians are given. A ratio over its share is what no engine can pass
whose products are these: the ratio of an encoder that is nothing but products. With one thread times are
of the processor: another user of the machine disturbs them least. With `--slots` the whole machine is used
as either side uses it: the original's loop by so many threads, ours by so many processes of one thread, by
the clock. bfloat16 is measured where the CPU computes in it (AVX512_BF16), or if asked for. `--quick`
measures fewer tokens and demands nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contests import TOKEN_BUDGET, Contest, Embed, Rows, make_contest
from benchmarks.cpu_slots import CpuSlots
from benchmarks.gemm_rate import LayerProducts, clock_of
from benchmarks.sample_sequences import MIXTURES
from benchmarks.shapes import ENCODERS
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.loading import DTYPES
from virnucpro_assets.vocabulary import Precision

TOKENS = {"esm2_8m": 16_384, "esm2_35m": 8_192, "dnabert_s": 4_096}
"""Tokens of a round: some seconds for the original."""

QUICK_TOKENS = {"esm2_8m": 8_192, "esm2_35m": 4_096, "dnabert_s": 1_024}
QUICK_ROUNDS = 3
RATE_SECONDS = 0.3

LEAST_COSINE = {"float32": 0.999999, "bfloat16": 0.999, "float16": 0.999}
LEAST_RATIO = {
    ("esm2_8m", "float32"): 1.2,
    ("esm2_35m", "float32"): 1.2,
    ("dnabert_s", "float32"): 1.35,
    ("esm2_8m", "bfloat16"): 2.5,
    ("esm2_35m", "bfloat16"): 2.5,
    ("dnabert_s", "bfloat16"): 3.5,
}
LEAST_SHARE = {
    ("esm2_35m", "float32"): 0.85,
    ("esm2_35m", "bfloat16"): 0.65,
    ("dnabert_s", "float32"): 0.90,
}


def measure(contest: Contest, products: dict[Precision, LayerProducts], rounds: int) -> dict[str, Any]:
    """All rounds of one encoder on one mixture, and what they say together."""
    expected = contest.original()
    cosines = {precision: least_cosine(embed(), expected) for precision, embed in contest.ours.items()}
    original: list[float] = []
    ours: dict[Precision, list[float]] = {precision: [] for precision in contest.ours}
    rates: dict[Precision, list[float]] = {precision: [] for precision in contest.ours}
    for number in range(rounds):
        turns: list[Precision | None] = [None, *contest.ours]
        for precision in reversed(turns) if number % 2 else turns:
            if precision is None:
                original.append(seconds_of(contest.original))
            else:
                rates[precision].append(max(products[precision].rates(at_least=RATE_SECONDS)))
                ours[precision].append(seconds_of(contest.ours[precision]))
    result: dict[str, Any] = {**contest.figures, "original_seconds": rounded(original)}
    for precision, taken in ours.items():
        shares = (contest.operations / s / r for s, r in zip(taken, rates[precision], strict=True))
        ratios = [one / other for one, other in zip(original, taken, strict=True)]
        result[precision] = {
            "seconds": rounded(taken),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_of_rounds": rounded(ratios),
            "gflops": round(contest.operations / statistics.median(taken) / 1e9, 1),
            "gemm_gflops": round(statistics.median(rates[precision]) / 1e9, 1),
            "share_of_gemm": round(statistics.median(shares), 3),
            "least_cosine": round(cosines[precision], 7),
        }
    return result


def seconds_of(embed: Embed) -> float:
    """How long one embedding of all sequences takes."""
    clock = clock_of(torch.get_num_threads())
    started = clock()
    embed()
    return clock() - started


def rounded(values: Iterable[float]) -> list[float]:
    """Three digits are more than the noise leaves."""
    return [round(value, 3) for value in values]


def least_cosine(found: Rows, expected: Rows) -> float:
    """The smallest cosine of a row to its reference, in float64."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return float(((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


def processor() -> dict[str, str | bool]:
    """What Linux says of the processor, and which instructions torch uses."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {
        "processor": fields.get("model name", "unknown"),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": "avx512_bf16" in fields.get("flags", "").split(),
    }


def shortfalls(cases: dict[str, dict[str, Any]]) -> list[str]:
    """What falls short of the goals, a line each."""
    lines = []
    for name, case in cases.items():
        encoder = name.partition(",")[0]
        for precision in DTYPES:
            bounds = {
                "ratio": LEAST_RATIO.get((encoder, precision)),
                "share_of_gemm": LEAST_SHARE.get((encoder, precision)),
                "least_cosine": LEAST_COSINE[precision],
            }
            lines += [
                f"{name}, {precision}: found {figure} {case[precision][figure]}; expected at least {bound}"
                for figure, bound in bounds.items()
                if precision in case and bound is not None and case[precision][figure] < bound
            ]
    return lines


def table(cases: dict[str, dict[str, Any]]) -> str:
    """The cases as Markdown, a line for each precision."""
    lines = [
        "| encoder, mixture | precision | times the original | GFLOP/s | share of GEMM "
        "| times the original at all of it | least cosine |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, case in cases.items():
        for precision in DTYPES:
            if found := case.get(precision):
                rounds = f"{min(found['ratio_of_rounds']):.2f} to {max(found['ratio_of_rounds']):.2f}"
                lines.append(
                    f"| {name} | {precision} | {found['ratio']:.2f} ({rounds}) | {found['gflops']:.0f} "
                    f"| {found['share_of_gemm']:.0%} | {found['ratio'] / found['share_of_gemm']:.2f} "
                    f"| {found['least_cosine']:.6f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, keep the JSON, and fail if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--slots", type=int, help="processes of one thread for ours; threads for the original"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--encoders", nargs="+", choices=sorted(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--precisions", nargs="+", choices=list(DTYPES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    threads = options.slots or options.threads
    limit_threads(threads)
    machine = processor()
    default = ["float32", "bfloat16"] if machine["avx512_bf16"] else ["float32"]
    precisions: list[Precision] = options.precisions or default
    tokens, rounds = (QUICK_TOKENS, QUICK_ROUNDS) if options.quick else (TOKENS, options.rounds)
    cases = {}
    started = time.monotonic()
    for name in options.encoders:
        products = {precision: LayerProducts(ENCODERS[name], precision) for precision in precisions}
        for mixture in MIXTURES:
            with (
                tempfile.TemporaryDirectory() as folder,
                CpuSlots(options.slots) if options.slots else nullcontext() as slots,
            ):
                contest = make_contest(
                    ENCODERS[name], mixture, precisions, tokens[name], Path(folder), slots=slots
                )
                cases[f"{name}, {mixture}"] = measure(contest, products, rounds)
    result = {
        **machine,
        "torch": torch.__version__,
        "threads": threads,
        "slots": options.slots,
        "token_budget": TOKEN_BUDGET,
        "rounds": rounds,
        "seconds": round(time.monotonic() - started),
        "cases": cases,
    }
    print(table(cases))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if not options.quick and (missed := shortfalls(cases)):
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
