"""Reads without a stop-free frame through the command line and the assets, on the demo models."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_manifest import IndexManifest
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.conftest import Installation
from virnucpro_assets_tests.frameless import mixed_reads

FRAMELESS = {"frameless", "lower", "reverse", "long", "last"}
SWITCH = {"VIRNUCPRO_SCORE_READS_WITHOUT_OPEN_FRAME": "1"}


def write_mixed(folder: Path) -> Path:
    path = folder / "mixed.fa"
    path.write_bytes(b"".join(b">%b\n%b\n" % (n.encode(), bases) for n, bases in mixed_reads().items()))
    return path


def manifest_of(installation: Installation) -> IndexManifest:
    return SequenceIndex.open(DropStore(installation.data_root).current("mixed")[1].index).manifest


@pytest.mark.slow
def test_the_switch_scores_them_and_turned_back_they_have_their_reason_again(
    new_installation: Callable[[str], Installation],
) -> None:
    installation = new_installation("frameless")
    reads, out = write_mixed(installation.folder), installation.folder / "out"
    done = installation.run("predict", str(reads), "--out", str(out), **SWITCH)
    assert done.exit_code == 0, done.stderr
    found = pq.read_table(out / "read_calls.parquet").to_pylist()
    assert {read["name"] for read in found if read["route"] == "dna"} == FRAMELESS
    assert {read["name"] for read in found if read["reason"]} == {"unknown"}
    ids = [line.split("\t")[0] for line in (out / "prediction_results.txt").read_text().splitlines()[1:]]
    assert [name for name in ids if name.endswith("N0")] == [
        f"{name}_chunk_{chunk}N0"
        for name, count in [("frameless", 1), ("lower", 1), ("reverse", 1), ("long", 3), ("last", 1)]
        for chunk in range(1, count + 1)
    ]
    kept = manifest_of(installation)
    assert (kept.frameless, kept.reasons["no_stop_free_frame"]) == ("kept", 0)
    lines = installation.run("report", "mixed", **SWITCH).stdout.splitlines()
    assert "scored by joint: 3 reads, dna: 5 reads" in lines

    back = installation.run("predict", str(reads), "--out", str(out), "--replace")
    assert back.exit_code == 0, back.stderr
    found = pq.read_table(out / "read_calls.parquet").to_pylist()
    assert {read["name"] for read in found if read["reason"] == "no_stop_free_frame"} == FRAMELESS
    assert {read["route"] for read in found} == {"joint", None}
    assert manifest_of(installation).whole_chunks is None


def test_without_a_classifier_of_the_dna_the_command_ends_before_it_begins(
    new_installation: Callable[[str], Installation],
) -> None:
    installation = new_installation("no_dna")
    reads, models = write_mixed(installation.folder), installation.folder / "models"
    shutil.copytree(MODELS_FOLDER, models, ignore=lambda *_: ["classifier_300_dna"])
    done = installation.run(
        "predict", str(reads), "--out", "out", VIRNUCPRO_CLASSIFIERS=str(models), **SWITCH
    )
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: setting score_reads_without_open_frame: found reads without an open frame to score, but no classifier "
        "in "
    )
    assert not (installation.data_root / "mixed").exists()
