"""A whole drop in one process, without the orchestrator, and the files that people take away."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.checks.results import (
    CheckResult,
    completeness,
    every_read_accounted_for,
    failure_checks,
    record_check,
    require_pass,
    shard_checks,
)
from virnucpro_assets.drops.disk_space import check_data_root, check_out
from virnucpro_assets.drops.recipes import installed_encoder
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.files.atomic import atomic_file, temporary_folder, write_text
from virnucpro_assets.files.user_paths import check_outputs, is_ours, note_outputs
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.intake.registration import list_drop
from virnucpro_assets.pipeline.call import CALL_FILES, call_drop
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.pipeline.predict import PREDICTION_FILES, predict_drop
from virnucpro_assets.pipeline.report import report_drop
from virnucpro_assets.reports.drop_report import with_links_beside
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import REPORT, DropFolder
from virnucpro_assets.storage.pair_calls import PAIR_CALLS_FILE
from virnucpro_assets.storage.quarantine import QUARANTINE_TABLE
from virnucpro_assets.storage.tables import read_tables
from virnucpro_assets.vocabulary import ENCODER_KINDS

RESULTS = (*PREDICTION_FILES, *CALL_FILES, PAIR_CALLS_FILE, REPORT, QUARANTINE_TABLE)
"""The names of the files that people take away."""


def check_before(out: Path, reads: Iterable[Path], settings: Settings, chunk_length: int | None) -> None:
    """Check before anything is registered what would otherwise fail after hours of embedding.

    Raises InputError if `out` cannot take the results of these files, or a model is not installed, IntegrityError if a
    card is damaged, OSError if the data root cannot be written.
    """
    check_out(out)
    check_outputs(out, RESULTS, reads)
    check_data_root(settings.data_root)
    for kind in ENCODER_KINDS:
        installed_encoder(settings, kind)
    classifiers_in_use(settings, chunk_length or settings.chunk_length)


def run_drop(key: str, settings: Settings, report: Reporter, *, replace: bool = False) -> DropFolder:
    """Do all the work on a registered drop, with the checks between the stages.

    Raises CheckError if a blocking check fails, InsufficientDiskSpaceError before anything is computed that the
    disk cannot hold; what was finished before is kept.
    """
    check_data_root(settings.data_root)
    pool = open_pool(settings)
    list_drop(key, settings)
    work = DropWork.on(key, settings, report)
    index_drop(work)
    _require(work, every_read_accounted_for(work))
    with pool, pool.lease() as lease:
        _embed(work, lease, replace=replace)
    merge_drop(work)
    _require(work, completeness(work))
    predict_drop(work)
    for result in check_precision(work):
        _require(work, result)
    call_drop(work)
    report_drop(work)
    return work.folder


def export_results(folder: DropFolder, out: Path) -> list[Path]:
    """Copy the tables, the hits and the report of a drop into `out`; returns the copies.

    The links of the report's copy lead to the other copies. The tables of pairs and of the quarantine are among them
    where there is one; else a former copy is removed. Raises InputError if `out` holds a file of others under one of
    these names, IntegrityError, before anything is copied, if a table is not what was written.
    """
    check_outputs(out, RESULTS, ())
    read_tables(folder.predictions)
    sources = [folder.predictions / name for name in PREDICTION_FILES]
    calls = read_tables(folder.calls).files
    sources += [folder.calls / name for name in (*CALL_FILES, PAIR_CALLS_FILE) if name in calls]
    with temporary_folder(out, REPORT) as made:
        write_text(made / REPORT, with_links_beside(folder.report.read_text(encoding="utf-8")))
        sources.append(made / REPORT)
        if (folder.quarantine / QUARANTINE_TABLE).exists():
            sources.append(folder.quarantine / QUARANTINE_TABLE)
        for name in {*RESULTS} - {source.name for source in sources}:
            if is_ours(out / name):
                (out / name).unlink()
        note_outputs(out, {source.name: source for source in sources})
        for source in sources:
            with source.open("rb") as content, atomic_file(out / source.name) as copy:
                shutil.copyfileobj(content, copy)
    return [out / source.name for source in sources]


def _embed(work: DropWork, lease: Lease, *, replace: bool) -> None:
    wanted = dict.fromkeys(ENCODER_KINDS, range(work.settings.ranks))
    try:
        for shard in embed_drop(work, wanted, lease, replace=replace):
            for result in shard_checks(shard, work.settings.min_packing_efficiency):
                _require(work, result)
    except EmbeddingError as error:
        for result in failure_checks(error):
            record_check(work.folder.checks, result)
        raise


def _require(work: DropWork, result: CheckResult) -> None:
    require_pass(work.drop.key, record_check(work.folder.checks, result))
