"""From an index to finished shards: plan parts, keep those that are there, compute the rest.

The missing parts of all ranks and encoders go into one queue, one encoder after the other, so that no device
waits for another: one that finds no part of the first encoder left goes on with the second. A shard is finished,
and yielded, as soon as its last part is written. A shard that cannot be finished is reported at the end and does not
stop the others.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import DeviceError, IntegrityError, VirnucproError
from virnucpro_assets.files.digests import check_file
from virnucpro_assets.inference.messages import (
    EncoderChoice,
    Failed,
    Finished,
    PackDone,
    PartKey,
    PartTask,
    ProbeTask,
)
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
    ShardKey,
    ShardManifest,
    finish_shard,
    finished_shard,
    unfinish_shard,
    valid_parts,
)
from virnucpro_assets.storage.telemetry import Telemetry
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind, QuarantinePolicy


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
    job: ShardJob
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
    missing_flops: int = 0

    def __post_init__(self) -> None:
        self.reused = len(self.records)

    @property
    def key(self) -> ShardKey:
        return self.job.encoder.kind, self.rank

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.plans)

    @property
    def missing(self) -> list[PartPlan]:
        return [plan for plan in self.plans if plan.number not in self.records]

    @property
    def quarantined(self) -> list[QuarantinedRow]:
        return [row for record in self.records.values() for row in record.incidents.quarantined]


def embed_shards(jobs: Sequence[ShardJob], lease: Lease, report: Reporter) -> Iterator[ShardManifest]:
    """Compute the shards of jobs of different encoders, in this order, yielding each as it is finished.

    Parts that are there already, whole and of the same recipe, are kept; damaged files are set
    aside under a quarantine name, reported and made again. Raises EmbeddingError at the end if some shards
    could not be finished, IntegrityError if stored parts are of another recipe.
    """
    shards = [shard for job in jobs for shard in _open_shards(job, report)]
    for shard in shards:
        if shard.complete:
            yield _finish(shard)
    run = _Run(shards, report)
    yield from run.over(lease)
    failures = {shard.key: shard.failure for shard in shards if shard.failure}
    if failures:
        quarantined = {
            shard.key: shard.quarantined for shard in shards if shard.failure and shard.quarantined
        }
        raise EmbeddingError(failures, quarantined, run.exit_code)


class _Run:
    """One pass over the parts that are missing: what to do with each event of the devices."""

    def __init__(self, shards: Sequence[_Shard], report: Reporter) -> None:
        self._shards = {shard.key: shard for shard in shards}
        self._report = report
        self.exit_code = VirnucproError.exit_code
        tasks = _tasks(shards)
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
                    shard.failure = _obstacle(shard)
                    if shard.failure is None:
                        yield _finish(shard)
        except DeviceError as error:
            # What is finished counts; of the rest the caller learns rank by rank.
            self.exit_code = error.exit_code
            for shard in self._shards.values():
                if not shard.complete:
                    shard.failure = shard.failure or str(error)
        for kind, total in self._totals.items():
            progress = self._progress_of(kind)
            if not total or progress.done < total:
                progress.finish()

    def _take(self, event: Event) -> _Shard | None:
        """Note what happened; the shard that it made complete, if it did."""
        match event.task, event.outcome:
            case PartTask() as task, PackDone() as done:
                self._count(task, done.sequences)
            case PartTask() as task, Finished(part=PartRecord()) as finished:
                return self._keep(task, finished, str(event.device))
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

    def _keep(self, task: PartTask, finished: Finished, device: str) -> _Shard | None:
        shard, record = self._shards[task.key[:2]], finished.part
        if record is None:
            raise TypeError(f"{task.label}: finished without a record")
        self._count(task, task.plan.stop - task.plan.start)
        shard.records[task.plan.number] = record
        seconds = finished.input_stall_seconds + finished.seconds + finished.output_stall_seconds
        shard.seconds += seconds
        shard.telemetry += Telemetry(
            sequences=task.plan.stop - task.plan.start - record.cached,
            flops=finished.flops,
            possible_flops=finished.peak_flops * seconds,
            loading=finished.loading_seconds,
            waited_for_input=finished.input_stall_seconds,
            waited_for_output=finished.output_stall_seconds,
            peak_memory=finished.peak_memory,
        )
        shard.tokens += record.counts.tokens
        shard.devices.add(device)
        for line in finished.warnings:
            self._report(line)
        return shard if shard.complete else None

    def _count(self, task: PartTask, sequences: int) -> None:
        """Count what is done of a part, and nothing twice where it is done again."""
        progress, before = self._progress_of(task.encoder.kind), self._counted.get(task.key, 0)
        self._counted[task.key] = min(before + sequences, task.plan.stop - task.plan.start)
        progress.advance(self._counted[task.key] - before)
        if progress.done == progress.total and self._counted[task.key] > before:
            progress.finish()

    def _progress_of(self, kind: EncoderKind) -> Progress:
        """The progress of an encoder, whose time counts from its first event."""
        if kind not in self._progress:
            self._progress[kind] = Progress(kind, "sequences", self._totals[kind], self._report)
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


def _open_shards(job: ShardJob, report: Reporter) -> Iterator[_Shard]:
    tokens = tokens_of_rows(job.encoder.kind, job.index)
    for rank in job.folders:
        shard = _open_shard(job, rank, tokens[rank :: job.recipe.ranks], report)
        for plan in shard.missing:
            shard.missing_flops += expected_flops(job.encoder, tokens[rows_of(plan, job.recipe.ranks)])
        yield shard


def _open_shard(job: ShardJob, rank: int, tokens: npt.NDArray[np.int64], report: Reporter) -> _Shard:
    kind, recipe, folder = job.encoder.kind, job.recipe, job.folders[rank]
    plans = plan_parts(tokens, rank, recipe.token_budget, recipe.packs_per_part)
    folder.mkdir(parents=True, exist_ok=True)
    records, quarantined = valid_parts(folder, plans, recipe, keep_quarantined=job.quarantine == "not_scored")
    for path in quarantined:
        report(f"{kind} rank {rank}: a damaged file was set aside as {path} and is made again")
    shard = _Shard(job, rank, folder, plans, len(tokens), records)
    if not shard.complete:
        unfinish_shard(folder)
    elif former := finished_shard(folder):
        # Nothing is left to compute: what is known of the computing stays known.
        shard.seconds, shard.tokens = former.seconds, former.computed_tokens
        shard.telemetry = former.telemetry
        shard.devices = set(former.devices)
    return shard


def _tasks(shards: Sequence[_Shard]) -> list[PartTask]:
    """The missing parts, in the order of the shards; each names the encoder that is needed after its own."""
    encoders = list(dict.fromkeys(shard.job.encoder for shard in shards if shard.missing))
    following = dict(pairwise([*encoders, None]))
    return [
        PartTask(
            encoder=shard.job.encoder,
            index=shard.job.index.folder,
            plan=plan,
            recipe=shard.job.recipe,
            target=shard.folder / plan.file_name,
            peak_flops=shard.job.peak_flops,
            cache=shard.job.cache,
            next_encoder=following[shard.job.encoder],
        )
        for shard in shards
        for plan in shard.missing
    ]


def _obstacle(shard: _Shard) -> str | None:
    """Why a shard with all of its parts cannot be finished even so, or None."""
    if shard.job.quarantine == "fail" and shard.quarantined:
        return _explain(shard.job.index, shard.quarantined)
    try:
        for record in shard.records.values():
            check_file(shard.folder / record.name, record.file, content=False)
    except IntegrityError as error:
        # Its folder was emptied, or its disk went, since they were written.
        return str(error)
    return None


def _finish(shard: _Shard) -> ShardManifest:
    manifest = ShardManifest(
        rank=shard.rank,
        rows=shard.rows,
        width=shard.job.encoder.width,
        recipe=shard.job.recipe,
        parts=[shard.records[plan.number] for plan in shard.plans],
        seconds=shard.seconds,
        computed_tokens=shard.tokens,
        telemetry=shard.telemetry,
        reused_parts=shard.reused,
        devices=sorted(shard.devices),
    )
    return finish_shard(shard.folder, manifest)


def _failure_line(kind: EncoderKind, failures: Mapping[int, str]) -> str:
    ranks: dict[str, list[int]] = {}
    for rank, reason in sorted(failures.items()):
        ranks.setdefault(reason, []).append(rank)
    reasons = "; ".join(
        f"rank{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}: {reason}"
        for reason, of in ranks.items()
    )
    return f"{kind}: found {len(failures)} ranks that cannot be finished ({reasons})"


def _explain(index: SequenceIndex, rows: list[QuarantinedRow]) -> str:
    first = min(rows, key=lambda quarantined: quarantined.row)
    name = first_members(index, [first.row])[first.row]
    return (
        f"{len(rows)} sequences cannot be embedded; the first is {name}, row {first.row} of the index: "
        f"{first.reason}"
    )
