"""VirNucPro Assets: virus calls in short sequence reads, as a Dagster asset platform."""

__version__ = "0.1.0"
