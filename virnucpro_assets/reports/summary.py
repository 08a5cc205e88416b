"""A table of many drops, one row per drop, and the same data for MultiQC.

`drops.tsv` and `drops.parquet` have the columns of `SummaryRow`. The files `virnucpro_*_mqc.json` are custom content
that MultiQC finds without a configuration: columns of its general statistics, calls as bars, scores as lines.
"""

import json
import tempfile
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.files.atomic import sync_folder, write_text
from virnucpro_assets.files.parquet import table_writer
from virnucpro_assets.files.user_paths import check_outputs, note_outputs
from virnucpro_assets.reports.drop_report import DropReport
from virnucpro_assets.reports.histograms import Histogram

TABLE, PARQUET = "drops.tsv", "drops.parquet"
STATISTICS, CALLS_PLOT, SCORES_PLOT = (
    f"virnucpro_{name}_mqc.json" for name in ("statistics", "calls", "scores")
)
SUMMARY_FILES = (TABLE, PARQUET, STATISTICS, CALLS_PLOT, SCORES_PLOT)

_TYPES: dict[Any, Any] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    float | None: pa.float64(),
}


class SummaryRow(BaseModel):
    """A drop in the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: str = Field(description="name of the drop")
    generation: str = Field(description="first 12 digits of the digest of its files")
    reads: int = Field(description="reads or contigs in its files")
    bases: int = Field(description="bases in its files")
    called_reads: int = Field(description="reads that have a call")
    viral_reads: int = Field(description="reads called Viral")
    viral_share: float = Field(description="viral_reads as a share of called_reads; 0 without any")
    viral_share_low: float = Field(description="lower end of its 95 % interval (Wilson)")
    viral_share_high: float = Field(description="upper end of its 95 % interval (Wilson)")
    hits: int = Field(description="reads in hits.fasta")
    expected_false_calls: float | None = Field(
        description="expected number of Viral calls that are wrong; none without a calibration"
    )
    checks_passed: int = Field(description="checks that passed; some may not judge, for too little data")
    checks_failed: int = Field(description="checks that did not pass")
    seconds: float = Field(description="wall-clock seconds of all stages")
    devices: str = Field(description="devices that computed its embeddings")
    software: str = Field(description="program and version that wrote the report")
    models: str = Field(description="encoders and classifiers: role, name, first 12 digits of the digest")


def summary_row(report: DropReport) -> SummaryRow:
    """The row of a finished drop."""
    viral, called = sum(report.calls.get("Viral", {}).values()), report.called_reads
    low, high = wilson_interval(viral, called)
    devices = {one for rank in report.ranks for one in rank.device.split(", ") if one != "none"}
    return SummaryRow(
        drop=report.drop,
        generation=report.generation,
        reads=report.reads,
        bases=report.bases,
        called_reads=called,
        viral_reads=viral,
        viral_share=viral / called if called else 0.0,
        viral_share_low=low,
        viral_share_high=high,
        hits=report.hits,
        expected_false_calls=report.expected_false_calls,
        checks_passed=report.passed_checks,
        checks_failed=report.failed_checks,
        seconds=round(sum(stage.seconds for stage in report.stages), 3),
        devices=", ".join(sorted(devices)),
        software=report.made_by,
        models=", ".join(f"{one.role} {one.name} {one.digest[:12]}" for one in report.models),
    )


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a share (Wilson, Journal of the American Statistical Association 1927); `z` for 95 %.

    (0, 1) without any trial.
    """
    if not trials:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def write_summary(reports: Sequence[DropReport], out: Path) -> list[SummaryRow]:
    """Write SUMMARY_FILES into `out` for finished drops, and return the rows; without drops they have headers only.

    Raises InputError if `out` has a foreign file under one of these names.
    """
    check_outputs(out, SUMMARY_FILES, ())
    out.mkdir(parents=True, exist_ok=True)
    rows = [summary_row(report) for report in reports]
    with tempfile.TemporaryDirectory(dir=out) as name:
        made = Path(name)
        _write_tables(rows, made)
        for file, content in multiqc_content(reports, rows).items():
            write_text(made / file, json.dumps(content, indent=1) + "\n")
        note_outputs(out, {file: made / file for file in SUMMARY_FILES})
        for file in SUMMARY_FILES:
            (made / file).replace(out / file)
    sync_folder(out)
    return rows


