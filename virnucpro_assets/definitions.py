"""The one Definitions object that Dagster loads, built from the settings of the deployment."""

import dagster as dg

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import Settings

defs: dg.Definitions = build_definitions(Settings())
