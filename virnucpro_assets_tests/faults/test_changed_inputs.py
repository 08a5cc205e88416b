"""Index, weights or precision changed between a stop and the resume: refused, or replaced with the former kept."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.models.cards import SEAL
from virnucpro_assets.models.folders import WEIGHTS_FILE, read_model_folder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.parts import part_recipe
from virnucpro_assets_tests.faults.drops import KEY, DropPlace, assert_equal_numbers

pytestmark = pytest.mark.timeout(300)

REFUSAL = re.compile(
    r"error: (?P<file>.+?): found embeddings of recipe (?P<found>[0-9a-f]{64}); "
    r"expected recipe (?P<expected>[0-9a-f]{64}) \((?P<differences>.+?)\)\. "
    r"Embeddings of two recipes are never mixed: .*--replace.*"
)


@dataclass(frozen=True)
class Changed:
    """What a run after a change is started with, and how its refusal says what differs."""

    differences: str
    options: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


Change = Callable[[DropPlace, Path], Changed]


def change_weights(_: DropPlace, models: Path) -> Changed:
    """Other numbers in DNABERT-S: shapes, path, size and file time stay as they were.

    The classifier's card names the new weights, as if it had been trained on them.
    """
    file, former = models / "dnabert_s" / WEIGHTS_FILE, read_model_folder(models / "dnabert_s").digest
    before = file.stat()
    weights = load_file(file)
    (name,) = [name for name in weights if name.endswith("word_embeddings.weight")]
    weights[name] = weights[name] * np.float32(1.125)
    save_file(weights, file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    card, now = models / "classifier_300" / "card.json", read_model_folder(models / "dnabert_s").digest
    about = json.loads(card.read_text())
    about["encoders"]["dnabert_s"] = now
    del about[SEAL]
    card.write_text(json.dumps(about))
    return Changed(f"weights_digest {former} is now {now}")


def change_precision(_: DropPlace, __: Path) -> Changed:
    tolerant = {"min_cosine": 0.9, "min_label_agreement": 0.5}
    return Changed("precision float32 is now bfloat16", settings={"precision": "bfloat16", **tolerant})


def change_index(place: DropPlace, _: Path) -> Changed:
    """The same file cut into longer chunks, as a replaced drop would be."""
    former = SequenceIndex.open(place.drop.index).manifest.digest
    settings = Settings(data_root=place.folder / "data")
    register_reads(KEY, [ReadFile(place.reads)], settings, chunk_length=500, replace=True)
    return Changed(f"index_digest {former} is now {{index}}", options=("--chunk-length", "500"))


@dataclass(frozen=True)
class Stopped:
    """A drop that was stopped in the middle, and what was changed then; `left` is all it had stored."""

    place: DropPlace
    models: dict[str, Path]
    changed: Changed
    left: dict[str, tuple[str, int]]

    def run(self, *options: str, place: DropPlace | None = None) -> tuple[int, list[str]]:
        """Do the drop, or that of another place, with what was changed."""
        arguments = (*self.changed.options, *options)
        return (place or self.place).run(*arguments, **self.models, **self.changed.settings)

    @classmethod
    def before(cls, change: Change, folder: Path) -> "Stopped":
        """Stop a drop in the middle and make the change."""
        place, models = DropPlace(folder / "place"), shutil.copytree(MODELS_FOLDER, folder / "models")
        settings = {"classifiers": models, "dnabert_s": models / "dnabert_s", "esm2": models / "esm2"}
        parts = place.stop_in_the_middle(**settings)
        left = place.stored()
        # The second encoder was not begun, and the first has parts of some ranks only.
        assert 0 < len(parts) == len([name for name in left if name.endswith(".h5")])
        assert all(name.startswith("dnabert_s/") for name in left)
        assert len(list(place.drop.path.glob("dnabert_s/*/manifest.toml"))) < 4
        return cls(place, settings, change(place, models), left)


@pytest.mark.parametrize(
    "change",
    [
        change_weights,
        pytest.param(change_precision, marks=pytest.mark.slow),
        pytest.param(change_index, marks=pytest.mark.slow),
    ],
)
def test_a_resume_after_a_change_is_refused_and_touches_nothing(tmp_path: Path, change: Change) -> None:
    stopped = Stopped.before(change, tmp_path)
    place = stopped.place

    code, said = stopped.run()

    assert code == IntegrityError.exit_code
    refusal = REFUSAL.fullmatch(said[-1])
    assert refusal, said[-1]
    index = SequenceIndex.open(place.drop.index).manifest.digest
    assert refusal["differences"] == stopped.changed.differences.format(index=index)
    assert refusal["found"] == part_recipe(Path(refusal["file"])).digest != refusal["expected"]
    assert place.stored() == stopped.left


@pytest.mark.slow
@pytest.mark.parametrize("change", [change_weights, change_precision, change_index])
def test_a_replacement_after_a_change_keeps_the_former_aside_and_mixes_nothing(
    tmp_path: Path, change: Change
) -> None:
    stopped = Stopped.before(change, tmp_path)
    place, fresh = stopped.place, DropPlace(tmp_path / "fresh")

    code, said = stopped.run("--replace")
    assert code == 0, said

    assert stopped.run(place=fresh)[0] == 0
    assert {shard.recipe for shard in place.shards().values()} == {
        shard.recipe for shard in fresh.shards().values()
    }
    assert sum(shard.reused_parts for shard in place.shards().values()) == 0
    assert_equal_numbers(place.numbers(), fresh.numbers())
    assert place.tables() == fresh.tables()
    aside = {name: found for name, found in place.stored().items() if ".superseded-1/" in name}
    assert {name.replace(".superseded-1", ""): found for name, found in aside.items()} == stopped.left
