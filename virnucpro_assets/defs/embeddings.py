"""The second run of a drop: the embeddings of its ranks by both encoders, the one step with several partitions.

Each rank is recorded as materialised, with its own metadata and checks, as soon as its shard is finished; a rank that
fails is missing, and the error names it. So the step yields events, each of one rank. The outputs of the assets are
skipped: they would materialise every rank of the run once more and hide what was recorded for each. The outputs of the
checks are yielded without a value, because Dagster requires them.

A run of a backfill may cover several drops. If one fails, the others are computed all the same.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, failure_checks, record_check, shard_checks
from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.devices import POOL, Devices, backfill_policy, step_tags
from virnucpro_assets.defs.partitions import (
    EMBEDDINGS,
    Partitions,
    across_ranks,
    check_specs,
    drops_and_ranks,
    partition_key,
)
from virnucpro_assets.defs.records import PARENT_RUN, Event, evaluation, input_tags, materialisation
from virnucpro_assets.defs.steps import is_selected, step_of
from virnucpro_assets.drops.recipes import EncoderChoices
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.pipeline.embed import embed_drop
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.provenance import Incidents, Telemetry
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

GROUP, STEP, FINITE = "embeddings", "embed", "finite_values"
RESUMES = {"dagster/retry_number", "dagster/is_resume_retry"}
ABOUT_RANKS = "A drop is cut into ranks, which are computed, checked and repeated one by one."


class EmbeddingConfig(dg.Config):
    """What a run may decide about embeddings that are there already."""

    replace: bool = False


def embeddings(settings: Settings) -> dg.AssetsDefinition:
    """The embeddings of each encoder: `dnabert_s_embeddings`, `esm2_embeddings`."""
    checks = check_specs(settings, *EMBEDDINGS)

    @dg.multi_asset(
        name=STEP,
        specs=[
            dg.AssetSpec(
                f"{kind}_embeddings",
                deps=[across_ranks("sequence_index")],
                group_name=GROUP,
                kinds={"pytorch", "hdf5"},
                skippable=True,
                description=f"{ENCODERS[kind].description} {ABOUT_RANKS}",
            )
            for kind in ENCODER_KINDS
        ],
        check_specs=checks,
        partitions_def=Partitions(settings.ranks).drop_ranks,
        can_subset=True,
        backfill_policy=backfill_policy(settings),
        op_tags=step_tags(settings, devices=True),
        pool=POOL,
    )
    def compute(
        context: dg.AssetExecutionContext, config: EmbeddingConfig, devices: dg.ResourceParam[Devices]
    ) -> Iterator[Event]:
        asked, encoders = drops_and_ranks(context), EncoderChoices(settings)
        finished = _finished_before(context)
        with step_of(context, settings, ", ".join(asked)) as errors, devices.lease(context.log.info) as lease:
            for drop, ranks in asked.items():
                wanted = {
                    kind: [
                        rank
                        for rank in ranks
                        if (f"{kind}_embeddings", partition_key(drop, rank)) not in finished
                    ]
                    for kind in ENCODER_KINDS
                    if is_selected(context, f"{kind}_embeddings")
                }
                try:
                    work = DropWork.on(drop, settings, context.log.info, encoders)
                    yield from _embed(context, work, wanted, lease, replace=config.replace)
                except (VirnucproError, OSError) as error:
                    errors.append((drop, error))
        for spec in checks:
            if spec.key in context.selected_asset_check_keys:
                yield dg.Output(None, output_name=spec.get_python_identifier())

    return compute


def _finished_before(context: dg.AssetExecutionContext) -> set[tuple[str, str]]:
    """The asset and partition of each rank that earlier tries of this run have recorded with their checks.

    Earlier tries are those of the step, and the runs that this one resumes: Dagster marks a retry by the
    daemon, and a re-execution from failure. A new run has none.
    """
    finished: dict[tuple[str, str], bool] = {}
    runs = [context.run.run_id] if context.retry_number else []
    run: dg.DagsterRun | None = context.run
    while run and not RESUMES.isdisjoint(run.tags):
        runs.append(run.tags[PARENT_RUN])
        run = context.instance.get_run_by_id(runs[-1])
    for run_id in reversed(runs):
        for record in context.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records:
            if event := record.event_log_entry.dagster_event:
                check = event.asset_check_evaluation_data
                if check.check_name == FINITE and check.partition:
                    key = check.asset_key.to_user_string(), check.partition
                    finished[key] = check.passed or not check.blocking
    return {key for key, is_finished in finished.items() if is_finished}


def _embed(
    context: dg.AssetExecutionContext,
    work: DropWork,
    wanted: Mapping[EncoderKind, Sequence[int]],
    lease: Lease,
    *,
    replace: bool,
) -> Iterator[Event]:
    """The events of each rank as soon as it is finished; EmbeddingError at the end if some are not.

    The last rank is recorded when the sample of the precision checks is there too: a sample that failed would
    otherwise show on no partition, and nothing would make it again.
    """
    inputs = input_tags(context.instance, "sequence_index", [work.drop.key])

    def recorded(shard: ShardManifest) -> Iterator[Event]:
        yield _materialisation(work, shard, inputs)
        for check in shard_checks(shard, work.settings.min_packing_efficiency):
            yield _evaluation(context.instance, work, check)

    left, last = sum(map(len, wanted.values())), None
    try:
        for shard in embed_drop(work, wanted, lease, replace=replace):
            left -= 1
            if left:
                yield from recorded(shard)
            else:
                last = shard
    except EmbeddingError as error:
        for check in failure_checks(error):
            yield _evaluation(context.instance, work, check)
        raise
    if last:
        yield from recorded(last)


def _evaluation(instance: dg.DagsterInstance, work: DropWork, result: CheckResult) -> dg.AssetCheckEvaluation:
    record_check(work.folder.checks, result)
    return evaluation(instance, partition_key(work.drop.key, result.rank), result)


def _materialisation(work: DropWork, shard: ShardManifest, inputs: dict[str, str]) -> dg.AssetMaterialization:
    counts, recipe = shard.counts, shard.recipe
    asset = f"{recipe.encoder}_embeddings"
    return materialisation(
        asset,
        partition_key(work.drop.key, shard.rank),
        digest=shard.digest,
        shown={
            "dagster/row_count": shard.rows,
            "width": shard.width,
            "tokens": counts.tokens,
            "tokens_per_second": round(shard.tokens_per_second, 1),
            "sequences_per_second": round(shard.sequences_per_second, 1),
            "token_budget": recipe.token_budget,
            "packing_efficiency": round(counts.efficiency(recipe.token_budget), 4),
            "packs": counts.packs,
            "parts": len(shard.parts),
            "reused_parts": shard.reused_parts,
            **_cached(shard),
            "device_seconds": round(shard.seconds, 3),
            "devices": ", ".join(shard.devices) or "none",
            **_telemetry(shard.telemetry),
            **_incidents(shard.incidents),
            "precision": recipe.precision,
            "recipe": dg.MetadataValue.json({**recipe.model_dump(), "digest": recipe.digest}),
            **metadata.picture_of_packing(shard),
            **metadata.columns_of_arrays(asset, {"rows": "int64", "embeddings": f"float32[{shard.width}]"}),
            "folder": metadata.path(work.folder.shard(recipe.encoder, shard.rank, recipe.ranks)),
        },
        tags={**inputs, "dagster/partition/drop": work.drop.key, "dagster/partition/rank": str(shard.rank)},
    )


def _cached(shard: ShardManifest) -> metadata.Metadata:
    """How many rows the embedding cache gave, and their share; nothing where there was none."""
    if not shard.recipe.cached:
        return {}
    share = shard.cached_rows / shard.rows if shard.rows else 0.0
    return {"cached_rows": shard.cached_rows, "cached_share": round(share, 4)}


def _telemetry(telemetry: Telemetry) -> metadata.Metadata:
    """What the devices waited for and held; MFU where their peak is known."""
    figures: metadata.Metadata = {
        "seconds_waited_for_input": round(telemetry.waited_for_input, 3),
        "seconds_waited_for_output": round(telemetry.waited_for_output, 3),
        "device_memory_mib": telemetry.peak_memory >> 20,
    }
    return figures if telemetry.mfu is None else {"mfu": round(telemetry.mfu, 4), **figures}


def _incidents(incidents: Incidents) -> metadata.Metadata:
    """What went other than planned; nothing where all went well."""
    figures = {
        "recomputed_in_float32": len(incidents.recomputed),
        "quarantined": len(incidents.quarantined),
        "split_packs": incidents.split_packs,
        "token_limit": incidents.token_limit,
    }
    return {name: value for name, value in figures.items() if value}
