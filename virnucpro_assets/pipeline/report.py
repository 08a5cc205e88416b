"""The last stage of a drop: its report, gathered from what the stages left."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from virnucpro_assets import __version__
from virnucpro_assets.calling.routing import DEFAULT, DNA_ONLY_BELOW, SHORT, THRESHOLD, WITHOUT_OPEN_FRAME
from virnucpro_assets.checks.gate import require_passed, subjects_of_calls
from virnucpro_assets.checks.quarantine import named_rows
from virnucpro_assets.checks.results import check_title, read_checks, remedy, sentence
from virnucpro_assets.demo.recognise import demo_line
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import StageRecord, read_stages
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.models.cards import read_card
from virnucpro_assets.pipeline.call import READS_BY_ROUTE
from virnucpro_assets.reports import drop_figures
from virnucpro_assets.reports.drop_figures import evaluate_demo
from virnucpro_assets.reports.drop_report import (
    DropReport,
    InputFigures,
    ModelFigures,
    QuarantinedFigures,
    RankFigures,
    StageFigures,
    render_report,
)
from virnucpro_assets.reports.histograms import LengthCounter
from virnucpro_assets.reports.pages import REASON_IN_WORDS, counted
from virnucpro_assets.reports.summary import summary_row
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, READ_CALLS_FILE
from virnucpro_assets.storage.calls import CALLS, TIERS
from virnucpro_assets.storage.drops import DropManifest
from virnucpro_assets.storage.quarantine import QUARANTINE_IN_WORDS, TABLE
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.removed import removed_of
from virnucpro_assets.storage.shards import MANIFEST as SHARD
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.storage.tables_manifest import MANIFEST as TABLES
from virnucpro_assets.storage.tables_manifest import TablesManifest, read_tables
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

WORDS_OF_FIGURES = {
    "members": "candidates",
    "rows": "distinct candidates",
    "virus": "candidates more likely virus",
    "not_scored": "not scored",
}
QUARANTINE_SHOWN = 20
INPUTS_SHOWN = 20
STAGE_ORDER = (
    "index",
    "dnabert_s",
    "esm2",
    "check_sample",
    "merge",
    "predictions",
    "precision_checks",
    "calls",
)


def report_drop(work: DropWork) -> DropReport:
    """Gather the figures of a drop and write its page, and those of the ranks as JSON lines; returns the figures.

    Raises CheckError if a check of what the calls were made from holds them back.
    """
    with stage_lock(work, "report"):
        require_passed(work, subjects_of_calls(read_manifest(work.folder.calls / TABLES, TablesManifest)))
        report = gather_report(work)
        write_text(work.folder.report, render_report(report))
        lines = (rank.model_dump_json() + "\n" for rank in report.ranks)
        write_text(work.folder.telemetry, "".join(lines))
    return report


def gather_report(work: DropWork) -> DropReport:
    """The figures of a drop whose calls are made.

    Raises IntegrityError if its index or its embeddings are no longer those of the calls.
    """
    index, tables = work.index.manifest, read_tables(work.folder.calls)
    if tables.inputs["index"] != index.digest:
        raise IntegrityError(
            work.folder.calls,
            found=f"calls of index {tables.inputs['index']}",
            expected=f"{index.digest}",
            advice="Materialise the embeddings, predictions and virus_calls again.",
        )
    shards = list(_shards(work, tables))
    recipes = {shard.recipe.encoder: shard.recipe for shard in shards}
    recipe = recipes["esm2"]
    chunk_calls, read_calls = work.folder.calls / CHUNK_CALLS_FILE, work.folder.calls / READ_CALLS_FILE
    protein_lengths = LengthCounter()
    protein_lengths.add(work.index.protein_lengths()[: index.rows_with_protein])
    return DropReport(
        drop=work.drop.key,
        generation=work.drop.generation,
        made_by=f"virnucpro-assets {__version__}",
        made_at=_made_at(work),
        inputs=_inputs(work.drop),
        inputs_not_shown=max(0, len(work.drop.records) - INPUTS_SHOWN),
        settings={
            "chunk length": index.chunk_length,
            "ranks": index.ranks,
            "P(virus) that a hit needs": tables.inputs["min_score"],
            "precision": recipe.precision,
            "token budget of a pack": _budgets(recipes),
            "packs of a part": recipe.packs_per_part,
            "repeated names": work.drop.source.duplicates,
            **_settings_of_scores(work, tables),
        },
        models=list(_models(work, recipes, tables)),
        reads=index.reads,
        bases=index.bases,
        chunks=tables.counts["chunks"],
        virus_chunks=tables.counts["virus_chunks"],
        candidates=index.members,
        unique_candidates=index.rows,
        reads_without_open_frame=index.whole_chunks.reads if index.whole_chunks else 0,
        whole_chunks=index.whole_chunks.members if index.whole_chunks else 0,
        remarks=index.remarks,
        reasons=index.reasons | {"not_scored": tables.counts["not_scored_reads"]},
        quarantined=sum(len(shard.incidents.quarantined) for shard in shards),
        quarantine=list(_quarantine(work, shards)),
        not_scored_candidates=tables.counts["not_scored_members"],
        calls={call: {tier: tables.counts[f"{call}, {tier}"] for tier in TIERS} for call in CALLS},
        routes=_routes(tables),
        hits=tables.counts["hits"],
        stages=list(_stages(work)),
        ranks=[_rank(shard) for shard in shards],
        checks=read_checks(work.folder.checks, subjects_of_calls(tables)),
        scores=drop_figures.chunk_scores(chunk_calls),
        read_lengths=drop_figures.read_lengths(read_calls),
        protein_lengths=protein_lengths.histogram(),
        top_calls=drop_figures.top_calls(read_calls),
        evaluation=evaluate_demo(work.drop, read_calls),
    )


def _made_at(work: DropWork) -> str:
    """When the calls were made, from the record of their stage, so that a page that is made again is the same."""
    record = read_stages(work.folder.stages).get("calls")
    return f"{record.ended_at:%Y-%m-%d %H:%M} UTC" if record and record.ended_at else ""


def _inputs(drop: DropManifest) -> list[InputFigures]:
    files = zip(drop.source.files, drop.records, strict=True)
    return [
        InputFigures(name=file.path.name, size=record.size, digest=record.sha256)
        for file, record in list(files)[:INPUTS_SHOWN]
    ]


def summary_fields(key: str, settings: Settings) -> dict[str, Any]:
    """The same as `summary_lines` for programs: the fields of a row of `virnucpro summary`, and some more."""
    work, report = _finished(key, settings)
    return summary_row(report).model_dump() | {
        "calls": report.calls,
        "reads_without_call": {reason: count for reason, count in report.reasons.items() if count},
        "checks_not_passed": [
            check_title(check.name, check.asset, check.rank) for check in report.checks if not check.passed
        ],
        "warning": _warning(work),
        "report": str(work.folder.report.absolute()),
    }


def _finished(key: str, settings: Settings) -> tuple[DropWork, DropReport]:
    """A drop whose report is made, and its figures; InputError for any other."""
    work = DropWork.on(key, settings, lambda _: None)
    removed = removed_of(work.folder)
    if not work.folder.report.exists():
        raise InputError(
            f"drop {key}",
            found=removed.line if removed else "no report yet",
            expected="a finished drop",
            advice=f"Run `virnucpro materialize {key}`.",
        )
    return work, gather_report(work)


def _warning(work: DropWork) -> str:
    """Which of the models in use are the demo's; empty if none is."""
    return demo_line(work.settings.model_folders(work.drop.source.chunk_length))


