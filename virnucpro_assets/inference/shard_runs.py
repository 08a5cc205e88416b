"""From an index to finished shards: plan parts, keep those that are there, compute the rest.

Parts of all ranks go into one queue, so that no device waits for another. A shard is
finished, and yielded, as soon as its last part is written; a rank that cannot be finished is
reported at the end and does not stop the others.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.inference.messages import Advanced, EncoderChoice, Failed, Finished, PartTask
from virnucpro_assets.inference.plans import expected_tokens, plan_parts
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Progress, Reporter
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.member_names import first_members
from virnucpro_assets.storage.parts import PartPlan, PartRecord
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.shards import (
    ShardManifest,
    finish_shard,
    finished_shard,
    unfinish_shard,
    valid_parts,
)


class EmbeddingError(VirnucproError):
    """Ranks that could not be finished, each with its reason, and which of them for NaN or Inf."""

    def __init__(self, kind: str, failures: dict[int, str], not_finite: set[int]) -> None:
        self.failures = failures
        self.not_finite = not_finite
        reasons = "; ".join(f"rank {rank}: {reason}" for rank, reason in sorted(failures.items()))
        super().__init__(f"{kind}: found {len(failures)} ranks that cannot be finished ({reasons})")


@dataclass(frozen=True)
class ShardJob:
    """What to compute: one encoder over some ranks of an index, `folders` by rank."""

    index: SequenceIndex
    encoder: EncoderChoice
    recipe: Recipe
    folders: dict[int, Path]


@dataclass
class _Shard:
    rank: int
    folder: Path
    plans: list[PartPlan]
    rows: int
    records: dict[int, PartRecord]
    seconds: float = 0.0
    tokens: int = 0
    devices: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reused = len(self.records)

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.plans)


def embed_shards(job: ShardJob, lease: Lease, report: Reporter) -> Iterator[ShardManifest]:
    """Compute the shards of a job, yielding each as it is finished.

    Parts that are there already, whole and of the same recipe, are kept; damaged ones are set
    aside under a quarantine name and reported. Raises EmbeddingError at the end if some ranks
    could not be finished, IntegrityError if stored parts are of another recipe.
    """
    shards = {rank: _open_shard(job, rank, report) for rank in job.folders}
    for shard in shards.values():
        if shard.complete:
            yield _finish(job, shard)
    tasks = list(_tasks(job, shards.values()))
    total = sum(task.plan.stop - task.plan.start for task in tasks)
    progress = Progress(job.encoder.kind, "sequences", total, report)
    failed: dict[int, Failed] = {}
    for task, device, outcome in lease.run(tasks):
        if not isinstance(task, PartTask):
            raise TypeError(f"{task!r} is no part")
        shard = shards[task.plan.rank]
        match outcome:
            case Advanced():
                progress.advance(outcome.sequences)
            case Failed():
                # One of each rank: to name a row costs a pass over the members, and all parts may fail.
                failed.setdefault(shard.rank, outcome)
            case Finished(part=PartRecord() as record):
                shard.records[task.plan.number] = record
                shard.seconds += outcome.seconds
                shard.tokens += record.counts.tokens
                shard.devices.add(str(device))
                if shard.complete:
                    yield _finish(job, shard)
    progress.finish()
    if failed:
        failures = {rank: _explain(job.index, outcome) for rank, outcome in failed.items()}
        not_finite = {rank for rank, outcome in failed.items() if outcome.rows}
        raise EmbeddingError(job.encoder.kind, failures, not_finite)


def _open_shard(job: ShardJob, rank: int, report: Reporter) -> _Shard:
    kind, recipe, folder = job.encoder.kind, job.recipe, job.folders[rank]
    lengths = job.index.nucleotide_lengths() if kind == "dnabert_s" else job.index.protein_lengths()
    tokens = expected_tokens(kind, lengths[rank :: recipe.ranks])
    plans = plan_parts(tokens, rank, recipe.token_budget, recipe.packs_per_part)
    folder.mkdir(parents=True, exist_ok=True)
    records, quarantined = valid_parts(folder, plans, recipe, keep_quarantined=False)
    for path in quarantined:
        report(f"{kind} rank {rank}: a damaged part was set aside as {path} and is computed again")
    shard = _Shard(rank, folder, plans, len(tokens), records)
    if not shard.complete:
        unfinish_shard(folder)
    elif former := finished_shard(folder):
        # Nothing is left to compute: what is known of the computing stays known.
        shard.seconds, shard.tokens = former.seconds, former.computed_tokens
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
        reused_parts=shard.reused,
        devices=sorted(shard.devices),
    )
    finish_shard(shard.folder, manifest)
    return manifest


def _explain(index: SequenceIndex, failure: Failed) -> str:
    if not failure.rows:
        return failure.reason
    first = failure.rows[0]
    return f"{failure.reason}; the first is {first_members(index, [first])[first]}, row {first} of the index"
