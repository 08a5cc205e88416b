"""The fifth stage of a drop: calls per chunk and per read or contig, and the hits."""

from functools import partial

import numpy as np

from virnucpro_assets.calling.calls import call_members
from virnucpro_assets.calling.drop_errors import DropErrors
from virnucpro_assets.calling.region_tables import REGION_FILES, write_regions
from virnucpro_assets.calling.routing import check_scored_by, classifiers_in_use
from virnucpro_assets.checks.gate import require_passed, subjects_of_predictions
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.pipeline.predict import demo_note, score_files, scored_members
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.storage.call_tables import (
    CHUNK_CALLS_FILE,
    CONSENSUS_FILE,
    CONTIG_CALLS_FILE,
    READ_CALLS_FILE,
    write_calls,
)
from virnucpro_assets.storage.calls import CALLS, VIRAL
from virnucpro_assets.storage.hits import HITS_FILE, write_hits
from virnucpro_assets.storage.tables_manifest import TablesManifest, read_tables, write_tables_manifest

READS_BY_ROUTE = "called reads scored by"
"""Before the name of a route: what the calls' manifest counts."""

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
        scores = [
            np.load(work.folder.predictions / name, mmap_mode="r", allow_pickle=False)
            for name in score_files(routing)
        ]
        errors = DropErrors.of(
            routing,
            scored_members(work, routing, scores),
            index.manifest.reads,
            work.settings.expected_viral_share,
        )
        wanted = work.settings.calls.wanted_fdr
        by = routing.scored_by if wanted is None else errors.thresholds(wanted)
        summary = write_calls(
            scored_members(work, routing, scores),
            index.read_batches(),
            folder,
            partial(call_members, thresholds=work.settings.calls, by=by),
            by,
            note=note,
            q_values=errors.q_values,
        )
        wrong = errors.expected_wrong(folder / READ_CALLS_FILE)
        regions = write_regions(
            folder / READ_CALLS_FILE,
            folder / CHUNK_CALLS_FILE,
            folder,
            chunk_length=index.manifest.chunk_length,
            rules=work.settings.regions,
        )
        work.drop.check_files()
        chosen = work.drop.source.min_score
        min_score = work.settings.min_score if chosen is None else chosen
        hits = write_hits(
            read_batches(work.drop.read_files),
            folder / READ_CALLS_FILE,
            folder / HITS_FILE,
            min_score=min_score,
            note=note,
        )
        figures.update({"reads": summary.reads, "hits": hits})
        figures.update({"expected false calls": "unknown" if wrong is None else round(wrong, 3)})
        counts = {
            "reads": summary.reads,
            "called_reads": summary.called_reads,
            "chunks": summary.chunks,
            "virus_chunks": summary.virus_chunks,
            "viral_reads": sum(summary.calls[CALLS[VIRAL]].values()),
            "hits": hits,
            "regions": regions,
            "not_scored_members": predictions.counts["not_scored"],
            "not_scored_reads": summary.reasons.get("not_scored", 0),
        }
        counts |= {f"{call}, {tier}": n for call, tiers in summary.calls.items() for tier, n in tiers.items()}
        counts |= {f"{READS_BY_ROUTE} {route}": count for route, count in summary.routes.items()}
        inputs = {**predictions.inputs, "predictions": predictions.digest, "min_score": str(min_score)}
        inputs |= routing.inputs_of_calls
        if wanted is not None:
            inputs["wanted false discovery rate"] = str(wanted)
        return write_tables_manifest(folder, CALL_FILES, inputs, counts)