def summary_lines(key: str, settings: Settings) -> Iterator[str]:
    """What the terminal says of a drop whose report is made."""
    work, report = _finished(key, settings)
    removed = removed_of(work.folder)
    yield f"drop {report.drop}, generation {report.generation}"
    candidates = counted(report.candidates - report.whole_chunks, "stop-free frame")
    if report.reads_without_open_frame:
        without = counted(report.reads_without_open_frame, "read")
        candidates += f" and {counted(report.whole_chunks, 'whole chunk')} of {without} without any"
    yield f"{counted(report.reads, 'read')}, {candidates}, {report.unique_candidates:,} distinct"
    yield from _lines_of_calls(report)
    if report.quarantined:
        yield f"{counted(report.quarantined, 'sequence')} could not be embedded: {work.folder.quarantine / TABLE}"
    yield f"{counted(report.hits, 'hit')} in {work.folder.calls / 'hits.fasta'}"
    if report.evaluation:
        found = report.evaluation
        yield (
            f"AUROC {found.auroc:.3f} (95 % interval {found.low:.3f} to {found.high:.3f}; {found.detail}); "
            f"{found.baseline_name} alone {found.baseline:.3f}"
        )
    yield from _lines_of_checks(report)
    for remark in report.remarks:
        yield f"note: {remark}"
    warning = _warning(work)
    for note in () if warning else dict.fromkeys(model.note for model in report.models if model.note):
        yield f"note: {note}"
    if removed:
        yield f"note: {removed.line}; `virnucpro materialize {key}` computes them again"
    if warning:
        yield f"warning: {warning}"
    yield f"report: {work.folder.report.absolute()}"


