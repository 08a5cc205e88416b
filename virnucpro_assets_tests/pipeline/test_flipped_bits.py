"""A bit of a stored file flips, and the step that reads it is repeated: an error naming the file, or equal results."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.checks.results import completeness
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.drops.recipes import choose_encoder
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.intake.registration import list_drop
from virnucpro_assets.models.cards import EncoderCard, read_card, write_card
from virnucpro_assets.models.classifier import load_classifier, save_classifier
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.models.versions import ClassifierVersions, VersionRecord
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.pipeline.run import export_results
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.cached_rows import CachedRows
from virnucpro_assets.storage.embedding_cache import EmbeddingCache, keep_rows, keys_of
from virnucpro_assets.storage.merged_reader import read_merged_at
from virnucpro_assets.storage.training_set import (
    LabelledRows,
    TrainingSetManifest,
    read_training_set,
    write_rows,
    write_training_set,
)
from virnucpro_assets.vocabulary import ENCODER_KINDS

pytestmark = pytest.mark.slow

FLIPS = 3
"""Of each file and step: of all files together a few hundred."""

RANK = "rank-01-of-04"
KEYS = keys_of(Ragged.from_strings([b"ATG", b"CCC", b"GCA"]))


@dataclass(frozen=True)
class Place:
    """A finished drop, its models, and a classifier, a training set and a cache beside it."""

    root: Path

    @property
    def settings(self) -> Settings:
        models = self.root / "models"
        return Settings(
            data_root=self.root / "data",
            classifiers=models,
            esm2=models / "esm2",
            dnabert_s=models / "dnabert_s",
            devices="cpu:1",
            check_sample=4,
        )

    @property
    def work(self) -> DropWork:
        return DropWork.on("d", self.settings, [].append)

    @property
    def versions(self) -> ClassifierVersions:
        return ClassifierVersions(self.root / "versions")

    @property
    def cache(self) -> EmbeddingCache:
        return EmbeddingCache(self.root / "cache", 1 << 20)

    def files(self, pattern: str) -> list[Path]:
        """The stored files of a pattern, relative to the root; GENERATION is the drop's."""
        (generation,) = (path.parent.name for path in self.root.glob("data/d/*/drop.toml"))
        return sorted(self.root.glob(pattern.replace("GENERATION", f"data/d/{generation}")))


def listed(place: Place) -> object:
    return list_drop("d", place.settings).digest


def opened(place: Place) -> object:
    work = place.work
    return work.drop, work.folder


def indexed(place: Place) -> object:
    return index_drop(place.work)


def rows_read(place: Place) -> object:
    index = place.work.index
    rows = index.rows(0, index.manifest.rows)
    return rows.proteins.data.tobytes(), rows.nucleotides.data.tobytes(), index.protein_lengths().tolist()


def merged(place: Place) -> object:
    return merge_drop(place.work)


def checked(place: Place) -> object:
    return completeness(place.work)


def sampled(place: Place) -> object:
    work = place.work
    return read_merged_at(work.folder.path, np.arange(work.index.manifest.rows)).tobytes()


def predicted(place: Place) -> object:
    tables, summary = predict_drop(place.work)
    return tables, summary


def called(place: Place) -> object:
    return call_drop(place.work)


def reported(place: Place) -> object:
    return gather_report(place.work).model_dump(exclude={"made_at"})


def exported(place: Place) -> object:
    return {path.name: path.read_bytes() for path in export_results(place.work.folder, place.root / "out")}


def encoders_chosen(place: Place) -> object:
    return [choose_encoder(place.settings, kind) for kind in ENCODER_KINDS]


def version_taken(place: Place) -> object:
    folder = place.versions.folder_in_use()
    assert folder is not None
    classifier, card = load_classifier(folder)
    return folder, card, {name: tensor.tolist() for name, tensor in classifier.state_dict().items()}


def training_set_read(place: Place) -> object:
    manifest, rows = read_training_set(place.root / "set")
    return manifest, [column.tolist() for column in (rows.embeddings, rows.is_virus, rows.split, rows.row)]


def cache_looked_up(place: Place) -> object:
    found = CachedRows(place.cache, "0" * 64, 4).find(KEYS)
    if found.warnings:
        # A damaged segment is set aside and its rows are computed again.
        raise IntegrityError("cache", found="; ".join(found.warnings), expected="whole segments", advice="")
    return found.positions.tolist(), found.embeddings.tolist()


