"""What the README says a real run needs follows from the measurements; its sample of the output is of the demo."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from virnucpro_assets.demo.paths import TRUTH_FILE
from virnucpro_assets_tests.conftest import Installation
from virnucpro_assets_tests.pages import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
RESULTS = REPOSITORY / "benchmarks" / "results"
PROTEIN_TOKENS = 150 // 3 + 2
ROW_BYTES = 4 * (768 + 2560) + 24
TABLE_BYTES = 350


def results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text())


def test_hours_core_hours_and_disk_are_computed_from_the_measured_rates() -> None:
    jobs = {int(n): job["devices"] for n, job in results("gpu_two_devices.json")["pipeline"]["found"].items()}
    agreement, cores = results("agreement.json"), results("roofline.json")["cpu"]
    few, many = sorted(jobs)
    tokens = {kind: jobs[many]["1"]["devices"][kind]["tokens"] / many for kind in ("esm2", "dnabert_s")}
    of_random_reads = tokens["esm2"] / PROTEIN_TOKENS
    of_genomes = agreement["modes"]["float32"]["candidates"] / agreement["reads"]
    more = of_genomes / of_random_reads
    text = " ".join(README.split())
    assert f"times {more:.2f} for" in text
    assert f"({of_genomes:.2f} a read" in text
    assert f"random ones ({of_random_reads:.2f})" in text

    def hours(reads: int, devices: str) -> float:
        a_read = (jobs[many][devices]["seconds"] - jobs[few][devices]["seconds"]) / (many - few)
        start = jobs[few][devices]["seconds"] - few * a_read
        return (start + reads * more * a_read) / 3600

    work = {"esm2": ("esm2_3b", 5.66), "dnabert_s": ("dnabert_s", 0.226)}
    on_a_core = sum(
        more * tokens[kind] * gflop / cores[shape]["bfloat16"]["gflops"]
        for kind, (shape, gflop) in work.items()
    )
    gigabytes = of_genomes * (ROW_BYTES + TABLE_BYTES) / 1000
    for name, reads, cpu, disk in (
        ("1 million", 10**6, f"{rounded(on_a_core * 10**6 / 3600):g} core-hours", f"{gigabytes:.0f} GB"),
        ("10 million", 10**7, "not sensible", f"{rounded(gigabytes * 10):g} GB"),
        ("100 million", 10**8, "not sensible", f"{gigabytes / 10:.1f} TB"),
    ):
        one, two = (f"{shown_hours(hours(reads, devices))} hours" for devices in ("1", "2"))
        assert f"| {name} | {one} | {two} | {cpu} | {disk} |" in README


def shown_hours(value: float) -> str:
    """One digit after the point, none from ten hours on."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def rounded(value: float) -> float:
    """Two digits."""
    return float(f"{value:.2g}")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_sample_and_the_counts_of_calls_are_those_of_the_demo(
    new_installation: Callable[[str], Installation],
) -> None:
    installation = new_installation("demo")
    assert installation.run("demo", "--out", "results").exit_code == 0
    calls = {
        row["name"]: row
        for row in pq.read_table(installation.folder / "results" / "read_calls.parquet").to_pylist()
    }

    table = README.partition("| name | demo_")[2].partition("\n\n")[0]
    lines = [
        line.strip("|").split("|") for line in f"| name | demo_{table}".splitlines() if "---" not in line
    ]
    columns = [[cell.strip() for cell in column] for column in zip(*lines, strict=True)]
    fields, *sample = columns
    assert len(sample) == 3
    assert {"call", "tier", "weighted_delta", "reason"} <= set(fields)
    for cells in sample:
        row = calls[cells[0]]
        assert cells == [shown(row[name]) for name in fields]

    counts = Counter((label, row["call"]) for name, label in read_truth() if (row := calls[name])["call"])
    page = " ".join((REPOSITORY / "docs" / "first-run.md").read_text().split())
    virus = [counts["virus", call] for call in ("Viral", "Non-viral", "Ambiguous")]
    others = [counts["others", call] for call in ("Viral", "Non-viral", "Ambiguous")]
    assert (
        f"of {sum(virus)} virus reads with a score {virus[0]} are Viral, {virus[1]} Non-viral, {virus[2]} Ambiguous; "
        f"of {sum(others)} others {others[0]}, {others[1]} and {others[2]}."
    ) in page
    tiers = Counter(
        calls[name]["tier"]
        for name, label in read_truth()
        if label == "others" and calls[name]["call"] == "Viral"
    )
    assert (
        f"{tiers['review']} of the {others[0]} false positives have the tier `review`, {tiers['low_confidence']}"
        in page
    )
    assert f"{others[0]} are called Viral, {tiers['review']} of them" in " ".join(README.split())


def shown(value: float | str | None) -> str:
    """A value of a table as the README shows it."""
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def read_truth() -> list[tuple[str, str]]:
    """Name and label of each read of the demo drop that is from a genome."""
    lines = TRUTH_FILE.read_text().splitlines()
    return [(cells[0], cells[1]) for line in lines[1:] if (cells := line.split("\t"))]
