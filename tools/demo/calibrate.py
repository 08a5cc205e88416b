"""Calibrate the shipped classifiers on their validation reads: `python -m tools.demo.calibrate`.

For developers. Only the cards are written: weights, metrics and what the classifiers predict stay as they are.
`tools.demo.build` calibrates a classifier that it trains in the same way.
"""

import sys

from tools.demo.classifiers import CLASSIFIERS, calibrate_demo_classifier
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, ESM2_FOLDER, classifier_folder
from virnucpro_assets.models.hardware import limit_threads


def main() -> None:
    """Write the calibration of each classifier, and print it."""
    limit_threads(1)
    for chunk_length, inputs in CLASSIFIERS:
        folder = classifier_folder(chunk_length, inputs)
        card = calibrate_demo_classifier(folder, ESM2_FOLDER, DNABERT_S_FOLDER)
        sys.stdout.write(f"{folder}: {card.calibration}\n")


if __name__ == "__main__":
    main()