def _write_tables(rows: Sequence[SummaryRow], folder: Path) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in SummaryRow.model_fields}
    lines = (map(_text, of_row) for of_row in (columns, *zip(*columns.values(), strict=True)))
    write_text(folder / TABLE, "".join("\t".join(line) + "\n" for line in lines))
    kinds = {name: field.annotation for name, field in SummaryRow.model_fields.items()}
    schema = pa.schema(
        [pa.field(name, _TYPES[kind], nullable=kind == float | None) for name, kind in kinds.items()]
    )
    with table_writer(folder / PARQUET, schema, 1 << 16) as table:
        table.add(columns)


def _text(value: str | float | None) -> str:
    return "" if value is None else str(value)


def multiqc_content(reports: Sequence[DropReport], rows: Sequence[SummaryRow]) -> dict[str, dict[str, Any]]:
    """The custom content for MultiQC, by file name (docs.seqera.io/multiqc/custom_content)."""
    return {
        STATISTICS: _statistics(rows),
        CALLS_PLOT: _plot(
            "calls",
            "bargraph",
            "Reads or contigs by call.",
            {"ylab": "reads"},
            {report.drop: _reads_by_call(report) for report in reports},
        ),
        SCORES_PLOT: _plot(
            "scores of chunks",
            "linegraph",
            "Share of the chunks by their largest P(virus).",
            {"xlab": "largest P(virus)", "ylab": "share of the chunks"},
            {
                report.drop: _shares(report.scores)
                for report in reports
                if report.scores and report.scores.total
            },
        ),
    }


def _statistics(rows: Sequence[SummaryRow]) -> dict[str, Any]:
    """Columns of MultiQC's table of general statistics."""
    whole = {"format": "{:,d}", "min": 0}
    columns: dict[str, dict[str, Any]] = {
        "viral_share": {"title": "% Viral", "suffix": "%", "min": 0, "max": 100, "format": "{:,.2f}"},
        "viral_reads": {"title": "Viral", "description": "Reads called Viral", **whole},
        "called_reads": {"title": "Called", "description": "Reads with a call", **whole},
        "checks_failed": {"title": "Failed checks", **whole},
    }
    return {
        "id": "virnucpro_statistics",
        "plot_type": "generalstats",
        "pconfig": [{name: options} for name, options in columns.items()],
        "data": {
            row.drop: row.model_dump(include={*columns}) | {"viral_share": 100 * row.viral_share}
            for row in rows
        },
    }


def _plot(title: str, kind: str, about: str, axes: dict[str, str], data: dict[str, Any]) -> dict[str, Any]:
    """A plot in the section VirNucPro."""
    name = f"virnucpro_{title.partition(' ')[0]}"
    return {
        "id": name,
        "parent_id": "virnucpro",
        "parent_name": "VirNucPro",
        "parent_description": "Viruses in short reads.",
        "section_name": title.capitalize(),
        "description": about,
        "plot_type": kind,
        "pconfig": {"id": f"{name}_plot", "title": f"VirNucPro: {title}", **axes},
        "data": data,
    }


def _reads_by_call(report: DropReport) -> dict[str, int]:
    called = {call: sum(tiers.values()) for call, tiers in report.calls.items()}
    return called | {"no call": report.reads - report.called_reads}


def _shares(scores: Histogram) -> dict[str, float]:
    """The share of each bin, by its lower edge."""
    return {str(edge): count / scores.total for edge, count in zip(scores.edges, scores.counts, strict=False)}
