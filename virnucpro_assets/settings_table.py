"""All settings as a table: for the terminal, and for docs/operations.md.

`python -m virnucpro_assets.settings_table docs/operations.md` writes the table into that page, between
its two marks.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.settings import Settings

BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


@dataclass(frozen=True)
class Setting:
    """One setting: its name, as `calls.min_chunks`, its variable, its default and its meaning."""

    name: str
    variable: str
    default: Any
    meaning: str


def all_settings(model: type[BaseModel] = Settings, name: str = "", variable: str = "") -> Iterator[Setting]:
    """Every setting in the order of its definition, those of a group one by one."""
    for field_name, field in model.model_fields.items():
        found = Setting(
            f"{name}{field_name}",
            _variable(field, variable, field_name),
            field.get_default(call_default_factory=True),
            field.description or "",
        )
        if isinstance(found.default, BaseModel):
            yield from all_settings(type(found.default), f"{found.name}.", f"{found.variable}__")
        elif is_dataclass(found.default):
            yield from _of_dataclass(found)
        else:
            yield found


def in_use(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of every setting of a deployment; of a secret only whether there is one."""
    for setting in all_settings():
        value: Any = settings
        for name in setting.name.split("."):
            value = getattr(value, name)
        yield setting.name, _shown(value), setting.meaning


def markdown() -> str:
    """The table of the documentation."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for setting in all_settings():
        meaning = setting.meaning.replace("|", "\\|")
        lines.append(f"| `{setting.name}` | {_default(setting.default)} | {meaning} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """A page with the table between its marks. Raises ValueError if it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def _of_dataclass(group: Setting) -> Iterator[Setting]:
    """The settings of a group that is a dataclass, whose meanings are the words that annotate its fields."""
    for name, annotated in get_type_hints(type(group.default), include_extras=True).items():
        yield Setting(
            f"{group.name}.{name}",
            f"{group.variable}__{name.upper()}",
            getattr(group.default, name),
            get_args(annotated)[1],
        )


def _variable(field: FieldInfo, prefix: str, name: str) -> str:
    alias = field.validation_alias
    if alias is None:
        return f"{prefix or 'VIRNUCPRO_'}{name.upper()}"
    return str(getattr(alias, "choices", [alias])[0])


def _default(value: Any) -> str:
    """A default as the documentation shows it, the same on every machine."""
    if isinstance(value, Path) and value.is_relative_to(MODELS_FOLDER):
        return "demo models"
    if isinstance(value, Path) and value.is_absolute():
        return "in the temporary folder, by user"
    return f"`{_shown(value)}`" if value not in {None, ""} else ""


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case SecretStr():
            return "(secret)"
        case _:
            return str(value)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    write_text(page, with_table(page.read_text(encoding="utf-8")))
