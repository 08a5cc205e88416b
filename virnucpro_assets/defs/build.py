"""All assets, checks and resources of a deployment, put together."""

import warnings

import dagster as dg

from virnucpro_assets.defs.alerts import alerts
from virnucpro_assets.defs.automation import automation_sensor
from virnucpro_assets.defs.chains import chain
from virnucpro_assets.defs.check_report import check_report
from virnucpro_assets.defs.classifier import classifier
from virnucpro_assets.defs.cleanup import cleanup_job, nightly_cleanup
from virnucpro_assets.defs.embeddings import embeddings
from virnucpro_assets.defs.executors import executor
from virnucpro_assets.defs.gpu_pool import POOL, gpu_pool
from virnucpro_assets.defs.jobs import JOBS
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.predictions import merged_embeddings, predictions, virus_calls
from virnucpro_assets.defs.report import drop_report
from virnucpro_assets.defs.schedules import nightly_drops, retry_failed
from virnucpro_assets.defs.sensors import new_drops
from virnucpro_assets.defs.sequences import sequence_drop, sequence_index
from virnucpro_assets.defs.terminal import terminal_logger
from virnucpro_assets.defs.training import training_assets, training_check, training_job
from virnucpro_assets.settings import Settings

ABOUT_RANKS = "A drop is cut into ranks, which are computed, checked and repeated one by one."


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions of a deployment with these settings."""
    partitions, owners = Partitions(settings.ranks), [settings.owner]
    with warnings.catch_warnings():
        # Checks by partition (preview) and the mapping between drops and ranks (beta) are what shows a
        # check and a materialisation by rank; both are held by the tests.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
            chain("index_drops", [sequence_drop(), sequence_index(partitions)], settings, partitions),
            embeddings(
                "dnabert_s",
                settings,
                partitions,
                "The nucleotides of each distinct stop-free frame as numbers by the language model DNABERT-S. "
                f"{ABOUT_RANKS}",
            ),
            embeddings(
                "esm2",
                settings,
                partitions,
                "The protein of each distinct stop-free frame as numbers by the language model ESM-2. "
                f"{ABOUT_RANKS}",
            ),
            classifier(settings),
            chain(
                "call_drops",
                [
                    merged_embeddings(partitions),
                    predictions(settings, partitions),
                    virus_calls(),
                    drop_report(),
                    check_report(),
                ],
                settings,
                partitions,
                pool=POOL,
            ),
            *training_assets(),
        ]
        owned = [
            asset.replace_attributes(owners=owners)
            if isinstance(asset, dg.AssetSpec)
            else asset.map_asset_specs(lambda spec: spec.replace_attributes(owners=owners))
            for asset in assets
        ]
        return dg.Definitions(
            assets=owned,
            asset_checks=[training_check()],
            sensors=[
                automation_sensor(settings),
                new_drops(settings, partitions),
                alerts(settings),
            ],
            schedules=[
                nightly_drops(settings, partitions),
                retry_failed(settings, partitions),
                nightly_cleanup(settings),
            ],
            jobs=[*JOBS, training_job(settings), cleanup_job(settings)],
            resources={"gpu_pool": gpu_pool(settings)},
            executor=executor(settings),
            loggers={"console": dg.colored_console_logger, "terminal": terminal_logger},
        )
