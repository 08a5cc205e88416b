"""The registry: a folder of installed models, each in a folder of its own by its name. No torch here.

A model is written under a temporary name and renamed in one step, so an interrupted import leaves no partial model. Its
card describes it; the settings choose models by name.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.files.atomic import set_aside, sync_folder, temporary_folder
from virnucpro_assets.models.cards import (
    CARD_FILE,
    ClassifierCard,
    EncoderCard,
    checked_model_folder,
    checked_weights_digest,
    read_card,
    read_encoder_card,
)
from virnucpro_assets.models.folders import CONFIG_FILE, WEIGHTS_FILE

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REPLACED = re.compile(r".+\.replaced-\d+")
"""The folder of a model that was replaced: it is kept, but not listed."""

DOWNLOADS = ".downloads"
_EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model of the registry; `card` is None for an encoder without one."""

    name: str
    path: Path
    card: EncoderCard | ClassifierCard | None

    @property
    def stored_bytes(self) -> int:
        """Size of its weights file."""
        return (self.path / WEIGHTS_FILE).stat().st_size


@dataclass(frozen=True, slots=True)
class Registry:
    """The installed models under `root`."""

    root: Path

    def path(self, name: str) -> Path:
        """The path of the model of this name, whether it exists or not; InputError if the name is invalid."""
        if not _can_be_name(name):
            raise InputError(
                "name of a model",
                found=repr(name),
                expected="letters, digits, dots, dashes and underscores, at most 64, a letter or digit first, "
                "and no .replaced-1 at its end",
                advice="Choose another name with --name.",
            )
        return self.root / name

    def names(self) -> list[str]:
        """The names of all installed models, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.name for path in self.root.iterdir() if _can_be_name(path.name) and _is_model(path)
        )

    def model(self, name: str) -> InstalledModel:
        """The model of this name; InputError if there is none, IntegrityError if its card is damaged."""
        path = self.path(name)
        if not _is_model(path):
            raise InputError(
                path,
                found="no model",
                expected=f"one of {', '.join(self.names()) or 'none so far'}",
                advice="List the models with `virnucpro models list`, or fetch or import it first.",
            )
        if (path / CONFIG_FILE).is_file():
            return InstalledModel(name, path, read_encoder_card(path))
        return InstalledModel(name, path, read_card(path))

    def require_free(self, name: str, *, replace: bool) -> None:
        """Raise InputError if the name is in use, unless the model is to be replaced."""
        if self.path(name).exists() and not replace:
            raise InputError(
                self.path(name),
                found="a model",
                expected="a name that is free",
                advice="Choose another with --name, or give --replace.",
            )

    @contextmanager
    def installing(self, name: str, *, replace: bool = False) -> Iterator[Path]:
        """An empty folder that becomes the model of this name when the block ends without an error.

        If the name is in use already, even if only since the block began, this raises InputError; with `replace` the
        old model is kept under another name.
        """
        self.require_free(name, replace=replace)
        with temporary_folder(self.root, f".{name}") as temporary:
            yield temporary
            self._rename(temporary, name, replace=replace)
            sync_folder(self.root)

    def _rename(self, folder: Path, name: str, *, replace: bool) -> None:
        target = self.path(name)
        while True:
            if replace and target.exists():
                set_aside(target, "replaced")
            try:
                # A folder can only be renamed to a name that does not exist.
                folder.rename(target)
            except OSError as error:
                if error.errno not in _EXISTS:
                    raise
                # Another process installed a model of this name in the meantime.
                self.require_free(name, replace=replace)
            else:
                return

    def check_content(self, model: InstalledModel) -> None:
        """Raise IntegrityError if a model does not match its card any more: every byte is read."""
        if isinstance(model.card, EncoderCard):
            checked_model_folder(model.path, content=True)
        elif isinstance(model.card, ClassifierCard):
            checked_weights_digest(model.path, model.card)


def _can_be_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not REPLACED.fullmatch(name)


def _is_model(path: Path) -> bool:
    return (path / CONFIG_FILE).is_file() or (path / CARD_FILE).is_file()
