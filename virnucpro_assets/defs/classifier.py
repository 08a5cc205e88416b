"""The asset of the classifier in use: it looks at which one that is, and makes none."""

import dagster as dg

from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.partitions import CLASSIFIER
from virnucpro_assets.defs.records import latest_record, materialisation, recorded_version
from virnucpro_assets.defs.steps import clear_failures
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.models.cards import CARD_FILE
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.recipe import ENGINE_FORMAT


def classifier(settings: Settings) -> dg.AssetsDefinition:
    """The asset `classifier`."""

    @dg.asset(
        name=CLASSIFIER,
        group_name="models",
        kinds={"pytorch"},
        code_version=str(ENGINE_FORMAT),
        description="The small network in use that tells viruses from others, for the settings' chunk length.",
    )
    def observe(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with clear_failures():
            digest, shown = _in_use(settings)
        return dg.MaterializeResult(data_version=dg.DataVersion(digest), metadata=shown)

    return observe


def record_in_use(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Put the classifier in use on record outside of its own run, if there is one and another is on record.

    Settings that ask for more than is installed, and damaged files, are reported when they are used, and leave
    the record as it is.
    """
    try:
        if not (settings.classifier_folder(settings.chunk_length) / CARD_FILE).exists():
            return
        digest, shown = _in_use(settings)
    except (InputError, IntegrityError):
        return
    if digest != recorded_version(latest_record(instance, CLASSIFIER, None)):
        instance.report_runless_asset_event(materialisation(CLASSIFIER, None, digest=digest, shown=shown))


def _in_use(settings: Settings) -> tuple[str, metadata.Metadata]:
    """What tells the classifiers in use from others, and what is shown of them, first of all of the usual one.

    A second classifier for short reads and the border between them are part of it: predictions become
    stale when they change.
    """
    routing = classifiers_in_use(settings, settings.chunk_length)
    card = routing.default.card
    return routing.digest, {
        "chunk_length": card.chunk_length,
        "width": card.width,
        "inputs": card.inputs,
        "trained_on": card.training_data,
        "note": card.note,
        "digest": routing.default.digest,
        "encoders": dg.MetadataValue.json({str(kind): value for kind, value in card.encoders.items()}),
        "folder": metadata.path(routing.default.folder),
        **({"used_with": dg.MetadataValue.json(routing.inputs)} if len(routing.inputs) > 1 else {}),
        **card.metrics,
    }
