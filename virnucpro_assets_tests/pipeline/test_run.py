"""A whole drop without the orchestrator, where something in it is wrong."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.run import export_results, run_drop
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


def links_of(page: Path) -> set[str]:
    """What a page links to beside its own sections."""
    return {link for link in re.findall(r'href="([^"]+)"', page.read_text()) if not link.startswith("#")}


def test_the_report_leads_to_the_tables_and_the_hits_where_it_was_made_and_where_it_was_copied(
    finished: DropWork, tmp_path: Path
) -> None:
    copies = export_results(finished.folder, tmp_path / "out")
    stored, copied = links_of(finished.folder.report), links_of(tmp_path / "out" / "report.html")
    assert [link for link in stored if not (finished.folder.path / link).is_file()] == []
    assert copied == {path.name for path in copies} - {"report.html"} == {Path(link).name for link in stored}
    assert sorted(tmp_path.glob("out/[!.]*")) == sorted(copies)
    # The copies are known as results and replaced by the next export.
    assert export_results(finished.folder, tmp_path / "out") == copies
