"""From an index to finished shards: plan parts, keep those that are there, compute the rest.

The missing parts of all ranks and encoders go into one queue, one encoder after the other, so that no device
waits for another: one that finds no part of the first encoder left goes on with the second. A shard is finished,
and yielded, as soon as its last part is written. A shard that cannot be finished is reported at the end and does not
stop the others.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from virnucpro_assets.errors import DeviceError, VirnucproError, counted
from virnucpro_assets.inference.messages import Failed, Finished, PackDone, PartKey, PartTask, ProbeTask
from virnucpro_assets.inference.planned_shards import PlannedShard, ShardJob, open_shards, part_tasks
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Progress, Reporter
from virnucpro_assets.inference.retries import Retries
from virnucpro_assets.inference.rounds import Died, Event, Work
from virnucpro_assets.storage.parts import PartRecord
from virnucpro_assets.storage.provenance import QuarantinedRow
from virnucpro_assets.storage.shards import ShardKey, ShardManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind


class EmbeddingError(VirnucproError):
    """Shards that could not be finished, each with its reason.

    `quarantined` are the rows of a shard that cannot be embedded, where that is the reason, and
    `not_finite` the shards with rows that are NaN or Inf even in float32.
    """

    def __init__(
        self,
        failures: dict[ShardKey, str],
        quarantined: dict[ShardKey, list[QuarantinedRow]],
        exit_code: int = VirnucproError.exit_code,
    ) -> None:
        self.failures = failures
        self.exit_code = exit_code
        self.quarantined = quarantined
        self.not_finite = {
            shard for shard, rows in quarantined.items() if any(row.reason == "not_finite" for row in rows)
        }
        by_kind = [(kind, self.ranks_of(kind)) for kind in ENCODER_KINDS]
        super().__init__("; ".join(_failure_line(kind, ranks) for kind, ranks in by_kind if ranks))

    def ranks_of(self, kind: EncoderKind) -> dict[int, str]:
        """The ranks of an encoder that could not be finished, each with its reason."""
        return {rank: reason for (of, rank), reason in self.failures.items() if of == kind}


def embed_shards(jobs: Sequence[ShardJob], lease: Lease, report: Reporter) -> Iterator[ShardManifest]:
    """Compute the shards of jobs of different encoders, in this order, yielding each as it is finished.

    Parts that are there already, whole and of the same recipe, are kept; damaged files are set
    aside under a quarantine name, reported and made again. Raises EmbeddingError at the end if some shards
    could not be finished, IntegrityError if stored parts are of another recipe.
    """
    shards = [shard for job in jobs for shard in open_shards(job, report)]
    for shard in shards:
        if shard.complete:
            yield shard.finish()
    run = _ShardRun(shards, report)
    yield from run.over(lease)
    failures = {shard.key: shard.failure for shard in shards if shard.failure}
    if failures:
        quarantined = {
            shard.key: shard.quarantined for shard in shards if shard.failure and shard.quarantined
        }
        raise EmbeddingError(failures, quarantined, run.exit_code)


class _ShardRun:
    """One pass over the missing parts: what to do with each event of the devices."""

    def __init__(self, shards: Sequence[PlannedShard], report: Reporter) -> None:
        self._shards = {shard.key: shard for shard in shards}
        self._report = report
        self.exit_code = VirnucproError.exit_code
        tasks = part_tasks(shards)
        self._queue: deque[Work] = deque(tasks)
        self._retries = Retries(self._queue)
        self._flops = sum(shard.missing_flops for shard in shards)
        self._totals = {kind: 0 for kind, _ in self._shards}
        for task in tasks:
            self._totals[task.encoder.kind] += task.plan.stop - task.plan.start
        self._progress: dict[EncoderKind, Progress] = {}
        self._counted: dict[PartKey, int] = {}

    def over(self, lease: Lease) -> Iterator[ShardManifest]:
        """Compute the parts on the devices of a lease, yielding each shard that is complete."""
        try:
            for event in lease.run(self._queue, self._flops):
                if shard := self._take(event):
                    shard.failure = shard.obstacle()
                    if shard.failure is None:
                        yield shard.finish()
        except DeviceError as error:
            # Finished shards stay; the caller gets the reason for each of the other ranks.
            self.exit_code = error.exit_code
            for shard in self._shards.values():
                if not shard.complete:
                    shard.failure = shard.failure or str(error)
        for kind, total in self._totals.items():
            progress = self._progress_of(kind)
            if not total or progress.done < total:
                progress.finish()

    def _take(self, event: Event) -> PlannedShard | None:
        """Record an event; returns the shard that it completed, or None."""
        match event.task, event.outcome:
            case PartTask() as task, PackDone() as done:
                self._count(task, done.sequences)
            case PartTask() as task, Finished(part=PartRecord() as record) as finished:
                return self._keep(task, record, finished, str(event.device))
            case PartTask() as task, Failed() as failed:
                self._fail(task.key[:2], failed)
            case ProbeTask() as probe, Failed() as failed:
                self._retries.give_up(probe.part)
                self._fail(probe.part[:2], failed)
            case PartTask() as task, Died() as death:
                self._report(f"{death.reason}; tried again")
                self._give_up(task.key[:2], self._retries.part_died(task, death))
            case ProbeTask() as probe, Finished():
                self._give_up(probe.part[:2], self._retries.probe_ended(probe, None))
            case ProbeTask() as probe, Died() as death:
                self._report(f"{death.reason}; looking for the sequence that ends it")
                self._give_up(probe.part[:2], self._retries.probe_ended(probe, death))
            case None, str() as message:
                self._report(message)
        return None

    def _keep(
        self, task: PartTask, record: PartRecord, finished: Finished, device: str
    ) -> PlannedShard | None:
        shard = self._shards[task.key[:2]]
        self._count(task, task.plan.stop - task.plan.start)
        shard.add(task.plan, record, finished, device)
        for line in finished.warnings:
            self._report(line)
        return shard if shard.complete else None

    def _count(self, task: PartTask, sequences: int) -> None:
        """Count the sequences of a part that are done, each once even if the part is computed again."""
        progress, before = self._progress_of(task.encoder.kind), self._counted.get(task.key, 0)
        self._counted[task.key] = min(before + sequences, task.plan.stop - task.plan.start)
        progress.advance(self._counted[task.key] - before)
        if progress.done == progress.total and self._counted[task.key] > before:
            progress.finish()

    def _progress_of(self, kind: EncoderKind) -> Progress:
        """The progress of an encoder, whose time counts from its first event."""
        if kind not in self._progress:
            self._progress[kind] = Progress(kind, "sequence", self._totals[kind], self._report)
        return self._progress[kind]

    def _fail(self, key: ShardKey, failed: Failed) -> None:
        self._give_up(key, failed.reason)
        if failed.storage:
            # Whatever else is computed cannot be written either.
            self._queue.clear()
            for other in self._shards.values():
                if not other.complete:
                    self._give_up(other.key, failed.reason)

    def _give_up(self, key: ShardKey, reason: str | None) -> None:
        if reason is not None and self._shards[key].failure is None:
            self._shards[key].failure = reason


def _failure_line(kind: EncoderKind, failures: Mapping[int, str]) -> str:
    ranks: dict[str, list[int]] = {}
    for rank, reason in sorted(failures.items()):
        ranks.setdefault(reason, []).append(rank)
    reasons = "; ".join(
        f"rank{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}: {reason}"
        for reason, of in ranks.items()
    )
    return f"{kind}: found {counted(len(failures), 'rank')} that cannot be finished ({reasons})"
