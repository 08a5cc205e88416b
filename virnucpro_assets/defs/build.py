"""All assets, checks and resources of a deployment, put together."""

import warnings

import dagster as dg

from virnucpro_assets.defs.alerts import alerts
from virnucpro_assets.defs.calls import calls
from virnucpro_assets.defs.classifier import classifier, training_assets, training_check, training_job
from virnucpro_assets.defs.devices import Devices, executor
from virnucpro_assets.defs.embeddings import embeddings
from virnucpro_assets.defs.index import index
from virnucpro_assets.defs.maintenance import cleanup_job, nightly_cleanup
from virnucpro_assets.defs.new_drops import new_drops, nightly_drops
from virnucpro_assets.defs.next_runs import next_runs, retry_failed
from virnucpro_assets.defs.partitions import JOBS
from virnucpro_assets.defs.terminal import terminal_logger
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.provenance import ENGINE_FORMAT


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions of a deployment with these settings."""
    with warnings.catch_warnings():
        # Checks by partition (preview) and the mapping between drops and ranks (beta) are what shows a
        # check and a materialisation by rank; both are held by the tests.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
            index(settings),
            embeddings(settings),
            classifier(settings),
            calls(settings),
            *training_assets(),
        ]
        return dg.Definitions(
            assets=dg.map_asset_specs(
                lambda spec: spec.replace_attributes(
                    owners=[settings.owner], code_version=str(ENGINE_FORMAT)
                ),
                assets,
            ),
            asset_checks=[training_check()],
            sensors=[new_drops(settings), next_runs(settings), alerts(settings)],
            schedules=[
                nightly_drops(settings),
                retry_failed(settings),
                nightly_cleanup(settings),
            ],
            jobs=[*JOBS, training_job(settings), cleanup_job(settings)],
            resources={"devices": Devices(settings)},
            executor=executor(settings),
            loggers={"console": dg.colored_console_logger, "terminal": terminal_logger},
        )
