"""The demo's classifiers: trained on reads of the training excerpts, judged on the drop.

The order of things: reads of training and validation excerpts are embedded; the classifier learns
from the former and stops by the latter, which come from other regions; the latter also calibrate its
scores. Then the drop's reads are scored, and weights and a card with what was measured are written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tools.demo.embeddings import embed_reads, largest_scores, read_scores
from tools.demo.measure import bases_of_drop
from tools.demo.reads import bases_of, is_virus, labelled_reads
from virnucpro_assets import __version__
from virnucpro_assets.demo.evaluation import Evaluation, evaluate
from virnucpro_assets.demo.excerpts import Role, read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.models.calibration import fit_calibration
from virnucpro_assets.models.cards import ENCODERS_OF_INPUTS, Calibration, ClassifierCard, write_card
from virnucpro_assets.models.classifier import Classifier, load_classifier, save_classifier
from virnucpro_assets.models.evaluation import auroc
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.models.packed_encoder import Encoder
from virnucpro_assets.models.training import TrainingSettings, train_classifier
from virnucpro_assets.sequences.ragged import Ragged

CHUNK_LENGTHS = (300, 500)
CLASSIFIERS: tuple[tuple[int, Literal["both", "dna"]], ...] = ((300, "both"), (500, "both"), (300, "dna"))
"""Chunk length and inputs of each: the one of the DNA alone is for short reads."""

SHORTEST_READ = 150
TRAINING_READS_PER_LABEL, VALIDATION_READS_PER_LABEL = 2_000, 500
TRAINING_SEED, VALIDATION_SEED = 7, 8
DECIMALS = 4
"""Of figures on a card: the last bits of scores differ between machines."""

SETTINGS = TrainingSettings(learning_rate=2e-3, batch_size=64, epochs=60, patience=8)

NOTE = (
    "A demo model, for trying the platform, not for science: it stands on tiny encoders with random "
    "weights and a few hundred thousand bases. Do not draw conclusions about samples from its calls."
)
TRAINING_DATA = (
    "Reads cut at random from the training excerpts shipped with the package "
    "(demo/data/sources.tsv lists accessions and regions); validation on other regions, "
    "metrics named held_out on the demo drop, whose regions neither saw."
)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Candidates of sampled reads: `read` int64 [m], `rows` float32 [m, d]; `is_virus` bool [reads]."""

    read: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]
    is_virus: npt.NDArray[np.bool_]


def train_demo_classifier(
    folder: Path,
    chunk_length: int,
    esm2_folder: Path,
    dnabert_s_folder: Path,
    inputs: Literal["both", "dna"] = "both",
) -> ClassifierCard:
    """Train on the shipped excerpts and write weights and card into `folder`."""
    protein, dna = load_encoder(esm2_folder), load_encoder(dnabert_s_folder)
    card = ClassifierCard(
        chunk_length=chunk_length,
        d_dna=dna.width,
        d_protein=protein.width,
        encoders={
            kind: read_model_folder(dnabert_s_folder if kind == "dnabert_s" else esm2_folder).digest
            for kind in ENCODERS_OF_INPUTS[inputs]
        },
        inputs=inputs,
        training_data=TRAINING_DATA,
        note=NOTE,
        created_with=__version__,
    )
    training, validation = (labelled_rows(role, card, dna, protein) for role in ("training", "validation"))
    trained = train_classifier(
        np.concatenate((training.rows, validation.rows)),
        np.concatenate((training.is_virus[training.read], validation.is_virus[validation.read])),
        SETTINGS,
        is_validation=np.arange(len(training.rows) + len(validation.rows)) >= len(training.rows),
    )
    classifier = Classifier(training.rows.shape[1])
    classifier.load_state_dict(trained.state)
    found = {
        "calibration": calibration_of(classifier, validation),
        "metrics": _metrics(classifier, card, dna, protein, validation),
    }
    card = card.model_copy(update=found)
    save_classifier(folder, trained.state, card)
    return card


