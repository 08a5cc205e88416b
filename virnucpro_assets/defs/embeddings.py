"""Assets by drop and rank: the embeddings of both encoders.

One run may cover any ranks of any drops. Each rank is recorded as materialised, with its own
metadata and checks, as soon as its shard is finished; a rank that fails is missing and named.
So the step yields events, each of one rank. The output that stands for the asset is skipped:
it would materialise every rank of the run once more and hide what was recorded for each.
The outputs that stand for the checks are given, empty, because a step must give them.
"""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, failure_checks, record_check, shard_checks
from virnucpro_assets.defs import columns, metadata, pictures
from virnucpro_assets.defs.automation import once
from virnucpro_assets.defs.executors import backfill_policy, step_tags
from virnucpro_assets.defs.failures import DropFailures
from virnucpro_assets.defs.gpu_pool import POOL, GpuPool
from virnucpro_assets.defs.partitions import Partitions, across_ranks, drops_and_ranks
from virnucpro_assets.defs.process_runs import mark_worker
from virnucpro_assets.defs.records import EarlierTries, Event, evaluation, input_tags, materialisation
from virnucpro_assets.drops.recipes import EncoderChoices
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.pipeline.embed import embed_drop
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.incidents import Incidents
from virnucpro_assets.storage.recipe import ENGINE_FORMAT
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.storage.telemetry import Telemetry
from virnucpro_assets.vocabulary import EncoderKind

GROUP, FINITE = "embeddings", "finite_values"


class EmbeddingConfig(dg.Config):
    """What a run may decide about embeddings that are there already."""

    replace: bool = False


def embeddings(
    kind: EncoderKind, settings: Settings, partitions: Partitions, description: str
) -> dg.AssetsDefinition:
    """The asset of one encoder's embeddings, `esm2_embeddings` or `dnabert_s_embeddings`."""
    asset = f"{kind}_embeddings"
    check_specs = _check_specs(asset, partitions)

    @dg.multi_asset(
        name=asset,
        specs=[
            dg.AssetSpec(
                asset,
                deps=[across_ranks("sequence_index")],
                group_name=GROUP,
                kinds={"pytorch", "hdf5"},
                code_version=str(ENGINE_FORMAT),
                skippable=True,
                automation_condition=once(),
                description=description,
            )
        ],
        check_specs=check_specs,
        partitions_def=partitions.drop_ranks,
        backfill_policy=backfill_policy(settings),
        op_tags=step_tags(settings, devices=True),
        pool=POOL,
    )
    def compute(
        context: dg.AssetExecutionContext, config: EmbeddingConfig, gpu_pool: GpuPool
    ) -> Iterator[Event]:
        mark_worker(context, settings)
        yield from _embed(context, asset, kind, settings, gpu_pool, replace=config.replace)
        for spec in check_specs:
            yield dg.Output(None, output_name=spec.get_python_identifier())

    return compute


def _check_specs(asset: str, partitions: Partitions) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            FINITE,
            asset=asset,
            blocking=True,
            partitions_def=partitions.drop_ranks,
            description="No embedding holds NaN or Inf. Quarantined sequences are a warning.",
        ),
        dg.AssetCheckSpec(
            "packing_efficiency",
            asset=asset,
            partitions_def=partitions.drop_ranks,
            description="Tokens in packs over what the packs could hold.",
        ),
    ]


def _embed(
    context: dg.AssetExecutionContext,
    asset: str,
    kind: EncoderKind,
    settings: Settings,
    gpu_pool: GpuPool,
    *,
    replace: bool,
) -> Iterator[Event]:
    """Each rank's events as soon as it is finished, drop by drop; then the failures of all, if there are any."""
    asked, earlier, encoders = drops_and_ranks(context), EarlierTries(context), EncoderChoices(settings)
    failures = DropFailures(len(asked))
    with gpu_pool.lease() as lease:
        for drop, ranks in asked.items():
            missing = [
                rank
                for rank in ranks
                if not earlier.materialised(asset, f"{drop}|{rank}")
                or not earlier.checked(asset, FINITE, f"{drop}|{rank}")
            ]
            with failures.of(drop):
                inputs = input_tags(context.instance, "sequence_index", [drop])
                work = DropWork.on(drop, settings, context.log.info, encoders)
                try:
                    for shard in embed_drop(work, {kind: missing}, lease, replace=replace):
                        yield _materialisation(asset, work, shard, inputs)
                        for check in shard_checks(shard, settings.min_packing_efficiency):
                            yield _evaluation(context.instance, work, check)
                except EmbeddingError as error:
                    failures.add(drop, error)
                    for check in failure_checks(error):
                        yield _evaluation(context.instance, work, check)
    failures.end_or_retry(context, settings)


def _evaluation(instance: dg.DagsterInstance, work: DropWork, result: CheckResult) -> dg.AssetCheckEvaluation:
    record_check(work.folder.checks, result)
    return evaluation(instance, f"{work.drop.key}|{result.rank}", result)


def _materialisation(
    asset: str, work: DropWork, shard: ShardManifest, inputs: dict[str, str]
) -> dg.AssetMaterialization:
    counts, recipe = shard.counts, shard.recipe
    return materialisation(
        asset,
        f"{work.drop.key}|{shard.rank}",
        digest=shard.digest,
        inputs=inputs,
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
            **pictures.packing(shard),
            **columns.of_arrays(asset, {"rows": "int64", "embeddings": f"float32[{shard.width}]"}),
            "folder": metadata.path(work.folder.shard(recipe.encoder, shard.rank, recipe.ranks)),
        },
        tags={"dagster/partition/drop": work.drop.key, "dagster/partition/rank": str(shard.rank)},
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
