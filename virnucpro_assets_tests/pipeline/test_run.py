"""A whole drop without the orchestrator, where something in it is wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings


def test_a_drop_that_gives_nan_ends_with_a_failed_check_that_names_the_candidate(tmp_path: Path) -> None:
    (tmp_path / "reads.fa").write_text(">one\nATGGCTGCAGGTCTGAAAGTTCGTGAC\n")
    model = shutil.copytree(DNABERT_S_FOLDER, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][:] = np.nan
    save_file(weights, model / "model.safetensors")
    settings = Settings(
        data_root=tmp_path / "data", dnabert_s=model, classifiers=tmp_path / "none", ranks=1, devices="cpu:1"
    )
    register_reads("d", [ReadFile(tmp_path / "reads.fa")], settings)

    with pytest.raises(EmbeddingError, match="one_chunk_1F1"):
        run_drop("d", settings, [].append)

    (path,) = (tmp_path / "data").glob("d/*/checks/dnabert_s_embeddings.finite_values.00.toml")
    check = read_manifest(path, CheckResult)
    assert not check.passed
    assert "one_chunk_1F1" in str(check.figures["reason"])
    assert not list((tmp_path / "data").glob("d/*/dnabert_s/*/manifest.toml"))
    assert not list((tmp_path / "data").glob("d/*/predictions"))
