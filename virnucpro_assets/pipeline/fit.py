"""Whether the classifier in use belongs to the encoders in use and to a drop's chunk length.

It is asked before an embedding starts, so that hours of computing do not end in embeddings that no
classifier can read, and again before scores are made. A card that knows its encoders by digest
decides. One that knows only their names is compared by name and width; what stays unverified then
is said, and computed.
"""

from collections.abc import Mapping

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.models.cards import CARD_FILE, ClassifierCard, read_card, read_encoder_card
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import EncoderKind


def check_fit(work: DropWork) -> None:
    """Before embeddings: raise IntegrityError for a classifier that cannot use them, report what is unverified.

    Without any classifier there is nothing to fit: embeddings may be what one will be trained on.
    """
    length = work.index.manifest.chunk_length
    folder = work.settings.classifier_folder(length)
    if not (folder / CARD_FILE).exists():
        work.report(f"warning: {folder} holds no classifier; embeddings are computed for none")
        return
    card = fitting_card(work.settings, length, work.encoders)
    for line in unverified(card, work.encoders):
        work.report(f"warning: {folder}: {line}")


def fitting_card(
    settings: Settings, chunk_length: int, encoders: Mapping[EncoderKind, EncoderChoice]
) -> ClassifierCard:
    """The card of the classifier for this chunk length, if it was trained on these encoders.

    Raises IntegrityError, naming both sides, if chunk length, width, digest or name differ.
    """
    folder = settings.classifier_folder(chunk_length)
    card = read_card(folder)
    expected: dict[str, int | str] = {
        "chunk length": card.chunk_length,
        "DNA width": card.d_dna,
        "protein width": card.d_protein,
    }
    found: dict[str, int | str] = {
        "chunk length": chunk_length,
        "DNA width": encoders["dnabert_s"].width,
        "protein width": encoders["esm2"].width,
    }
    for kind, digest in card.encoders.items():
        expected[f"digest of {kind}"], found[f"digest of {kind}"] = digest, encoders[kind].digest
    for kind, name in card.encoder_names.items():
        if model := _model_name(encoders[kind]):
            expected[f"{kind} model"], found[f"{kind} model"] = name, model
    for name, value in expected.items():
        if found[name] != value:
            raise IntegrityError(
                f"{folder}: found a classifier trained for {name} {value}; expected {name} {found[name]}. "
                "Choose the classifier that belongs to these encoders and this chunk length (VIRNUCPRO_CLASSIFIERS)."
            )
    return card


def unverified(card: ClassifierCard, encoders: Mapping[EncoderKind, EncoderChoice]) -> list[str]:
    """What speaks neither for nor against a classifier that fits, a line each."""
    lines = [
        f"it was trained with {name}; that {encoders[kind].folder} holds the same weights is not verified "
        "(import it again with the encoders' names to bind it to them)"
        for kind, name in card.encoder_names.items()
        if kind not in card.encoders
    ]
    in_use = sorted({encoder.precision for encoder in encoders.values()} - {card.precision})
    if card.precision and in_use:
        lines.append(
            f"it was trained on embeddings in {card.precision}; they are computed in {in_use[0]} here"
        )
    return lines


def _model_name(encoder: EncoderChoice) -> str:
    """The published name on the encoder's card; empty if it has none."""
    card = read_encoder_card(encoder.folder)
    return card.model if card else ""
