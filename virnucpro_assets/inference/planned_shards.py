"""A shard from its plan to its manifest: which parts are there, which are missing, and how those were computed.

A shard is opened from an index and a recipe, which give the plan of its parts. Valid parts are kept; the missing ones
become tasks for devices, and what these report is added. With all parts there it is finished, unless an obstacle is in
the way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError, counted
from virnucpro_assets.files.digests import check_file
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.messages import Finished, PartTask
from virnucpro_assets.inference.plans import expected_flops, plan_parts, tokens_of_rows
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.sequences.index import SequenceIndex, first_members
from virnucpro_assets.storage.embedding_cache import EmbeddingCache
from virnucpro_assets.storage.parts import PartPlan, PartRecord, rows_of
from virnucpro_assets.storage.provenance import QuarantinedRow, Recipe, Telemetry
from virnucpro_assets.storage.shards import (
    ShardKey,
    ShardManifest,
    finish_shard,
    finished_shard,
    unfinish_shard,
    valid_parts,
)
from virnucpro_assets.vocabulary import QuarantinePolicy


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
class PlannedShard:
    """One rank of a job: its planned parts, the records of those that are written, and the figures of this run.

    `reused` parts were there when it was opened; `missing_flops` are the operations of the others. `seconds`, `tokens`,
    `telemetry` and `devices` describe the run that computed any of it last.
    """

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

    def add(self, plan: PartPlan, record: PartRecord, finished: Finished, device: str) -> None:
        """Add a part that `device` has computed and written, with its figures."""
        self.records[plan.number] = record
        seconds = finished.input_stall_seconds + finished.seconds + finished.output_stall_seconds
        self.seconds += seconds
        self.telemetry += Telemetry(
            sequences=plan.stop - plan.start - record.cached,
            flops=finished.flops,
            possible_flops=finished.peak_flops * seconds,
            loading=finished.loading_seconds,
            waited_for_input=finished.input_stall_seconds,
            waited_for_output=finished.output_stall_seconds,
            peak_memory=finished.peak_memory,
        )
        self.tokens += record.counts.tokens
        self.devices.add(device)

    def obstacle(self) -> str | None:
        """Why the shard cannot be finished although all of its parts were written, or None."""
        if self.job.quarantine == "fail" and self.quarantined:
            return _explain(self.job.index, self.quarantined)
        try:
            for record in self.records.values():
                check_file(self.folder / record.name, record.file, content=False)
        except IntegrityError as error:
            # Its folder was emptied, or its disk was lost, since they were written.
            return str(error)
        return None

    def finish(self) -> ShardManifest:
        """Write the view over its parts and its manifest, and return the manifest."""
        manifest = ShardManifest(
            rank=self.rank,
            rows=self.rows,
            width=self.job.encoder.width,
            recipe=self.job.recipe,
            parts=[self.records[plan.number] for plan in self.plans],
            seconds=self.seconds,
            computed_tokens=self.tokens,
            telemetry=self.telemetry,
            reused_parts=self.reused,
            devices=sorted(self.devices),
        )
        return finish_shard(self.folder, manifest)


def open_shards(job: ShardJob, report: Reporter) -> Iterator[PlannedShard]:
    """The shards of a job, one after the other; `report` is called with a line for each damaged file.

    Damaged files are set aside under a quarantine name. Raises IntegrityError if stored parts are of another recipe.
    """
    tokens = tokens_of_rows(job.encoder.kind, job.index)
    for rank in job.folders:
        shard = _open_shard(job, rank, tokens[rank :: job.recipe.ranks], report)
        for plan in shard.missing:
            shard.missing_flops += expected_flops(job.encoder, tokens[rows_of(plan, job.recipe.ranks)])
        yield shard


def _open_shard(job: ShardJob, rank: int, tokens: npt.NDArray[np.int64], report: Reporter) -> PlannedShard:
    kind, recipe, folder = job.encoder.kind, job.recipe, job.folders[rank]
    plans = plan_parts(tokens, rank, recipe.token_budget, recipe.packs_per_part)
    folder.mkdir(parents=True, exist_ok=True)
    records, quarantined = valid_parts(folder, plans, recipe, keep_quarantined=job.quarantine == "not_scored")
    for path in quarantined:
        report(f"{kind} rank {rank}: a damaged file was set aside as {path} and is made again")
    shard = PlannedShard(job, rank, folder, plans, len(tokens), records)
    if not shard.complete:
        unfinish_shard(folder)
    elif former := finished_shard(folder):
        # Nothing is left to compute: the figures of the run that computed it stay.
        shard.seconds, shard.tokens = former.seconds, former.computed_tokens
        shard.telemetry = former.telemetry
        shard.devices = set(former.devices)
    return shard


def part_tasks(shards: Sequence[PlannedShard]) -> list[PartTask]:
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


def _explain(index: SequenceIndex, rows: list[QuarantinedRow]) -> str:
    first = min(rows, key=lambda quarantined: quarantined.row)
    name = first_members(index, [first.row])[first.row]
    return (
        f"{counted(len(rows), 'sequence')} cannot be embedded; the first is {name}, row {first.row} of the index: "
        f"{first.reason}"
    )
