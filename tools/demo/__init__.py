"""How the demo's models and data were made; what they need at run time is in `virnucpro_assets.demo`."""
