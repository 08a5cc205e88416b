"""All settings by name: their variables and values as text, and the check that no variable is misspelt.

A variable with the prefix of this project that names no setting is an error, because the setting that it was meant for
would silently keep its default. Names are compared without regard to case, as pydantic-settings does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from virnucpro_assets.errors import InputError

PREFIX = "VIRNUCPRO_"

FORMER_NAMES = {
    "alerts.attempts": "",
    "look_seconds": "scan_interval_seconds",
    "restarts": "max_device_restarts",
    "scan_seconds": "",
    "score_frameless": "score_reads_without_open_frame",
    "sheets_may_lead_out": "allow_external_sample_paths",
    "short_below": "dna_only_below_bases",
}
"""Former names of settings with the present ones; empty if there is no such setting any more."""


@dataclass(frozen=True)
class Setting:
    """One setting: its name, as `calls.min_chunks`, its variable, its default and its meaning."""

    name: str
    variable: str
    default: Any
    meaning: str


def settings_of(model: type[BaseModel], name: str = "", variable: str = "") -> Iterator[Setting]:
    """Every setting of a model in the order of its definition; those of a group follow one by one."""
    for field_name, field in model.model_fields.items():
        found = Setting(
            f"{name}{field_name}",
            _variable(field, variable, field_name),
            field.get_default(call_default_factory=True),
            field.description or "",
        )
        if isinstance(found.default, BaseModel):
            yield from settings_of(type(found.default), f"{found.name}.", f"{found.variable}__")
        else:
            yield found


def in_use(settings: BaseModel) -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of every setting of a deployment; a secret is shown as `(secret)`."""
    for setting in settings_of(type(settings)):
        value: Any = settings
        for name in setting.name.split("."):
            value = getattr(value, name)
        yield setting.name, shown(value), setting.meaning


def shown(value: Any) -> str:
    """The value of a setting as text."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case SecretStr():
            return "(secret)"
        case _:
            return str(value)


def check_variables(model: type[BaseModel], variables: Iterable[str]) -> None:
    """Raise InputError for the first of `variables` that has the prefix and names no setting of `model`."""
    settings = list(settings_of(model))
    groups = {
        f"{PREFIX}{setting.name.partition('.')[0].upper()}" for setting in settings if "." in setting.name
    }
    known = {setting.variable for setting in settings} | groups
    for variable in sorted(variables):
        name = variable.upper()
        former = name.removeprefix(PREFIX).lower().replace("__", ".")
        if name.startswith(PREFIX) and former in FORMER_NAMES:
            now = FORMER_NAMES[former]
            present = f"{PREFIX}{now.upper()}" if now else ""
            raise former_name_error(f"variable {variable}", present, "Rename or unset it.")
        if name.startswith(PREFIX) and name not in known:
            # A setting whose variable has another name is found by its name in a file.
            spellings = {setting.name.replace(".", "__").upper(): setting.variable for setting in settings}
            raise InputError(
                f"variable {variable}",
                found="a name that no setting has",
                expected=f"the name of a setting, the nearest is {nearest(name.removeprefix(PREFIX), spellings)}",
                advice="Correct the name or unset it; docs/settings.md lists all settings.",
            )


def former_name_error(where: str, present: str, advice: str) -> InputError:
    """The error for a former name of a setting at `where`, whose present name is `present`, if it has one."""
    return InputError(
        where,
        found="the name of a setting in an earlier version",
        expected=f"{present}, its name now" if present else "no such setting: it has no effect any more",
        advice=advice,
    )


def nearest(name: str, names: Iterable[str] | dict[str, str]) -> str:
    """The most similar one of `names`; of a dict its value."""
    found = get_close_matches(name, list(names), n=1, cutoff=0.0)[0]
    return names[found] if isinstance(names, dict) else found


def variable_of(model: type[BaseModel], name: str) -> str:
    """The variable of a setting, as `calls.min_chunks`, of a group of settings, or of one named by its variable."""
    variables = {setting.name: setting.variable for setting in settings_of(model)}
    is_variable = name in variables.values()
    return variables.get(name, name if is_variable else f"{PREFIX}{name.replace('.', '__').upper()}")


def _variable(field: FieldInfo, prefix: str, name: str) -> str:
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{prefix or PREFIX}{name.upper()}"
