"""The Dagster instance that the command line shares with the UI."""

import shutil
from pathlib import Path

import dagster as dg

from virnucpro_assets.defs.gpu_pool import POOL
from virnucpro_assets.settings import Settings

CONFIG = Path(__file__).with_name("dagster.yaml")


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance under DAGSTER_HOME, or else under `dagster` in the data root.

    A home without a dagster.yaml is given the one of this package.
    """
    home = (settings.dagster_home or settings.data_root / "dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / CONFIG.name).exists():
        shutil.copyfile(CONFIG, home / CONFIG.name)
    instance = dg.DagsterInstance.from_config(str(home))
    if POOL not in instance.event_log_storage.get_concurrency_keys():
        # The queue looks up the limits of pools before it sets those of new ones: without this, the
        # first runs of an instance would not be held back.
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    return instance
