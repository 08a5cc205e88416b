"""What the README says a real run needs follows from the measurements."""

import json
from typing import Any

from virnucpro_assets_tests.pages import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
RESULTS = REPOSITORY / "benchmarks" / "results"
PROTEIN_TOKENS = 150 // 3 + 2
ROW_BYTES = 4 * (768 + 2560) + 24
TABLE_BYTES = 350


def results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text())


def test_hours_core_hours_and_disk_are_computed_from_the_measured_rates() -> None:
    jobs = {int(reads): job for reads, job in results("gpu_embed_stage.json")["after"].items()}
    agreement, cores = results("agreement.json"), results("roofline.json")["cpu"]
    few, many = sorted(jobs)
    tokens = {kind: jobs[many]["devices"][kind]["tokens"] / many for kind in ("esm2", "dnabert_s")}
    of_random_reads = tokens["esm2"] / PROTEIN_TOKENS
    of_genomes = agreement["modes"]["float32"]["candidates"] / agreement["reads"]
    more = of_genomes / of_random_reads
    assert f"times {more:.2f}" in README
    assert f"{of_genomes:.2f} a read" in README
    assert f"({of_random_reads:.2f})" in README

    a_read = (jobs[many]["seconds"] - jobs[few]["seconds"]) / (many - few)
    start = jobs[few]["seconds"] - few * a_read
    work = {"esm2": ("esm2_3b", 5.66), "dnabert_s": ("dnabert_s", 0.226)}
    on_a_core = sum(
        more * tokens[kind] * gflop / cores[shape]["bfloat16"]["gflops"]
        for kind, (shape, gflop) in work.items()
    )
    hours = {reads: (start + reads * more * a_read) / 3600 for reads in (10**6, 10**7, 10**8)}
    gigabytes = of_genomes * (ROW_BYTES + TABLE_BYTES) / 1000
    core_hours = rounded(on_a_core * 10**6 / 3600)
    assert f"| 1 million | {hours[10**6]:.1f} hours | {core_hours} core-hours |" in README
    assert f"| 10 million | {hours[10**7]:.1f} hours" in README
    assert f"| 100 million | {hours[10**8]:.0f} hours" in README
    assert f"{gigabytes:.0f} GB |" in README
    assert f"{rounded(gigabytes * 10)} GB |" in README
    assert f"{gigabytes / 10:.1f} TB |" in README


def rounded(value: float) -> int:
    """Two digits."""
    return int(float(f"{value:.2g}"))
