"""The fifth stage of a drop: calls per chunk and per read or contig, and the hits."""

from functools import partial

import numpy as np

from virnucpro_assets.calling.calls import call_members
from virnucpro_assets.calling.error_rates import ErrorRates
from virnucpro_assets.calling.region_tables import REGION_FILES, write_regions
from virnucpro_assets.calling.routing import (
    EXPECTED_FALSE,
    EXPECTED_SHARE,
    LOW_COMPLEXITY,
    READS_BY_ROUTE,
    REGION_RULES,
    WANTED_FDR,
    Routing,
    check_scored_by,
    classifiers_in_use,
)
from virnucpro_assets.checks.gate import require_passed, subjects_of_predictions
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.pipeline.predict import demo_note, score_files, scored_members
from virnucpro_assets.sequences.complexity import DustScores
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.settings_groups import LOW_COMPLEXITY_ABOVE, RegionRules
from virnucpro_assets.storage.call_tables import (
    CHUNK_CALLS_FILE,
    CONSENSUS_FILE,
    CONTIG_CALLS_FILE,
    READ_CALLS_FILE,
    write_calls,
)
from virnucpro_assets.storage.calls import CALLS, VIRAL, CallSummary
from virnucpro_assets.storage.hits import HITS_FILE, write_hits
from virnucpro_assets.storage.pair_calls import PAIR_CALLS_FILE, write_pair_calls
from virnucpro_assets.storage.tables import TablesManifest, read_tables, write_tables_manifest

CALL_FILES = (
    CONSENSUS_FILE,
    CONTIG_CALLS_FILE,
    CHUNK_CALLS_FILE,
    READ_CALLS_FILE,
    HITS_FILE,
    *REGION_FILES,
)


def call_drop(work: DropWork) -> TablesManifest:
    """Write the calls per chunk and per read or contig, and the hits as FASTA.

    A read is called on the candidates that have scores. One that has candidates but none with a
    score gets no call and the reason `not_scored`, and is in neither of VirNucPro's text files.

    Raises IntegrityError if the predictions are of another index or by other classifiers, or a file of
    the drop changed since it was listed; InputError as `classifiers_in_use` does; CheckError if a check of
    the predictions, or of what they were made from, holds them back.
    """
    index, folder = work.index, work.folder.calls
    with stage_lock(work, "calls"), recorded_stage(work.folder.stages, "calls") as figures:
        predictions = read_tables(work.folder.predictions)
        if predictions.inputs["index"] != index.manifest.digest:
            raise IntegrityError(
                work.folder.predictions,
                found=f"predictions of index {predictions.inputs['index']}",
                expected=f"{index.manifest.digest}",
                advice="Materialise predictions again.",
            )
        routing = classifiers_in_use(work.settings, index.manifest.chunk_length, index.manifest)
        check_scored_by(work.folder.predictions, predictions, routing)
        require_passed(work, subjects_of_predictions(predictions))
        note = demo_note(work, routing)
        work.drop.check_files()
        rates, tables = _write_tables(work, predictions, routing, note)
        hits = _write_hits(work, note)
        figures.update({"reads": tables.reads, "hits": hits})
        wrong = rates.expected_wrong(folder / READ_CALLS_FILE)
        figures[EXPECTED_FALSE] = "unknown" if wrong is None else round(wrong, 3)
        regions = write_regions(
            folder / READ_CALLS_FILE,
            folder / CHUNK_CALLS_FILE,
            folder,
            chunk_length=index.manifest.chunk_length,
            rules=work.settings.regions,
        )
        counts = _counts(tables, predictions) | {"hits": hits, "regions": regions}
        files = list(CALL_FILES)
        if _is_per_pair(work):
            files.append(PAIR_CALLS_FILE)
            counts["pairs"] = write_pair_calls(folder / READ_CALLS_FILE, folder / PAIR_CALLS_FILE)
        else:
            (folder / PAIR_CALLS_FILE).unlink(missing_ok=True)
        inputs = {**predictions.inputs, "predictions": predictions.digest, **_inputs_of_settings(work)}
        return write_tables_manifest(folder, files, inputs | routing.inputs_of_calls, counts)


def _write_tables(
    work: DropWork, predictions: TablesManifest, routing: Routing, note: str
) -> tuple[ErrorRates, CallSummary]:
    """Write the calls of chunks and reads; returns the error rates of the drop and the counts."""
    index, settings = work.index, work.settings
    scores = [
        np.load(work.folder.predictions / name, mmap_mode="r", allow_pickle=False)
        for name in score_files(routing)
    ]
    rates = ErrorRates.of(
        routing,
        scored_members(work, routing, scores),
        index.manifest.reads,
        settings.expected_viral_share,
    )
    wanted = settings.calls.wanted_fdr
    by = routing.scored_by if wanted is None else rates.with_thresholds(wanted)
    summary = write_calls(
        scored_members(work, routing, scores),
        index.read_batches(),
        work.folder.calls,
        partial(call_members, thresholds=settings.calls, by=by),
        DustScores(read_batches(work.drop.read_files), index.manifest.chunk_length).take,
        by=by,
        note=note,
        q_values=rates.q_values,
        low_complexity_above=settings.low_complexity_above,
    )
    return rates, summary


def _write_hits(work: DropWork, note: str) -> int:
    """Write the hits from the drop's own files; returns how many there are."""
    return write_hits(
        read_batches(work.drop.read_files),
        work.folder.calls / READ_CALLS_FILE,
        work.folder.calls / HITS_FILE,
        min_score=_min_score(work),
        note=note,
    )


def _min_score(work: DropWork) -> float:
    chosen = work.drop.source.min_score
    return work.settings.min_score if chosen is None else chosen


def _is_per_pair(work: DropWork) -> bool:
    return work.settings.per_pair or work.drop.source.per_pair


def _counts(tables: CallSummary, predictions: TablesManifest) -> dict[str, int]:
    counts = {
        "reads": tables.reads,
        "called_reads": tables.called_reads,
        "chunks": tables.chunks,
        "virus_chunks": tables.virus_chunks,
        "viral_reads": sum(tables.calls[CALLS[VIRAL]].values()),
        "not_scored_members": predictions.counts["not_scored"],
        "not_scored_reads": tables.reasons.get("not_scored", 0),
    }
    counts |= {f"{call}, {tier}": n for call, tiers in tables.calls.items() for tier, n in tiers.items()}
    return counts | {f"{READS_BY_ROUTE} {route}": count for route, count in tables.routes.items()}


def _inputs_of_settings(work: DropWork) -> dict[str, str]:
    """What the settings decide about calls, by name; what is off or the default is left out."""
    settings, found = work.settings, {"min_score": str(_min_score(work))}
    if _is_per_pair(work):
        found[PAIR_CALLS_FILE] = "written"
    if settings.calls.wanted_fdr is not None:
        found[WANTED_FDR] = str(settings.calls.wanted_fdr)
    if settings.expected_viral_share is not None:
        found[EXPECTED_SHARE] = str(settings.expected_viral_share)
    if settings.low_complexity_above != LOW_COMPLEXITY_ABOVE:
        found[LOW_COMPLEXITY] = str(settings.low_complexity_above)
    if settings.regions != RegionRules():
        found[REGION_RULES] = settings.regions.model_dump_json()
    return found
