"""All settings as a table for docs/settings.md.

`python -m tools.settings_table docs/settings.md` writes the table into that page, between its two marks.
"""

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.settings_fields import (
    ComputeSettings,
    DeliverySettings,
    ModelSettings,
    ScheduleSettings,
)
from virnucpro_assets.settings_groups import OperationSettings, ResultSettings
from virnucpro_assets.settings_names import settings_of, shown

GROUPS: dict[str, type[BaseModel]] = {
    "Deliveries": DeliverySettings,
    "Models": ModelSettings,
    "Devices and computing": ComputeSettings,
    "Automation": ScheduleSettings,
    "Results": ResultSettings,
    "Alerts and storage": OperationSettings,
}
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def markdown() -> str:
    """The table of the documentation: the settings of each group after a row with its title.

    What a meaning says of the default is in its column.
    """
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for title, group in GROUPS.items():
        lines.append(f"| **{title}** | | |")
        for setting in settings_of(group):
            meaning, _, otherwise = setting.meaning.replace("|", "\\|").partition("; default: ")
            lines.append(f"| `{setting.name}` | {_default(setting.default) or otherwise} | {meaning} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """A page with the table between its marks. Raises ValueError if it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def _default(value: Any) -> str:
    """A default as the documentation shows it, the same on every machine."""
    if isinstance(value, Path) and value.is_relative_to(MODELS_FOLDER):
        return "demo models"
    return f"`{shown(value)}`" if value not in {None, ""} else ""


if __name__ == "__main__":
    page = Path(sys.argv[1])
    write_text(page, with_table(page.read_text(encoding="utf-8")))
