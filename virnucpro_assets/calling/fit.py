"""Whether the classifiers in use fit the encoders in use and a drop's chunk length.

This is checked before an embedding starts, so that hours of computing do not end in embeddings that no classifier can
score, and again before scores are computed. If a card has the digests of its encoders, they decide. If it has only
their names, name and width are compared, and what remains unverified is reported as a warning. A classifier that uses
the embeddings of one encoder is compared with that encoder only.
"""

from collections.abc import Mapping
from pathlib import Path

from virnucpro_assets.calling.routing import Routing, classifiers_in_use
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.models.cards import CARD_FILE, ClassifierCard, read_encoder_card
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.vocabulary import EncoderKind


def check_fit(work: DropWork) -> None:
    """Before embeddings: raise IntegrityError for a classifier that cannot use them, warn of what is unverified.

    Without a classifier there is only a warning: one may be trained on these embeddings later.
    """
    length = work.index.manifest.chunk_length
    folder = work.settings.classifier_folder(length)
    if not (folder / CARD_FILE).exists():
        work.report(f"warning: {folder} holds no classifier; the embeddings cannot be scored yet")
        return
    for one in fitting_routing(work).named.values():
        for line in unverified(one.card, work.encoders):
            work.report(f"warning: {one.folder}: {line}")


def fitting_routing(work: DropWork) -> Routing:
    """The classifiers that score a drop, if they were trained on its encoders and its chunk length.

    Raises IntegrityError, naming both sides, if chunk length, width, digest or name differ, and InputError
    as `classifiers_in_use` does.
    """
    length = work.index.manifest.chunk_length
    routing = classifiers_in_use(work.settings, length, work.index.manifest)
    for one in routing.named.values():
        _require_fit(one.folder, one.card, length, work.encoders)
    return routing


def _require_fit(
    folder: Path, card: ClassifierCard, chunk_length: int, encoders: Mapping[EncoderKind, EncoderChoice]
) -> None:
    expected: dict[str, int | str] = {"chunk length": card.chunk_length}
    found: dict[str, int | str] = {"chunk length": chunk_length}
    for kind in card.used_encoders:
        what, width = ENCODERS[kind].molecule, card.widths[kind]
        expected[f"{what} width"], found[f"{what} width"] = width, encoders[kind].width
        if digest := card.encoders.get(kind):
            expected[f"digest of {kind}"], found[f"digest of {kind}"] = digest, encoders[kind].digest
        if (name := card.encoder_names.get(kind)) and (model := _model_name(encoders[kind])):
            expected[f"{kind} model"], found[f"{kind} model"] = name, model
    for name, value in expected.items():
        if found[name] != value:
            raise IntegrityError(
                folder,
                found=f"a classifier trained for {name} {value}",
                expected=f"{name} {found[name]}",
                advice="Choose the classifier that belongs to these encoders and this chunk length "
                "(VIRNUCPRO_CLASSIFIERS).",
            )


def unverified(card: ClassifierCard, encoders: Mapping[EncoderKind, EncoderChoice]) -> list[str]:
    """What could not be verified of a classifier that fits, a line each."""
    lines = [
        f"it was trained with {name}; whether {encoders[kind].folder} holds the same weights is not verified "
        "(import it again with the encoders' names to bind it to them)"
        for kind, name in card.encoder_names.items()
        if kind in card.used_encoders and kind not in card.encoders
    ]
    in_use = sorted({encoders[kind].precision for kind in card.used_encoders} - {card.precision})
    if card.precision and in_use:
        lines.append(
            f"it was trained on embeddings in {card.precision}; they are computed in {in_use[0]} here"
        )
    return lines


def _model_name(encoder: EncoderChoice) -> str:
    """The published name on the encoder's card; empty if it has none."""
    card = read_encoder_card(encoder.folder)
    return card.model if card else ""
