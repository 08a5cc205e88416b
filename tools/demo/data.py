"""Making the shipped data from the Debian packages: excerpts, drop, truth, sources and a manifest."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tools.demo.drop import make_drop, write_drop, write_truth
from tools.demo.regions import REGIONS, Region
from tools.demo.sources import SOURCES, Source
from virnucpro_assets.demo.excerpts import ROLES, Excerpt, write_excerpts
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.files.digests import FileRecord, record_of_file
from virnucpro_assets.files.manifests import write_manifest

SOURCES_HEADER = (
    "region",
    "role",
    "label",
    "organism",
    "accession",
    "first",
    "last",
    "package",
    "version",
    "file",
    "record",
    "sha256",
)


class DataManifest(BaseModel):
    """Size and digest of every other file in the data folder, by relative path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, FileRecord]


def write_data(packages: Path, folder: Path) -> None:
    """Make the data folder from the packages unpacked in `packages`."""
    excerpts = read_regions(packages)
    for role in ROLES:
        chosen = [excerpt for region, excerpt in excerpts.items() if region.role == role]
        write_excerpts(folder, role, chosen)
        if role == "held_out":
            records = make_drop(chosen)
            write_drop(folder / "drop" / "demo.fastq.gz", records)
            write_truth(folder / "truth.tsv", records)
    write_sources(folder / "sources.tsv", excerpts)
    write_data_manifest(folder)


def read_regions(packages: Path) -> dict[Region, Excerpt]:
    """Every region with its letters."""
    by_name = {source.name: source for source in SOURCES}
    letters = {name: by_name[name].read(packages) for name in {region.source for region in REGIONS}}
    return {
        region: Excerpt(
            region.source,
            region.start,
            by_name[region.source].label,
            letters[region.source][region.start : region.stop],
        )
        for region in REGIONS
    }


def write_sources(path: Path, excerpts: dict[Region, Excerpt]) -> None:
    """Write one line a region: what it is, where it was taken from and the digest of its letters."""
    by_name = {source.name: source for source in SOURCES}
    lines = [
        SOURCES_HEADER,
        *(_source_line(region, by_name[region.source], excerpts[region]) for region in REGIONS),
    ]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))


def write_data_manifest(folder: Path) -> None:
    """Record every file of the data folder in its manifest."""
    manifest = folder / "manifest.toml"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != manifest)
    files = {path.relative_to(folder).as_posix(): record_of_file(path) for path in paths}
    write_manifest(manifest, DataManifest(files=files))


def _source_line(region: Region, source: Source, excerpt: Excerpt) -> tuple[str, ...]:
    return (
        region.name,
        region.role,
        source.label,
        source.organism,
        source.accession,
        str(region.start + 1),
        str(region.stop),
        source.package.name,
        source.package.version,
        source.file,
        source.record or "first",
        hashlib.sha256(excerpt.letters.encode("ascii")).hexdigest(),
    )
