"""The truth about the demo drop: which read comes from what."""

from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.demo.paths import TRUTH_FILE


@dataclass(frozen=True, slots=True)
class Truth:
    """Where a read comes from. `label` is virus, others or artefact; `genome` seen, unseen or none.

    A genome is seen when training saw other regions of it.
    """

    label: str
    genome: str
    source: str


def read_truth(path: Path = TRUTH_FILE) -> dict[str, Truth]:
    """The truth by read id, in the order of the drop."""
    lines = path.read_text(encoding="ascii").splitlines()[1:]
    fields = (line.split("\t") for line in lines)
    return {read_id: Truth(label, genome, source) for read_id, label, genome, source, *_ in fields}
