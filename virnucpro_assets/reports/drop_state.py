"""The state of a drop and its reason, from the data on disk and the records of the orchestrator.

A running run comes first: data that it is writing are not judged. Then come errors, and missing data last: of what is
made in part, as between two runs of a drop, the reason is what is made and what is next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from virnucpro_assets.checks.results import CheckError, check_title, sentence
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import (
    BusyError,
    InputError,
    IntegrityError,
    VirnucproError,
    counted,
    describe_os_error,
)
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.intake.open_deliveries import whole_deliveries
from virnucpro_assets.reports.check_pages import gather_checks
from virnucpro_assets.reports.check_report import CheckEntry
from virnucpro_assets.sequences.index_manifest import MANIFEST_FILE as INDEX
from virnucpro_assets.sequences.index_manifest import IndexManifest
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import removed_of
from virnucpro_assets.storage.drops import KEY, DropStore
from virnucpro_assets.storage.merged import MANIFEST as MERGED
from virnucpro_assets.storage.shards import MANIFEST as SHARD
from virnucpro_assets.storage.tables import MANIFEST as TABLES
from virnucpro_assets.storage.tables import TablesManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS

State = Literal["not begun", "unfinished", "running", "failed", "held back", "done"]


@dataclass(frozen=True)
class OnDisk:
    """The state of a drop on disk: what is missing, which checks failed, which records are damaged.

    Each is a phrase, empty if there is nothing. `result` is the path of the results, or says that they were removed.
    A drop is begun if its index is made.
    """

    missing: str = ""
    is_begun: bool = False
    held_back: str = ""
    damaged: str = ""
    result: str = ""


@dataclass(frozen=True)
class OnRecord:
    """The orchestrator's records of a drop: a running run, and the error of its last failed run."""

    running: str = ""
    failed: str = ""
    exit_code: int = VirnucproError.exit_code


@dataclass(frozen=True)
class DropState:
    """The state of a drop, its reason, and the exit code of a command that needs the results."""

    state: State
    reason: str
    exit_code: int


def state_of(disk: OnDisk, record: OnRecord) -> DropState:
    """The state of a drop."""
    if record.running:
        return DropState("running", record.running, BusyError.exit_code)
    if disk.damaged:
        return DropState("failed", disk.damaged, IntegrityError.exit_code)
    if disk.held_back:
        return DropState("held back", disk.held_back, CheckError.exit_code)
    if disk.missing and record.failed:
        return DropState("failed", record.failed, record.exit_code)
    if disk.missing:
        state: State = "unfinished" if disk.is_begun else "not begun"
        return DropState(state, disk.missing, InputError.exit_code)
    later = f"; a later run failed: {record.failed}" if record.failed else ""
    return DropState("done", f"{disk.result}{later}", 0)


def require_done(drop: str, state: DropState) -> None:
    """Raise an error with the reason and the exit code of the state unless the drop is done."""
    if state.state != "done":
        error = VirnucproError(f"drop {drop} is {state.state}: {state.reason}")
        error.exit_code = state.exit_code
        raise error


def state_on_disk(drop: str, settings: Settings) -> OnDisk:
    """The present state of a drop on disk."""
    if not KEY.fullmatch(drop):
        return OnDisk(missing="this is not a valid name of a drop")
    try:
        return _state_on_disk(drop, settings)
    except IntegrityError as error:
        return OnDisk(damaged=str(error))
    except OSError as error:
        return OnDisk(damaged=describe_os_error(error))


def _state_on_disk(drop: str, settings: Settings) -> OnDisk:
    store = DropStore(settings.data_root)
    if not store.is_listed(drop):
        return OnDisk(missing="its files changed" if store.was_listed(drop) else "its files are not listed")
    work = DropWork.on(drop, settings, lambda _: None)
    page = str(work.folder.report.absolute())
    if removed := removed_of(work.folder):
        return OnDisk(result=removed.line if removed.what == "data" else f"{page}; {removed.line}")
    is_training_drop = store.is_training_drop(drop)
    return OnDisk(
        missing=_missing(work, is_training_drop=is_training_drop),
        is_begun=work.folder.is_indexed,
        held_back="; ".join(map(_refusal, gather_checks(work).held_back)),
        result=str((work.folder.path / MERGED).absolute()) if is_training_drop else page,
    )


def missing_drops(settings: Settings, records: Mapping[str, OnRecord]) -> dict[str, DropState]:
    """Drops and deliveries without results, by name; `records` has the orchestrator's records of each.

    Without deliveries that are settling, waiting or refused, drops whose data were cleaned up after their retention
    time, and drops for training.
    """
    store, found = DropStore(settings.data_root), dict[str, DropState]()
    registered = store.keys()
    for key in registered:
        if not _is_training_drop(key, store):
            found[key] = state_of(state_on_disk(key, settings), records.get(key, OnRecord()))
    for key in whole_deliveries(settings):
        if key not in registered:
            found[key] = state_of(OnDisk(missing="it was delivered"), records.get(key, OnRecord()))
    return {key: found[key] for key in sorted(found) if found[key].state != "done"}


def _is_training_drop(key: str, store: DropStore) -> bool:
    try:
        return store.is_training_drop(key)
    except IntegrityError:
        return False


def _missing(work: DropWork, *, is_training_drop: bool) -> str:
    """What is made, and the first step that is missing or incomplete; empty if all are complete."""
    missing = _missing_embeddings(work)
    if missing or is_training_drop:
        return missing
    predictions, calls = work.folder.predictions / TABLES, work.folder.calls / TABLES
    if not predictions.exists():
        return "the embeddings are put together; next: the predictions"
    made_of = read_manifest(calls, TablesManifest).inputs.get("predictions") if calls.exists() else ""
    if made_of != read_manifest(predictions, TablesManifest).digest:
        return "the predictions are made; next: the calls"
    return "" if work.folder.report.exists() else "the calls are made; next: the report"


def _missing_embeddings(work: DropWork) -> str:
    folder = work.folder
    if not folder.is_indexed:
        return "its files are listed; next: the index"
    ranks = read_manifest(folder.index / INDEX, IndexManifest).ranks
    made = {
        kind: sum((folder.shard(kind, rank, ranks) / SHARD).exists() for rank in range(ranks))
        for kind in ENCODER_KINDS
    }
    if not any(made.values()):
        return "the index is made; next: the embeddings"
    if min(made.values()) < ranks:
        parts = ", ".join(f"{kind} {count} of {counted(ranks, 'rank')}" for kind, count in made.items())
        return f"the embeddings are made in part ({parts}); next: the other ranks"
    return "" if (folder.path / MERGED).exists() else "the embeddings are made; next: putting them together"


def _refusal(check: CheckEntry) -> str:
    title = check_title(check.name, check.asset, check.rank)
    return f"check {title}: {sentence(check.name, check.figures, check.threshold)}"
