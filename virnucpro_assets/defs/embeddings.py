"""Assets by drop and rank: the embeddings of both encoders.

One run may cover any ranks of any drops. Each rank is recorded as materialised, with its own
metadata and checks, as soon as its shard is finished; a rank that fails is missing and named.
The output of the step itself is skipped, because it would stand for every rank of the run at
once and hide what was recorded for each.
"""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.defs.gpu_pool import POOL, GpuPool
from virnucpro_assets.defs.partitions import Partitions, across_ranks, drops_and_ranks
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.pipeline.checks import (
    CheckResult,
    finite_values,
    not_finite,
    packing_efficiency,
    record_check,
)
from virnucpro_assets.pipeline.embeddings import embed_drop
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.recipe import ENGINE_FORMAT
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.vocabulary import EncoderKind

GROUP = "embeddings"


class EmbeddingConfig(dg.Config):
    """What a run may decide about embeddings that are there already."""

    replace: bool = False


def embeddings(
    kind: EncoderKind, settings: Settings, partitions: Partitions, description: str
) -> dg.AssetsDefinition:
    """The asset of one encoder's embeddings, `esm2_embeddings` or `dnabert_s_embeddings`."""
    asset = f"{kind}_embeddings"

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
                description=description,
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "finite_values",
                asset=asset,
                blocking=True,
                partitions_def=partitions.drop_ranks,
                description="No embedding holds NaN or Inf.",
            ),
            dg.AssetCheckSpec(
                "packing_efficiency",
                asset=asset,
                partitions_def=partitions.drop_ranks,
                description="Tokens in packs over what the packs could hold.",
            ),
        ],
        partitions_def=partitions.drop_ranks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def compute(
        context: dg.AssetExecutionContext, config: EmbeddingConfig, gpu_pool: GpuPool
    ) -> Iterator[dg.AssetCheckResult]:
        results: list[CheckResult] = []
        failures: list[str] = []
        with gpu_pool.lease() as lease:
            for drop, ranks in drops_and_ranks(context).items():
                with mendable():
                    work = DropWork.on(drop, settings, context.log.info)
                    try:
                        for shard in embed_drop(work, kind, ranks, lease, replace=config.replace):
                            checks = _checks(asset, shard, settings)
                            context.log_event(_materialisation(asset, work, shard))
                            results += [_record(context, work, check) for check in checks]
                    except EmbeddingError as error:
                        failures.append(str(error))
                        results += [
                            _record(context, work, not_finite(asset, rank, error.failures[rank]))
                            for rank in sorted(error.not_finite)
                        ]
        yield from _summaries(asset, results)
        if failures:
            raise dg.Failure(description="; ".join(failures), allow_retries=False)

    return compute


def _checks(asset: str, shard: ShardManifest, settings: Settings) -> list[CheckResult]:
    return [finite_values(asset, shard), packing_efficiency(asset, shard, settings.min_packing_efficiency)]


def _record(context: dg.AssetExecutionContext, work: DropWork, result: CheckResult) -> CheckResult:
    record_check(work.folder.checks, result)
    context.log_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(result.asset),
            check_name=result.name,
            passed=result.passed,
            metadata=metadata.check_metadata(result),
            severity=dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
            blocking=result.blocking,
            partition=f"{work.drop.key}|{result.rank}",
        )
    )
    return result


def _materialisation(asset: str, work: DropWork, shard: ShardManifest) -> dg.AssetMaterialization:
    counts, recipe = shard.counts, shard.recipe
    return dg.AssetMaterialization(
        asset,
        partition=f"{work.drop.key}|{shard.rank}",
        metadata={
            "dagster/row_count": shard.rows,
            "width": shard.width,
            "tokens": counts.tokens,
            "tokens_per_second": round(shard.tokens_per_second, 1),
            "packing_efficiency": round(counts.efficiency(recipe.token_budget), 4),
            "packs": counts.packs,
            "parts": len(shard.parts),
            "reused_parts": shard.reused_parts,
            "device_seconds": round(shard.seconds, 3),
            "devices": ", ".join(shard.devices) or "none",
            "precision": recipe.precision,
            "recipe": dg.MetadataValue.json({**recipe.model_dump(), "digest": recipe.digest}),
            "folder": metadata.path(work.folder.shard(recipe.encoder, shard.rank, recipe.ranks)),
        },
        tags={"dagster/data_version": recipe.digest, "dagster/code_version": str(ENGINE_FORMAT)},
    )


def _summaries(asset: str, results: list[CheckResult]) -> Iterator[dg.AssetCheckResult]:
    """One result a check for the whole run, which is what holds back the steps that follow."""
    for name, severity in (
        ("finite_values", dg.AssetCheckSeverity.ERROR),
        ("packing_efficiency", dg.AssetCheckSeverity.WARN),
    ):
        of_name = [result for result in results if result.name == name]
        failed = [result for result in of_name if not result.passed]
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=name,
            passed=not failed,
            severity=severity,
            metadata={
                "partitions": len(of_name),
                "failed": ", ".join(str(result.rank) for result in failed) or "none",
            },
        )