STEPS: list[tuple[str, Callable[[Place], object]]] = [
    ("data/d/source.toml", listed),
    ("data/d/current.toml", opened),
    ("GENERATION/drop.toml", opened),
    *(
        (f"GENERATION/index/{name}", step)
        for name in ("*.parquet", "manifest.toml")
        for step in (indexed, predicted)
    ),
    ("GENERATION/index/rows.parquet", rows_read),
    ("GENERATION/index/*.parquet", called),
    *((f"GENERATION/*/{RANK}/{name}", merged) for name in ("manifest.toml", "shard.h5", "part-*.h5")),
    *(
        (f"GENERATION/*/{RANK}/{name}", step)
        for name in ("manifest.toml", "part-*.h5")
        for step in (checked, predicted, sampled)
    ),
    *((f"GENERATION/merged.{ending}", step) for ending in ("h5", "toml") for step in (checked, predicted)),
    ("GENERATION/predictions/*", called),
    ("GENERATION/calls/*", reported),
    ("GENERATION/calls/*", exported),
    ("GENERATION/predictions/*", exported),
    ("GENERATION/stages/esm2.toml", reported),
    ("GENERATION/checks/predictions.*.toml", reported),
    ("models/classifier_300/*", predicted),
    ("models/classifier_300/*", called),
    ("models/esm2/*", encoders_chosen),
    ("models/dnabert_s/*", encoders_chosen),
    ("versions/*.toml", version_taken),
    ("versions/*/*", version_taken),
    ("set/*", training_set_read),
    ("cache/*/*", cache_looked_up),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, finished_data: Path) -> Place:
    """All stored files as they were written; look at them only."""
    place = Place(tmp_path_factory.mktemp("whole"))
    shutil.copytree(finished_data, place.root / "data")
    models = shutil.copytree(MODELS_FOLDER, place.root / "models")
    for kind in ENCODER_KINDS:
        write_card(models / kind, card_of(models / kind))
    keep_version(place.versions)
    keep_training_set(place.root / "set")
    keep_rows(place.cache, "0" * 64, KEYS, np.arange(12, dtype=np.float32).reshape(3, 4))
    return place


def card_of(folder: Path) -> EncoderCard:
    found = read_model_folder(folder)
    return EncoderCard(
        kind=found.kind,
        model="",
        is_published=False,
        width=found.width,
        parameters=1,
        stored_as="float32",
        digest=found.digest,
        source="a test",
        files={},
        licence="MIT",
        created_with="0",
    )


def keep_version(versions: ClassifierVersions) -> None:
    demo = MODELS_FOLDER / "classifier_300"
    with versions.adding() as folder:
        save_classifier(folder, load_classifier(demo)[0].state_dict(), read_card(demo))
        record = VersionRecord(
            digest=sha256_of_file(folder / "model.safetensors"),
            made_at=datetime(2026, 1, 1, tzinfo=UTC),
            training_set="s",
            options={},
            accepted=True,
            verdict="",
            files={},
        )
        version = versions.keep(folder, record)
    versions.use(version.name)


def keep_training_set(folder: Path) -> None:
    numbers = np.arange(6, dtype=np.int64)
    rows = LabelledRows(
        np.arange(24, dtype=np.float32).reshape(6, 4), numbers % 2 == 0, *(numbers for _ in range(5))
    )
    manifest = TrainingSetManifest(
        inputs={"drop d": "digest"},
        chunk_length=300,
        widths={"dnabert_s": 2, "esm2": 2},
        encoders={"dnabert_s": "a", "esm2": "b"},
        precision="float32",
        drops=["d"],
        counts={"train": {"virus": 3, "others": 3}},
        left_out={},
        sources=[],
        file=write_rows(folder, [rows], 6, 4),
    )
    write_training_set(folder, manifest)


@pytest.fixture
def place(tmp_path: Path, whole: Place) -> Place:
    """A copy of all stored files, of the test's own."""
    return replace(whole, root=shutil.copytree(whole.root, tmp_path / "place"))


def restore(place: Place, whole: Place, path: Path) -> None:
    """Put back the file at `path`, and what the steps write to."""
    for folder in (place.root / "data", place.root / "cache"):
        shutil.rmtree(folder)
        shutil.copytree(whole.root / folder.name, folder)
    shutil.copyfile(whole.root / path.relative_to(place.root), path)


def flipped(content: bytes, draw: random.Random) -> bytes:
    """`content` with one bit turned."""
    changed = bytearray(content)
    changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def outcomes(place: Place, whole: Place, path: Path, step: Callable[[Place], object]) -> Iterator[str]:
    """What becomes of the step after each of some flips in a file: caught, equal or other."""
    draw = random.Random(path.name)
    expected, content = step(place), path.read_bytes()
    for _ in range(FLIPS):
        restore(place, whole, path)
        path.write_bytes(flipped(content, draw))
        try:
            found = step(place)
        except IntegrityError as error:
            named = str(path) in str(error) or (
                path.parent.parent == place.root / "models" and path.name in str(error)
            )
            yield "caught" if named else f"caught, but the file is not named: {error}"
        else:
            yield "equal" if found == expected else "other"
    restore(place, whole, path)


@pytest.mark.parametrize(
    ("pattern", "step"), [pytest.param(*one, id=f"{one[0]}, {one[1].__name__}") for one in STEPS]
)
def test_a_flipped_bit_is_an_error_that_names_the_file_or_changes_no_result(
    place: Place, whole: Place, pattern: str, step: Callable[[Place], object]
) -> None:
    files = place.files(pattern)
    assert files
    found: Counter[str] = Counter()
    for path in files:
        found.update(outcomes(place, whole, path, step))
    assert set(found) <= {"caught", "equal"}, found
    assert found.total() == FLIPS * len(files)
