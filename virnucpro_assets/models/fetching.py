"""Fetching from the hub into the registry: the choice of files, resumable downloads, and the import."""

import shutil
from collections.abc import Callable

from virnucpro_assets.errors import InputError
from virnucpro_assets.files.locks import locked
from virnucpro_assets.models.cards import EncoderCard
from virnucpro_assets.models.encoder_imports import import_encoder
from virnucpro_assets.models.encoders import CATALOGUE, published_model
from virnucpro_assets.models.hub import fetch_files, require_commit
from virnucpro_assets.models.registry import DOWNLOADS, InstalledModel, Registry


def fetch_encoder(
    registry: Registry,
    what: str,
    name: str | None = None,
    *,
    endpoint: str,
    token: str | None = None,
    revision: str | None = None,
    replace: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[InstalledModel, bool]:
    """Install the encoder `what`, a published name or a repository; also returns whether it was installed already.

    Downloads are kept until the model is installed, so an interrupted fetch is resumed, also from another endpoint.
    If two processes fetch the same model, the second one waits and reports this. Raises InputError for an unknown
    name or an invalid commit, HubError if the hub fails, and IntegrityError for files that are not those of the
    commit.
    """
    known = published_model(what)
    repository = known.repository if known else _checked_repository(what)
    commit = revision or (known.revision if known else "")
    source, name = f"{repository}@{commit}", name or (known.name if known else repository.split("/")[1])
    if not replace and (installed := _installed_from(registry, name, source)):
        return installed, True
    registry.require_free(name, replace=replace)
    downloads = registry.root / DOWNLOADS / f"{repository.replace('/', '--')}@{commit[:12]}"
    require_commit(repository, commit)
    # Beside the downloads, not in their folder: that is removed while another process may wait for the lock.
    lock = downloads.with_name(f"{downloads.name}.lock")
    with locked(lock, f"virnucpro models fetch {what}", "wait", report):
        if not replace and (installed := _installed_from(registry, name, source)):
            shutil.rmtree(downloads, ignore_errors=True)
            return installed, True
        publication = known if known and commit == known.revision else None
        fetch_files(
            repository,
            commit,
            downloads,
            endpoint=endpoint,
            token=token,
            sha256=publication.sha256 if publication else None,
            report=report,
        )
        model = import_encoder(
            registry, downloads, name, source=source, publication=publication, replace=replace
        )
        shutil.rmtree(downloads)
    if publication and isinstance(model.card, EncoderCard) and not model.card.is_published:
        report(
            f"{name}: no digest of its weights is on record: they were only compared with the listing of {endpoint}"
        )
    return model, False


def _checked_repository(what: str) -> str:
    if "/" in what:
        return what
    raise InputError(
        what,
        found="no published model and no repository",
        expected=f"{', '.join(model.name for model in CATALOGUE)}, or OWNER/NAME",
        advice="See `virnucpro models list --published`.",
    )


def _installed_from(registry: Registry, name: str, source: str) -> InstalledModel | None:
    """The model of this name if it was fetched from this commit and is unchanged."""
    if name not in registry.names():
        return None
    model = registry.model(name)
    if not isinstance(model.card, EncoderCard) or model.card.source != source:
        return None
    registry.check_content(model)
    return model
