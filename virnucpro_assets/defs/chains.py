"""Assets by drop: everything but the embeddings, each asset a link of a chain.

A chain is one step that makes its assets for every drop of its run. A run may cover any drops
and any of the assets, as the UI, a range or a backfill asked for them. Each drop goes through
the whole chain before the next one begins; what is made of it is recorded at once, with a
version, inputs, metadata and checks of its own. A drop that fails goes no further, nor does one
that a blocking check does not let pass; the next drops go on, and the step fails in the end with
a line for each drop that failed.

It is one step, and not one an asset, because what follows a failed step is skipped for all
drops of the run, also for those that are in order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, hold_back, record_check
from virnucpro_assets.defs.classifier import ASSET as CLASSIFIER
from virnucpro_assets.defs.classifier import record_in_use
from virnucpro_assets.defs.executors import step_tags
from virnucpro_assets.defs.failures import DropFailures
from virnucpro_assets.defs.metadata import Metadata
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.process_runs import mark_worker
from virnucpro_assets.defs.records import (
    EarlierTries,
    Event,
    evaluation,
    input_tags,
    latest_record,
    materialisation,
)
from virnucpro_assets.drops.recipes import EncoderChoices
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.settings import Settings


@dataclass(frozen=True)
class Turn:
    """A drop's turn in a chain: what its links need to know. `pool` is there if the chain has devices.

    It is bound to the generation of the drop that is the current one when `work` is first asked for.
    """

    drop: str
    settings: Settings
    report: Reporter
    encoders: EncoderChoices
    pool: DevicePool | None = None

    @cached_property
    def work(self) -> DropWork:
        """The work on the generation of the drop."""
        return DropWork.on(self.drop, self.settings, self.report, self.encoders)


@dataclass(frozen=True)
class Made:
    """What a link made of a drop: the digest of its content, and what is shown of it."""

    digest: str
    metadata: Metadata


@dataclass(frozen=True)
class Link:
    """An asset by drop: its description, how it is made of one drop, and how that is checked.

    `verify` gives a result for each of `checks`; one that blocks and does not pass ends the turn.
    A link that is made `always` is made at the end of the turn, however it ended.
    """

    spec: dg.AssetSpec
    make: Callable[[Turn], Made]
    checks: Sequence[dg.AssetCheckSpec] = ()
    verify: Callable[[Turn], Iterable[CheckResult]] | None = None
    always: bool = False

    @property
    def asset(self) -> str:
        return self.spec.key.to_user_string()


def chain(
    name: str,
    links: Sequence[Link],
    settings: Settings,
    partitions: Partitions,
    *,
    pool: str | None = None,
) -> dg.AssetsDefinition:
    """The assets of `links`, which follow each other, as one step with this name.

    With `pool`, a concurrency pool, the step has the device processes of the run.
    """

    @dg.multi_asset(
        name=name,
        specs=[link.spec for link in links],
        check_specs=[check for link in links for check in link.checks],
        partitions_def=partitions.drops,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        pool=pool,
        op_tags=step_tags(settings, devices=pool is not None),
        required_resource_keys={"gpu_pool"} if pool else set(),
    )
    def make_drops(context: dg.AssetExecutionContext) -> Iterator[Event]:
        mark_worker(context, settings)
        devices = context.resources.gpu_pool if pool else None
        run = _Run(context, settings, partitions)
        drops = _drops_of(context)
        failures = DropFailures(len(drops))
        for drop in drops:
            turn = Turn(drop, settings, context.log.info, run.encoders, devices)
            with failures.of(drop):
                for link in links:
                    if not link.always:
                        yield from run.make(link, turn)
                        yield from run.verify(link, turn)
            for link in links:
                if link.always:
                    with failures.of(drop):
                        yield from run.make(link, turn)
        failures.end_or_retry(context, settings)

    return make_drops


def _drops_of(context: dg.AssetExecutionContext) -> list[str]:
    """The drops of a run. "Execute all" on the checks of an asset names none: then the one made last of it."""
    if _names_drops(context):
        return list(context.partition_keys)
    assets = sorted({check.asset_key.to_user_string() for check in context.selected_asset_check_keys})
    latest = latest_record(context.instance, assets[0], None) if assets else None
    if latest is None or latest.partition_key is None:
        raise dg.Failure(
            description="this run: found no drop; expected the partition of one. Choose partitions with Materialize, "
            "or run `virnucpro checks DROP`.",
            allow_retries=False,
        )
    context.log.info(f"no drop was chosen: the checks run on {latest.partition_key}, which was made last")
    return [latest.partition_key]


def _names_drops(context: dg.AssetExecutionContext) -> bool:
    return bool(context.has_partition_key or context.has_partition_key_range)


class _Run:
    """One run through a chain: what was asked for, and what an earlier try has done of it."""

    def __init__(self, context: dg.AssetExecutionContext, settings: Settings, partitions: Partitions) -> None:
        self._instance, self._partitions = context.instance, partitions
        self._assets = {key.to_user_string() for key in context.selected_asset_keys}
        self._checks = {
            (key.asset_key.to_user_string(), key.name) for key in context.selected_asset_check_keys
        }
        self._names_no_drop = not _names_drops(context)
        self._earlier = EarlierTries(context)
        self.encoders = EncoderChoices(settings)

    def make(self, link: Link, turn: Turn) -> Iterator[Event]:
        """Make the asset of a link for a drop, if that is asked for, and record it."""
        if link.asset not in self._assets or self._earlier.materialised(link.asset, turn.drop):
            return
        inputs: dict[str, str] = {}
        for dep in link.spec.deps:
            source = dep.asset_key.to_user_string()
            if source == CLASSIFIER:
                # What is on record may be what was in use before the settings changed.
                record_in_use(self._instance, turn.settings)
            inputs |= input_tags(self._instance, source, self._partitions.of_asset(source, turn.drop))
        made = link.make(turn)
        yield materialisation(link.asset, turn.drop, digest=made.digest, inputs=inputs, shown=made.metadata)

    def verify(self, link: Link, turn: Turn) -> Iterator[Event]:
        """Run the checks of a link that are asked for, and record them; CheckError if one holds back the drop."""
        missing = {
            check.name
            for check in link.checks
            if (link.asset, check.name) in self._checks
            and not self._earlier.checked(link.asset, check.name, turn.drop)
        }
        if not missing or link.verify is None:
            return
        results = [record_check(turn.work.folder.checks, result) for result in link.verify(turn)]
        for result in results:
            if result.name in missing:
                yield evaluation(self._instance, turn.drop, result)
                if self._names_no_drop:
                    # What such a run planned has no partition either.
                    yield evaluation(self._instance, None, result)
        for result in results:
            hold_back(turn.drop, result)
