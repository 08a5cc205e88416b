"""Make the shipped data and models again: `python -m tools.demo.build --debs FOLDER`.

For developers. FOLDER holds the Debian packages of `sources.py`, each unpacked with
`dpkg-deb -x PACKAGE.deb FOLDER/x_PACKAGE`. Without --debs the shipped data stay and only the
models are made again.
"""

import argparse
import sys
from pathlib import Path

from tools.demo.classifiers import CLASSIFIERS, train_demo_classifier
from tools.demo.data import write_data
from tools.demo.tiny_models import write_encoders
from virnucpro_assets.demo.paths import DATA_FOLDER, DNABERT_S_FOLDER, ESM2_FOLDER, classifier_folder
from virnucpro_assets.models.hardware import limit_threads


def main() -> None:
    """Write `data` and `models` beside this file, and say how good the classifiers are."""
    parser = argparse.ArgumentParser(description="Make the demo's data and models again.")
    parser.add_argument("--debs", type=Path, help="folder of the unpacked Debian packages")
    packages: Path | None = parser.parse_args().debs
    # Sums in one order: the same seed then gives the same weights on the same machine.
    limit_threads(1)
    if packages is not None:
        write_data(packages, DATA_FOLDER)
    write_encoders(ESM2_FOLDER, DNABERT_S_FOLDER)
    for chunk_length, inputs in CLASSIFIERS:
        folder = classifier_folder(chunk_length, inputs)
        card = train_demo_classifier(folder, chunk_length, ESM2_FOLDER, DNABERT_S_FOLDER, inputs)
        lines = (f"  {name} {value}" for name, value in card.metrics.items())
        sys.stdout.write("\n".join((str(folder), *lines)) + "\n")


if __name__ == "__main__":
    main()
