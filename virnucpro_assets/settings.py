"""The settings of a deployment: where their values come from, and what follows from them.

Values come from environment variables named VIRNUCPRO_ and the field's name in capitals (nested ones with two
underscores, as in VIRNUCPRO_CALLS__VIRAL_ABOVE), then from a file `virnucpro.toml` in the working folder, then from
the defaults in settings_fields.py and settings_groups.py. No other module reads the environment. A variable with that
prefix that names no setting is an error.
"""

import os
import sys
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.files.locks import machine_locks
from virnucpro_assets.models.cards import Inputs
from virnucpro_assets.models.versions import ClassifierVersions
from virnucpro_assets.settings_fields import (
    ComputeSettings,
    DeliverySettings,
    ModelSettings,
    ScheduleSettings,
)
from virnucpro_assets.settings_groups import OperationSettings, ResultSettings
from virnucpro_assets.settings_names import (
    FORMER_NAMES,
    check_variables,
    former_name_error,
    nearest,
    settings_of,
    variable_of,
)
from virnucpro_assets.storage.embedding_cache import EmbeddingCache
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

SETTINGS_FILE = "virnucpro.toml"


class Settings(
    # pydantic lists the fields of the last base first.
    OperationSettings,
    ResultSettings,
    ScheduleSettings,
    ComputeSettings,
    ModelSettings,
    DeliverySettings,
    BaseSettings,
):
    """The settings of a deployment: those of its groups, and the folders that follow from them."""

    model_config = SettingsConfigDict(
        env_prefix="VIRNUCPRO_",
        env_nested_delimiter="__",
        toml_file=SETTINGS_FILE,
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        allow_inf_nan=False,
        # A trace of the error shows no value: some are secrets.
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def encoder_folder(self, kind: EncoderKind) -> Path:
        """The model folder of an encoder; a bare name is looked up in the registry first."""
        chosen: Path = getattr(self, kind)
        installed = self.models / chosen
        return installed if len(chosen.parts) == 1 and installed.is_dir() else chosen

    @property
    def dagster_folder(self) -> Path:
        """The folder of the Dagster instance."""
        return (self.dagster_home or self.data_root / "dagster").absolute()

    def classifier_folder(self, chunk_length: int, inputs: Inputs = "both") -> Path:
        """The folder of the classifier for chunks of this length: the version in use, if one was trained here.

        The classifier that takes DNA alone is another one. Raises IntegrityError if that version is missing or damaged.
        """
        trained = self.classifier_versions(chunk_length, inputs).folder_in_use()
        return trained or self.classifiers / f"classifier_{_name_of_place(chunk_length, inputs)}"

    def model_folders(self, chunk_length: int | None = None) -> dict[str, Path]:
        """The models that score drops of this chunk length, by what they are for; without one the encoders only."""
        folders: dict[str, Path] = {kind: self.encoder_folder(kind) for kind in ENCODER_KINDS}
        if chunk_length is not None:
            folders[f"classifier_{chunk_length}"] = self.classifier_folder(chunk_length)
            if self.dna_only_below_bases or self.score_reads_without_open_frame:
                folders[f"classifier_{chunk_length}_dna"] = self.classifier_folder(chunk_length, "dna")
        return folders

    def classifier_versions(self, chunk_length: int, inputs: Inputs = "both") -> ClassifierVersions:
        """The classifiers for chunks of this length that were trained here.

        Those that take DNA alone have a folder of their own, that of the classifier for short reads.
        """
        return ClassifierVersions(self.training_root / "classifiers" / _name_of_place(chunk_length, inputs))

    @property
    def embedding_cache(self) -> EmbeddingCache | None:
        """The cache of embeddings, if there is to be one."""
        limit = int(self.embedding_cache_gib * 2**30)
        return EmbeddingCache(self.cache_folder, limit) if limit else None

    @property
    def device_locks(self) -> Path:
        """The folder of the locks of this machine's devices; InputError if it has none."""
        return self.locks_folder or machine_locks()

    @property
    def cache_folder(self) -> Path:
        """Where the cache of embeddings is, if there is one: no drop can have this name."""
        return self.data_root / "_cache"

    @property
    def training_root(self) -> Path:
        """Where training sets and classifiers are kept: no drop can have this name."""
        return self.data_root / "_training"

    def check_not_own(self, key: str) -> None:
        """Raise InputError if the folder of a drop of this name would be one of the platform's own, or hold one.

        Letters of either case count as equal, as some disks take them.
        """
        folder_of_drop = f"{(self.data_root / key).absolute()}{os.sep}".lower()
        own = (self.data_root / "dagster", self.dagster_home, self.models, self.classifiers)
        for folder in (*own, self.drops_folder, self.locks_folder):
            if folder is not None and f"{folder.absolute()}{os.sep}".lower().startswith(folder_of_drop):
                raise InputError(
                    f"drop {key}",
                    found=f"the name of a folder of the platform, {folder}",
                    expected="another name",
                    advice="Choose one (--name), or rename the delivery.",
                )


def _name_of_place(chunk_length: int, inputs: Inputs) -> str:
    return f"{chunk_length}_dna" if inputs == "dna" else str(chunk_length)


def load_settings() -> Settings:
    """The settings of this deployment; an InputError names the first setting or variable that is wrong."""
    check_variables(Settings, os.environ)
    if sys.getfilesystemencoding() != "utf-8":
        raise InputError(
            "locale",
            found=f"names of files in {sys.getfilesystemencoding()}",
            expected="UTF-8, in which records and reports are written",
            advice="Set PYTHONUTF8=1, or a UTF-8 locale such as C.UTF-8.",
        )
    if os.path.lexists(SETTINGS_FILE) and not Path(SETTINGS_FILE).is_file():
        raise InputError(
            SETTINGS_FILE,
            found="a folder, or a link to nothing",
            expected="a file of settings",
            advice="Correct or remove it.",
        )
    try:
        return Settings()
    except ValidationError as error:
        raise _refused(error.errors()[0]) from error
    except SettingsError as error:
        raise InputError(
            "settings",
            found=str(error),
            expected="JSON in the variable of a group of settings",
            advice="Better give each setting in a variable of its own, such as VIRNUCPRO_CALLS__VIRAL_ABOVE.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            SETTINGS_FILE,
            found=excerpt(error),
            expected="TOML, name = value, in UTF-8 without a byte-order mark",
            advice='Correct the file; text needs quotes: name = "value".',
        ) from error


def _refused(error: ErrorDetails) -> InputError:
    name = excerpt(".".join(map(str, error["loc"])))
    if name in FORMER_NAMES:
        return former_name_error(f"setting {name}", FORMER_NAMES[name], f"Correct {SETTINGS_FILE}.")
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        names = [setting.name for setting in settings_of(Settings)]
        return InputError(
            f"setting {name}",
            found="a name that no setting has",
            expected=f"the name of a setting, the nearest is {nearest(name, names)}",
            advice=f"Correct {SETTINGS_FILE}.",
        )
    return InputError(
        f"setting {name}",
        found=_shown(error),
        expected=_wanted(error),
        advice=f"Set {variable_of(Settings, name)} or correct {SETTINGS_FILE}.",
    )


def _shown(error: ErrorDetails) -> str:
    """The value that was found; never one of the alerts, which hold secrets."""
    return "a value that does not fit" if error["loc"][0] == "alerts" else excerpt(repr(error["input"]))


def _wanted(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