def _lines_of_calls(report: DropReport) -> Iterator[str]:
    for reason, count in report.reasons.items():
        if count:
            yield f"{counted(count, 'read')} without a call: {REASON_IN_WORDS.get(reason, reason)}"
    for call, tiers in report.calls.items():
        counts = ", ".join(f"{count:,} {tier.replace('_', ' ')}" for tier, count in tiers.items() if count)
        yield f"{call}: {sum(tiers.values()):,}" + (f" ({counts})" if counts else "")
    if report.routes:
        yield "scored by " + ", ".join(f"{name}: {counted(n, 'read')}" for name, n in report.routes.items())


def _lines_of_checks(report: DropReport) -> Iterator[str]:
    failed = [check for check in report.checks if not check.passed]
    yield (
        f"{len(report.checks) - len(failed)} of {len(report.checks)} checks passed"
        if report.checks
        else f"no check has looked at these results; run `virnucpro materialize {report.drop}`"
    )
    for check in failed:
        found = sentence(check.name, check.figures, check.threshold)
        title = check_title(check.name, check.asset, check.rank)
        yield f"check {title}: {found}; then: {remedy(check.name, report.drop)}"


def _models(
    work: DropWork, recipes: Mapping[EncoderKind, Recipe], tables: TablesManifest
) -> Iterator[ModelFigures]:
    for kind in ENCODER_KINDS:
        folder = work.settings.encoder_folder(kind)
        yield ModelFigures(role=kind, name=folder.name, digest=recipes[kind].weights_digest)
    length = work.index.manifest.chunk_length
    folders = {
        DEFAULT: work.settings.classifier_folder(length),
        SHORT: work.settings.dna_classifier_folder(length),
        WITHOUT_OPEN_FRAME: work.settings.dna_classifier_folder(length),
    }
    for role, folder in folders.items():
        if role in tables.inputs:
            note = read_card(folder).note
            yield ModelFigures(role=role, name=folder.name, digest=tables.inputs[role], note=note)


def _budgets(recipes: Mapping[EncoderKind, Recipe]) -> int | str:
    """The token budget of both encoders, or that of each where they differ."""
    budgets = {kind: recipe.token_budget for kind, recipe in recipes.items()}
    if len(set(budgets.values())) == 1:
        return next(iter(budgets.values()))
    return ", ".join(f"{kind} {budget}" for kind, budget in sorted(budgets.items()))


