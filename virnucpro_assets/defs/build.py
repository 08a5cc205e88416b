"""All assets, checks and resources of a deployment, put together."""

import warnings

import dagster as dg

from virnucpro_assets.defs.embeddings import embeddings
from virnucpro_assets.defs.gpu_pool import gpu_pool
from virnucpro_assets.defs.jobs import JOBS
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.precision import precision_checks
from virnucpro_assets.defs.predictions import classifier, merged_embeddings, predictions, virus_calls
from virnucpro_assets.defs.report import drop_report
from virnucpro_assets.defs.sequences import sequence_drop, sequence_index
from virnucpro_assets.defs.terminal import terminal_logger
from virnucpro_assets.settings import Settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions of a deployment with these settings.

    A run is one process, which owns the device processes: so the executor is in-process.
    """
    partitions = Partitions(settings.ranks)
    with warnings.catch_warnings():
        # Checks by partition (preview) and the mapping between drops and ranks (beta) are what shows a
        # check and a materialisation by rank; both are held by the tests.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Definitions(
            assets=[
                sequence_drop(settings, partitions),
                sequence_index(settings, partitions),
                embeddings(
                    "dnabert_s",
                    settings,
                    partitions,
                    "The mean DNABERT-S embedding of each distinct candidate's nucleotides, one shard a rank.",
                ),
                embeddings(
                    "esm2",
                    settings,
                    partitions,
                    "The mean ESM-2 embedding of each distinct candidate's protein, one shard a rank.",
                ),
                merged_embeddings(settings, partitions),
                classifier(settings),
                predictions(settings, partitions),
                virus_calls(settings, partitions),
                drop_report(settings, partitions),
            ],
            asset_checks=[precision_checks(settings, partitions)],
            jobs=JOBS,
            resources={"gpu_pool": gpu_pool(settings)},
            executor=dg.in_process_executor,
            loggers={"console": dg.colored_console_logger, "terminal": terminal_logger},
        )