def calibrate_demo_classifier(folder: Path, esm2_folder: Path, dnabert_s_folder: Path) -> ClassifierCard:
    """Put a calibration on the card of the classifier in `folder`; weights and all else stay as they are."""
    classifier, card = load_classifier(folder)
    protein, dna = load_encoder(esm2_folder), load_encoder(dnabert_s_folder)
    calibration = calibration_of(classifier, labelled_rows("validation", card, dna, protein))
    card = card.model_copy(update={"calibration": calibration})
    write_card(folder, card)
    return card


def calibration_of(classifier: Classifier, validation: LabelledRows) -> Calibration:
    """The calibration of P(virus) of a read, the largest of its candidates, rounded to 4 decimals."""
    best = largest_scores(len(validation.is_virus), validation.read, classifier.scores(validation.rows))
    known = np.isfinite(best[:, 1])
    fitted = fit_calibration(best[known, 1], validation.is_virus[known])
    return Calibration(**{name: round(value, DECIMALS) for name, value in fitted.model_dump().items()})


def labelled_rows(role: Role, card: ClassifierCard, dna: Encoder, protein: Encoder) -> LabelledRows:
    """Embedded candidates of the reads that are sampled from the excerpts of `role`, as the card wants them."""
    count, seed = (
        (TRAINING_READS_PER_LABEL, TRAINING_SEED)
        if role == "training"
        else (VALIDATION_READS_PER_LABEL, VALIDATION_SEED)
    )
    reads = labelled_reads(read_excerpts(DATA_FOLDER, role), count, SHORTEST_READ, card.chunk_length, seed)
    embedded = embed_reads(bases_of(reads), card.chunk_length, dna, protein)
    return LabelledRows(embedded.read, embedded.rows[:, card.columns(dna.width)], is_virus(reads))


def evaluate_demo_classifier(folder: Path, esm2_folder: Path, dnabert_s_folder: Path) -> Evaluation:
    """Score the demo drop with the classifier in `folder`, for all genomes."""
    classifier, card = load_classifier(folder)
    scored = _score_drop(classifier, card, load_encoder(dnabert_s_folder), load_encoder(esm2_folder))
    return evaluate(*scored, read_truth())


def _metrics(
    classifier: Classifier, card: ClassifierCard, dna: Encoder, protein: Encoder, validation: LabelledRows
) -> dict[str, float]:
    scores = read_scores(len(validation.is_virus), validation.read, classifier.scores(validation.rows))
    known = ~np.isnan(scores)
    metrics = {"validation_auroc": auroc(scores[known], validation.is_virus[known]).value}
    drop_scores, bases = _score_drop(classifier, card, dna, protein)
    for suffix, genome in (("", None), ("_seen_genomes", "seen"), ("_unseen_genomes", "unseen")):
        found = evaluate(drop_scores, bases, read_truth(), genome=genome)
        metrics |= {
            f"held_out_auroc{suffix}": found.score.value,
            f"held_out_auroc_low{suffix}": found.score.low,
            f"held_out_auroc_high{suffix}": found.score.high,
            f"held_out_gc_auroc{suffix}": found.gc.value,
            f"held_out_viruses{suffix}": found.viruses,
            f"held_out_others{suffix}": found.others,
            f"held_out_unscored{suffix}": found.unscored,
        }
    return {name: round(value, DECIMALS) for name, value in metrics.items()}


def _score_drop(
    classifier: Classifier, card: ClassifierCard, dna: Encoder, protein: Encoder
) -> tuple[dict[str, float], dict[str, bytes]]:
    """Score and letters of every read of the demo drop, by name."""
    bases = bases_of_drop()
    embedded = embed_reads(Ragged.from_strings(bases.values()), card.chunk_length, dna, protein)
    rows = embedded.rows[:, card.columns(dna.width)]
    scores = read_scores(len(bases), embedded.read, classifier.scores(rows))
    return dict(zip(bases, scores.tolist(), strict=True)), bases
