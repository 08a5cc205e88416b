"""The figures of a drop's report, gathered from what its stages left."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from virnucpro_assets import __version__
from virnucpro_assets.calling.region_tables import REGIONS_FILE
from virnucpro_assets.calling.routing import (
    CALIBRATION,
    DEFAULT,
    DNA_ONLY_BELOW,
    EXPECTED_FALSE,
    EXPECTED_SHARE,
    LOW_COMPLEXITY,
    REGION_RULES,
    SHORT,
    THRESHOLD,
    WANTED_FDR,
    WITHOUT_OPEN_FRAME,
    reads_by_route,
)
from virnucpro_assets.checks.gate import subjects_of_calls
from virnucpro_assets.checks.quarantine import named_rows
from virnucpro_assets.checks.results import read_checks
from virnucpro_assets.drops.stage_records import StageRecord, read_stages
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.models.cards import read_card
from virnucpro_assets.reports import drop_figures
from virnucpro_assets.reports.drop_figures import evaluate_demo
from virnucpro_assets.reports.drop_report import (
    DropReport,
    InputFigures,
    ModelFigures,
    QuarantinedFigures,
    RankFigures,
    StageFigures,
)
from virnucpro_assets.reports.histograms import LengthCounter
from virnucpro_assets.reports.tracks import strongest_tracks
from virnucpro_assets.settings_groups import LOW_COMPLEXITY_ABOVE, RegionRules
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, READ_CALLS_FILE
from virnucpro_assets.storage.calls import CALLS, TIERS
from virnucpro_assets.storage.drop_folders import removed_of
from virnucpro_assets.storage.drops import DropManifest
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.storage.quarantine import QUARANTINE_IN_WORDS
from virnucpro_assets.storage.shards import SHARD_MANIFEST, ShardManifest, read_shard
from virnucpro_assets.storage.tables import TablesManifest, read_tables
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
    return DropReport(
        drop=work.drop.key,
        generation=work.drop.generation,
        made_by=f"virnucpro-assets {__version__}",
        made_at=_made_at(work),
        inputs=_inputs(work.drop),
        inputs_not_shown=max(0, len(work.drop.records) - INPUTS_SHOWN),
        settings=_settings(work, recipes, tables),
        models=list(_models(work, recipes, tables)),
        **_figures_of_index(work),
        **_figures_of_calls(work, tables),
        quarantined=sum(len(shard.incidents.quarantined) for shard in shards),
        quarantine=list(_quarantine(work, shards)),
        stages=list(_stages(work)),
        ranks=[_rank(shard) for shard in shards],
        checks=read_checks(work.folder.checks, subjects_of_calls(tables)),
    )


def _figures_of_index(work: DropWork) -> dict[str, Any]:
    index = work.index.manifest
    protein_lengths = LengthCounter()
    protein_lengths.add(work.index.protein_lengths()[: index.rows_with_protein])
    return {
        "reads": index.reads,
        "bases": index.bases,
        "candidates": index.members,
        "unique_candidates": index.rows,
        "reads_without_open_frame": index.whole_chunks.reads if index.whole_chunks else 0,
        "whole_chunks": index.whole_chunks.members if index.whole_chunks else 0,
        "remarks": index.remarks,
        "protein_lengths": protein_lengths.histogram(),
    }


def _figures_of_calls(work: DropWork, tables: TablesManifest) -> dict[str, Any]:
    index, counts = work.index.manifest, tables.counts
    chunk_calls, read_calls = work.folder.calls / CHUNK_CALLS_FILE, work.folder.calls / READ_CALLS_FILE
    rules = RegionRules.model_validate_json(tables.inputs.get(REGION_RULES, "{}"))
    low_complexity_above = float(tables.inputs.get(LOW_COMPLEXITY, LOW_COMPLEXITY_ABOVE))
    return {
        "chunks": counts["chunks"],
        "virus_chunks": counts["virus_chunks"],
        "reasons": index.reasons | {"not_scored": counts["not_scored_reads"]},
        "not_scored_candidates": counts["not_scored_members"],
        "calls": {call: {tier: counts[f"{call}, {tier}"] for tier in TIERS} for call in CALLS},
        "routes": _routes(tables),
        "hits": counts["hits"],
        "pairs": counts.get("pairs", 0),
        "expected_false_calls": _expected_false_calls(work),
        "assumed_viral_share": _assumed_viral_share(work, tables),
        "is_share_set": EXPECTED_SHARE in tables.inputs,
        "uncalibrated": _uncalibrated(work, tables),
        "q_values": drop_figures.q_values(read_calls),
        "low_complexity": drop_figures.low_complexity(read_calls, low_complexity_above),
        "tracks": strongest_tracks(
            work.folder.calls / REGIONS_FILE,
            chunk_calls,
            chunk_length=index.chunk_length,
            smoothing_chunks=rules.smoothing_chunks,
        ),
        "scores": drop_figures.chunk_scores(chunk_calls),
        "read_lengths": drop_figures.read_lengths(read_calls),
        "top_calls": drop_figures.top_calls(read_calls),
        "evaluation": evaluate_demo(work.drop, read_calls),
    }


def _settings(
    work: DropWork, recipes: Mapping[EncoderKind, Recipe], tables: TablesManifest
) -> dict[str, str | int | float]:
    index, recipe = work.index.manifest, recipes["esm2"]
    return {
        "chunk length": index.chunk_length,
        "ranks": index.ranks,
        "P(virus) that a hit needs": tables.inputs["min_score"],
        "precision": recipe.precision,
        "token budget of a pack": _budgets(recipes),
        "packs of a part": recipe.packs_per_part,
        "repeated names": work.drop.source.duplicates,
        **_settings_of_scores(work, tables),
    }


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


def _models(
    work: DropWork, recipes: Mapping[EncoderKind, Recipe], tables: TablesManifest
) -> Iterator[ModelFigures]:
    for kind in ENCODER_KINDS:
        folder = work.settings.encoder_folder(kind)
        yield ModelFigures(role=kind, name=folder.name, digest=recipes[kind].weights_digest)
    for role, folder in _classifiers(work, tables).items():
        note = read_card(folder).note
        yield ModelFigures(role=role, name=folder.name, digest=tables.inputs[role], note=note)


def _classifiers(work: DropWork, tables: TablesManifest) -> dict[str, Path]:
    """The folders of the classifiers that scored reads of a drop, by role."""
    length = work.index.manifest.chunk_length
    folders = {
        DEFAULT: work.settings.classifier_folder(length),
        SHORT: work.settings.classifier_folder(length, "dna"),
        WITHOUT_OPEN_FRAME: work.settings.classifier_folder(length, "dna"),
    }
    return {role: folder for role, folder in folders.items() if role in tables.inputs}


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
    leasts |= {name: tables.inputs[name] for name in (WANTED_FDR, EXPECTED_SHARE) if name in tables.inputs}
    return found | {name: float(value) for name, value in leasts.items()}


def _expected_false_calls(work: DropWork) -> float | None:
    record = read_stages(work.folder.stages).get("calls")
    found = record.figures.get(EXPECTED_FALSE) if record else None
    return found if isinstance(found, float) else None


def _assumed_viral_share(work: DropWork, tables: TablesManifest) -> float | None:
    """The share of viruses that q-values assume: that of the settings, or of the default classifier's calibration."""
    if EXPECTED_SHARE in tables.inputs:
        return float(tables.inputs[EXPECTED_SHARE])
    calibration = read_card(_classifiers(work, tables)[DEFAULT]).calibration
    return calibration.virus_share if calibration else None


def _uncalibrated(work: DropWork, tables: TablesManifest) -> list[str]:
    """The names of the classifiers of a drop that have no calibration."""
    found = _classifiers(work, tables).items()
    return list(dict.fromkeys(f.name for role, f in found if f"{CALIBRATION} {role}" not in tables.inputs))


def _routes(tables: TablesManifest) -> dict[str, int]:
    """Called reads by what scored them, where there is more than one way."""
    has_several = bool({SHORT, WITHOUT_OPEN_FRAME} & set(tables.inputs))
    return reads_by_route(tables.counts) if has_several else {}


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
            shard = (
                read_manifest(folder / SHARD_MANIFEST, ShardManifest) if is_removed else read_shard(folder)
            )
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
