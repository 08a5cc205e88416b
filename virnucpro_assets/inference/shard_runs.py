"""From an index to finished shards: plan parts, keep those that are there, compute the rest.

Parts of all ranks go into one queue, so that no device waits for another. A shard is
finished, and yielded, as soon as its last part is written; a rank that cannot be finished is
reported at the end and does not stop the others.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import DeviceError, IntegrityError, VirnucproError
from virnucpro_assets.files.digests import check_file
from virnucpro_assets.inference.messages import Advanced, EncoderChoice, Failed, Finished, PartTask, ProbeTask
from virnucpro_assets.inference.plans import expected_flops, plan_parts, tokens_of_rows
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Progress, Reporter
from virnucpro_assets.inference.retries import Retries
from virnucpro_assets.inference.rounds import Died, Event, Work
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.member_names import first_members
from virnucpro_assets.storage.embedding_cache import EmbeddingCache
from virnucpro_assets.storage.incidents import QuarantinedRow
from virnucpro_assets.storage.parts import PartPlan, PartRecord, rows_of
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.shards import (
    ShardManifest,
    finish_shard,
    finished_shard,
    unfinish_shard,
    valid_parts,
)
from virnucpro_assets.storage.telemetry import Telemetry
from virnucpro_assets.vocabulary import EncoderKind, QuarantinePolicy


class EmbeddingError(VirnucproError):
    """Ranks that could not be finished, each with its reason.

    `quarantined` are the rows of a rank that cannot be embedded, where that is the reason, and
    `not_finite` the ranks with rows that are NaN or Inf even in float32.
    """

    def __init__(
        self,
        kind: EncoderKind,
        failures: dict[int, str],
        quarantined: dict[int, list[QuarantinedRow]],
        exit_code: int = VirnucproError.exit_code,
    ) -> None:
        self.failures = failures
        self.exit_code = exit_code
        self.quarantined = quarantined
        self.not_finite = {
            rank for rank, rows in quarantined.items() if any(row.reason == "not_finite" for row in rows)
        }
        reasons = "; ".join(f"{_named(ranks)}: {reason}" for reason, ranks in _by_reason(failures).items())
        super().__init__(f"{kind}: found {len(failures)} ranks that cannot be finished ({reasons})")


@dataclass(frozen=True)
class ShardJob:
    """What to compute: one encoder over some ranks of an index, `folders` by rank.

    `quarantine` decides what becomes of a rank with rows that cannot be embedded. `peak_flops` is the peak rate
    of one device, for telemetry; each measures its own where it is not given. Rows that `cache` holds are taken
    from it.
    """

    index: SequenceIndex
    encoder: EncoderChoice
    recipe: Recipe
    folders: dict[int, Path]
    quarantine: QuarantinePolicy = "fail"
    peak_flops: float | None = None
    cache: EmbeddingCache | None = None


@dataclass
class _Shard:
    rank: int
    folder: Path
    plans: list[PartPlan]
    rows: int
    records: dict[int, PartRecord]
    seconds: float = 0.0
    tokens: int = 0
    telemetry: Telemetry = field(default_factory=Telemetry)
    devices: set[str] = field(default_factory=set)
    failure: str | None = None

    def __post_init__(self) -> None:
        self.reused = len(self.records)

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.plans)

    @property
    def quarantined(self) -> list[QuarantinedRow]:
        return [row for record in self.records.values() for row in record.incidents.quarantined]


def embed_shards(job: ShardJob, lease: Lease, report: Reporter) -> Iterator[ShardManifest]:
    """Compute the shards of a job, yielding each as it is finished.

    Parts that are there already, whole and of the same recipe, are kept; damaged files are set
    aside under a quarantine name, reported and made again. Raises EmbeddingError at the end if some ranks
    could not be finished, IntegrityError if stored parts are of another recipe.
    """
    tokens = tokens_of_rows(job.encoder.kind, job.index)
    shards = {rank: _open_shard(job, rank, tokens[rank :: job.recipe.ranks], report) for rank in job.folders}
    for shard in shards.values():
        if shard.complete:
            yield _finish(job, shard)
    run = _Run(job, shards, tokens, report)
    yield from run.over(lease)
    failures = {rank: shard.failure for rank, shard in shards.items() if shard.failure}
    if failures:
        quarantined = {rank: shards[rank].quarantined for rank in failures if shards[rank].quarantined}
        raise EmbeddingError(job.encoder.kind, failures, quarantined, run.exit_code)


class _Run:
    """One pass over the parts that are missing: what to do with each event of the devices."""

    def __init__(
        self, job: ShardJob, shards: dict[int, _Shard], tokens: npt.NDArray[np.int64], report: Reporter
    ) -> None:
        self._job, self._shards, self._report = job, shards, report
        self.exit_code = VirnucproError.exit_code
        tasks = list(_tasks(job, shards.values()))
        self._queue: deque[Work] = deque(tasks)
        self._retries = Retries(self._queue)
        total = sum(task.plan.stop - task.plan.start for task in tasks)
        rows = [rows_of(task.plan, job.recipe.ranks) for task in tasks]
        self._flops = sum(expected_flops(job.encoder, tokens[of_task]) for of_task in rows)
        self._progress = Progress(job.encoder.kind, "sequences", total, report)
        self._counted: dict[PartPlan, int] = {}

    def over(self, lease: Lease) -> Iterator[ShardManifest]:
        """Compute the parts on the devices of a lease, yielding each shard that is complete."""
        try:
            for event in lease.run(self._queue, self._flops):
                if shard := self._take(event):
                    shard.failure = self._obstacle(shard)
                    if shard.failure is None:
                        yield _finish(self._job, shard)
        except DeviceError as error:
            # What is finished counts; of the rest the caller learns rank by rank.
            self.exit_code = error.exit_code
            for shard in self._shards.values():
                if not shard.complete:
                    shard.failure = shard.failure or str(error)
        self._progress.finish()

    def _take(self, event: Event) -> _Shard | None:
        """Note what happened; the shard that it made complete, if it did."""
        match event.task, event.outcome:
            case PartTask() as task, Advanced() as advanced:
                self._count(task.plan, advanced.sequences)
            case PartTask() as task, Finished(part=PartRecord()) as finished:
                return self._keep(task, finished, str(event.device))
            case PartTask() as task, Failed() as failed:
                self._fail(task.plan.rank, failed)
            case ProbeTask() as probe, Failed() as failed:
                self._retries.give_up(probe.part)
                self._fail(probe.part[0], failed)
            case PartTask() as task, Died() as death:
                self._report(f"{death.reason}; tried again")
                self._give_up(task.plan.rank, self._retries.part_died(task, death))
            case ProbeTask() as probe, Finished():
                self._give_up(probe.part[0], self._retries.probe_ended(probe, None))
            case ProbeTask() as probe, Died() as death:
                self._report(f"{death.reason}; looking for the sequence that ends it")
                self._give_up(probe.part[0], self._retries.probe_ended(probe, death))
            case None, str() as message:
                self._report(message)
        return None

    def _keep(self, task: PartTask, finished: Finished, device: str) -> _Shard | None:
        shard, record = self._shards[task.plan.rank], finished.part
        if record is None:
            raise TypeError(f"{task.label}: finished without a record")
        self._count(task.plan, task.plan.stop - task.plan.start)
        shard.records[task.plan.number] = record
        seconds = finished.waited_for_input + finished.seconds + finished.waited
        shard.seconds += seconds
        shard.telemetry += Telemetry(
            sequences=task.plan.stop - task.plan.start - record.cached,
            flops=finished.flops,
            possible_flops=finished.peak_flops * seconds,
            loading=finished.loading,
            waited_for_input=finished.waited_for_input,
            waited_for_output=finished.waited,
            peak_memory=finished.peak_memory,
        )
        shard.tokens += record.counts.tokens
        shard.devices.add(device)
        for line in finished.said:
            self._report(line)
        return shard if shard.complete else None

    def _count(self, plan: PartPlan, sequences: int) -> None:
        """Count what is done of a part, and nothing twice where it is done again."""
        before = self._counted.get(plan, 0)
        self._counted[plan] = min(before + sequences, plan.stop - plan.start)
        self._progress.advance(self._counted[plan] - before)

    def _obstacle(self, shard: _Shard) -> str | None:
        """Why a shard with all of its parts cannot be finished even so, or None."""
        if self._job.quarantine == "fail" and shard.quarantined:
            return _explain(self._job.index, shard.quarantined)
        try:
            for record in shard.records.values():
                check_file(shard.folder / record.name, record.file, content=False)
        except IntegrityError as error:
            # Its folder was emptied, or its disk went, since they were written.
            return str(error)
        return None

    def _fail(self, rank: int, failed: Failed) -> None:
        self._give_up(rank, failed.reason)
        if failed.storage:
            # Whatever else is computed cannot be written either.
            self._queue.clear()
            for other in self._shards.values():
                if not other.complete:
                    self._give_up(other.rank, failed.reason)

    def _give_up(self, rank: int, reason: str | None) -> None:
        if reason is not None and self._shards[rank].failure is None:
            self._shards[rank].failure = reason


def _open_shard(job: ShardJob, rank: int, tokens: npt.NDArray[np.int64], report: Reporter) -> _Shard:
    kind, recipe, folder = job.encoder.kind, job.recipe, job.folders[rank]
    plans = plan_parts(tokens, rank, recipe.token_budget, recipe.packs_per_part)
    folder.mkdir(parents=True, exist_ok=True)
    records, quarantined = valid_parts(folder, plans, recipe, keep_quarantined=job.quarantine == "not_scored")
    for path in quarantined:
        report(f"{kind} rank {rank}: a damaged file was set aside as {path} and is made again")
    shard = _Shard(rank, folder, plans, len(tokens), records)
    if not shard.complete:
        unfinish_shard(folder)
    elif former := finished_shard(folder):
        # Nothing is left to compute: what is known of the computing stays known.
        shard.seconds, shard.tokens = former.seconds, former.computed_tokens
        shard.telemetry = former.telemetry
        shard.devices = set(former.devices)
    return shard


def _tasks(job: ShardJob, shards: Iterable[_Shard]) -> Iterator[PartTask]:
    for shard in shards:
        for plan in shard.plans:
            if plan.number not in shard.records:
                yield PartTask(
                    encoder=job.encoder,
                    index=job.index.folder,
                    plan=plan,
                    recipe=job.recipe,
                    target=shard.folder / plan.file_name,
                    peak_flops=job.peak_flops,
                    cache=job.cache,
                )


def _finish(job: ShardJob, shard: _Shard) -> ShardManifest:
    manifest = ShardManifest(
        rank=shard.rank,
        rows=shard.rows,
        width=job.encoder.width,
        recipe=job.recipe,
        parts=[shard.records[plan.number] for plan in shard.plans],
        seconds=shard.seconds,
        computed_tokens=shard.tokens,
        telemetry=shard.telemetry,
        reused_parts=shard.reused,
        devices=sorted(shard.devices),
    )
    return finish_shard(shard.folder, manifest)


def _by_reason(failures: dict[int, str]) -> dict[str, list[int]]:
    ranks: dict[str, list[int]] = {}
    for rank, reason in sorted(failures.items()):
        ranks.setdefault(reason, []).append(rank)
    return ranks


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _explain(index: SequenceIndex, rows: list[QuarantinedRow]) -> str:
    first = min(rows, key=lambda quarantined: quarantined.row)
    name = first_members(index, [first.row])[first.row]
    return (
        f"{len(rows)} sequences cannot be embedded; the first is {name}, row {first.row} of the index: "
        f"{first.reason}"
    )