def _settings_of_scores(work: DropWork, tables: TablesManifest) -> dict[str, str | int | float]:
    """What was other than by default: a classifier for short reads, a wanted precision."""
    found: dict[str, str | int | float] = {}
    if DNA_ONLY_BELOW in tables.inputs:
        found["bases below which a read is scored by its DNA"] = int(tables.inputs[DNA_ONLY_BELOW])
    leasts = {name: value for name, value in tables.inputs.items() if name.startswith(THRESHOLD)}
    if leasts and work.settings.calls.wanted_precision is not None:
        found["wanted precision"] = work.settings.calls.wanted_precision
    return found | {name: float(value) for name, value in leasts.items()}


def _routes(tables: TablesManifest) -> dict[str, int]:
    """Called reads by what scored them, where there is more than one way."""
    if not {SHORT, WITHOUT_OPEN_FRAME} & set(tables.inputs):
        return {}
    prefix = f"{READS_BY_ROUTE} "
    return {name.removeprefix(prefix): n for name, n in tables.counts.items() if name.startswith(prefix)}


def _stages(work: DropWork) -> Iterator[StageFigures]:
    records = read_stages(work.folder.stages)
    for name in STAGE_ORDER:
        if name in records:
            yield StageFigures(name=name, seconds=records[name].seconds, detail=_detail(records[name]))


def _detail(record: StageRecord) -> str:
    return ", ".join(
        f"{WORDS_OF_FIGURES.get(name, name)} {value:,}"
        if isinstance(value, int)
        else f"{WORDS_OF_FIGURES.get(name, name)} {value}"
        for name, value in record.figures.items()
    )


def _shards(work: DropWork, tables: TablesManifest) -> Iterator[ShardManifest]:
    ranks = work.index.manifest.ranks
    is_removed = removed_of(work.folder) is not None
    for kind in ENCODER_KINDS:
        expected = tables.inputs[f"recipe of {kind}"]
        for rank in range(ranks):
            folder = work.folder.shard(kind, rank, ranks)
            # Of embeddings that were cleaned up the manifests are left, with all figures.
            shard = read_manifest(folder / SHARD, ShardManifest) if is_removed else read_shard(folder)
            if shard.recipe.digest != expected:
                raise IntegrityError(
                    folder,
                    found=f"embeddings of recipe {shard.recipe.digest}",
                    expected=f"{expected}, which the calls were made from",
                    advice="Materialise merged_embeddings, predictions and virus_calls again.",
                )
            yield shard


def _quarantine(work: DropWork, shards: Sequence[ShardManifest]) -> Iterator[QuarantinedFigures]:
    """The first rows that cannot be embedded. Which they are the shards say, also if their table is gone."""
    found = [(shard.recipe.encoder, row) for shard in shards for row in shard.incidents.quarantined]
    shown = found[:QUARANTINE_SHOWN]
    for kind in ENCODER_KINDS:
        for entry in named_rows(work.index, [row for encoder, row in shown if encoder == kind]):
            yield QuarantinedFigures(
                name=entry.first_member,
                members=entry.members,
                row=entry.row,
                encoder=kind,
                reason=QUARANTINE_IN_WORDS[entry.reason],
            )


def _rank(shard: ShardManifest) -> RankFigures:
    return RankFigures(
        encoder=shard.recipe.encoder,
        rank=shard.rank,
        rows=shard.rows,
        tokens=shard.counts.tokens,
        tokens_per_second=shard.tokens_per_second,
        packing_efficiency=shard.counts.efficiency(shard.recipe.token_budget),
        device=", ".join(shard.devices) or "none",
        sequences_per_second=shard.sequences_per_second,
        mfu=shard.telemetry.mfu,
        waited_for_input=shard.telemetry.waited_for_input,
        waited_for_output=shard.telemetry.waited_for_output,
        memory_mib=shard.telemetry.peak_memory >> 20,
        cached_rows=shard.cached_rows if shard.recipe.cached else None,
    )
