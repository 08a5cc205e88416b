"""A device process that computes its parts and forgets them: neither digested nor written."""

from pathlib import Path
from typing import Any

from virnucpro_assets.files.digests import FileRecord
from virnucpro_assets.inference import device_process
from virnucpro_assets.storage import parts
from virnucpro_assets.storage.parts import PackCounts, PartPlan, PartRecord
from virnucpro_assets.storage.provenance import Recipe


def forget(
    path: Path, plan: PartPlan, recipe: Recipe, embeddings: Any, counts: PackCounts, **incidents: Any
) -> PartRecord:
    """The record of a part that does not exist."""
    return PartRecord(
        name=plan.file_name,
        start=plan.start,
        stop=plan.stop,
        width=embeddings.shape[1],
        file=FileRecord(size=0, sha256=""),
        content_sha256="",
        counts=counts,
    )


if __name__ == "__main__":
    # Before the worker takes it from there.
    parts.write_part = forget  # type: ignore[assignment]
    device_process.main()
