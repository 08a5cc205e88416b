"""Where the shipped data and models are."""

from pathlib import Path
from typing import Literal

DEMO_FOLDER = Path(__file__).parent
DATA_FOLDER = DEMO_FOLDER / "data"
MODELS_FOLDER = DEMO_FOLDER / "models"

DROP_FILE = DATA_FOLDER / "drop" / "demo.fastq.gz"
TRUTH_FILE = DATA_FOLDER / "truth.tsv"
SOURCES_FILE = DATA_FOLDER / "sources.tsv"
MANIFEST_FILE = DATA_FOLDER / "manifest.toml"

ESM2_FOLDER = MODELS_FOLDER / "esm2"
DNABERT_S_FOLDER = MODELS_FOLDER / "dnabert_s"


def classifier_folder(chunk_length: int, inputs: Literal["both", "dna"] = "both") -> Path:
    """The folder of the demo classifier for chunks of `chunk_length` bases, 300 or 500; of the DNA alone only 300."""
    return MODELS_FOLDER / f"classifier_{chunk_length}{'' if inputs == 'both' else f'_{inputs}'}"
