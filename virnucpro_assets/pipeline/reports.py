"""The last stage of a drop: its report, gathered from what the stages left."""

from collections.abc import Iterator

from virnucpro_assets import __version__
from virnucpro_assets.errors import InputError
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.models.cards import read_card
from virnucpro_assets.pipeline.checks import CheckResult, read_checks
from virnucpro_assets.pipeline.demo_truth import evaluate_demo
from virnucpro_assets.pipeline.stages import StageRecord, read_stages
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.report import drop_figures
from virnucpro_assets.report.drop_report import (
    CheckFigures,
    DropReport,
    ModelFigures,
    RankFigures,
    StageFigures,
    render_report,
)
from virnucpro_assets.report.histograms import LengthCounter
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, READ_CALLS_FILE
from virnucpro_assets.storage.calls import CALLS, TIERS
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.storage.tables_manifest import read_tables
from virnucpro_assets.vocabulary import ENCODER_KINDS

STAGE_ORDER = ("index", "dnabert_s", "esm2", "merge", "predictions", "precision_checks", "calls")


def report_drop(work: DropWork) -> DropReport:
    """Gather the figures of a drop and write its page; returns the figures."""
    report = gather_report(work)
    write_text(work.folder.report, render_report(report))
    return report


def gather_report(work: DropWork) -> DropReport:
    """The figures of a drop whose calls are made."""
    index, settings = work.index.manifest, work.settings
    tables = read_tables(work.folder.calls)
    chunk_calls, read_calls = work.folder.calls / CHUNK_CALLS_FILE, work.folder.calls / READ_CALLS_FILE
    protein_lengths = LengthCounter()
    protein_lengths.add(work.index.protein_lengths())
    return DropReport(
        drop=work.drop.key,
        generation=work.drop.generation,
        made_by=f"virnucpro-assets {__version__}",
        settings={
            "chunk length": index.chunk_length,
            "ranks": index.ranks,
            "precision": settings.precision,
            "token budget of a pack": settings.token_budget,
            "packs of a part": settings.packs_per_part,
            "repeated names": work.drop.source.duplicates,
        },
        models=list(_models(work)),
        reads=index.reads,
        bases=index.bases,
        chunks=tables.counts["chunks"],
        virus_chunks=tables.counts["virus_chunks"],
        candidates=index.members,
        unique_candidates=index.rows,
        renamed=index.renamed,
        reasons=index.reasons,
        calls={call: {tier: tables.counts[f"{call}, {tier}"] for tier in TIERS} for call in CALLS},
        hits=tables.counts["hits"],
        stages=list(_stages(work)),
        ranks=[_rank(shard) for shard in _shards(work)],
        checks=[_check(result) for result in read_checks(work.folder.checks)],
        scores=drop_figures.chunk_scores(chunk_calls),
        read_lengths=drop_figures.read_lengths(read_calls),
        protein_lengths=protein_lengths.histogram(),
        top_calls=drop_figures.top_calls(read_calls),
        evaluation=evaluate_demo(work.drop, read_calls),
    )


def summary_lines(key: str, settings: Settings) -> Iterator[str]:
    """What the terminal says of a drop whose report is made."""
    work = DropWork.on(key, settings, lambda _: None)
    if not work.folder.report.exists():
        raise InputError(
            f"drop {key}",
            found="no report yet",
            expected="a finished drop",
            advice=f"Run `virnucpro materialize {key}`.",
        )
    report = gather_report(work)
    yield f"drop {report.drop}, generation {report.generation}"
    yield f"{report.reads:,} reads, {report.candidates:,} stop-free frames, {report.unique_candidates:,} distinct"
    for reason, count in report.reasons.items():
        if count:
            yield f"{count:,} reads without a candidate: {reason}"
    for call, tiers in report.calls.items():
        counts = ", ".join(f"{count:,} {tier}" for tier, count in tiers.items() if count)
        yield f"{call}: {sum(tiers.values()):,}" + (f" ({counts})" if counts else "")
    yield f"{report.hits:,} hits in {work.folder.calls / 'hits.fasta'}"
    if report.evaluation:
        found = report.evaluation
        yield (
            f"AUROC {found.auroc:.3f} (95 % interval {found.low:.3f} to {found.high:.3f}; {found.detail}); "
            f"{found.baseline_name} alone {found.baseline:.3f}"
        )
    failed = [check for check in report.checks if not check.passed]
    yield f"{len(report.checks) - len(failed)} of {len(report.checks)} checks passed"
    for check in failed:
        yield f"check {check.name} of {check.asset} {check.partition} failed: {check.figures}"
    for model in report.models:
        if model.note:
            yield f"note: {model.note}"
    yield f"report: {work.folder.report.absolute()}"


def _models(work: DropWork) -> Iterator[ModelFigures]:
    for kind in ENCODER_KINDS:
        encoder = work.encoders[kind]
        yield ModelFigures(role=kind, name=encoder.folder.name, digest=encoder.digest)
    folder = work.settings.classifier_folder(work.index.manifest.chunk_length)
    made_from = read_tables(work.folder.predictions).inputs
    yield ModelFigures(
        role="classifier", name=folder.name, digest=made_from["classifier"], note=read_card(folder).note
    )


def _stages(work: DropWork) -> Iterator[StageFigures]:
    records = read_stages(work.folder.stages)
    for name in STAGE_ORDER:
        if name in records:
            yield StageFigures(name=name, seconds=records[name].seconds, detail=_detail(records[name]))


def _detail(record: StageRecord) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in record.figures.items()
    )


def _shards(work: DropWork) -> Iterator[ShardManifest]:
    ranks = work.index.manifest.ranks
    for kind in ENCODER_KINDS:
        for rank in range(ranks):
            yield read_shard(work.folder.shard(kind, rank, ranks))


def _rank(shard: ShardManifest) -> RankFigures:
    return RankFigures(
        encoder=shard.recipe.encoder,
        rank=shard.rank,
        rows=shard.rows,
        tokens=shard.counts.tokens,
        tokens_per_second=shard.tokens_per_second,
        packing_efficiency=shard.counts.efficiency(shard.recipe.token_budget),
        device=", ".join(shard.devices) or "none",
    )


def _check(result: CheckResult) -> CheckFigures:
    return CheckFigures(
        name=result.name,
        asset=result.asset,
        partition="" if result.rank is None else f"rank {result.rank}",
        passed=result.passed,
        figures=result.figures,
        threshold=result.threshold,
    )
