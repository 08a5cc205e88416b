"""The one Definitions object that Dagster loads, built from the settings of the deployment."""

import dagster as dg

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import load_settings

defs: dg.Definitions = build_definitions(load_settings())
