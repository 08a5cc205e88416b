"""Training as a person launches it in the UI: the job with its config, through a running web server."""

from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.labelled import embedded_drops, write_labelled_reads
from virnucpro_assets_tests.web_server import WebServer, running_web_server

pytestmark = [pytest.mark.timeout(300), pytest.mark.daemon]

CHECK = """
query {
  assetNodeOrError(assetKey: {path: ["classifier_evaluation"]}) {
    ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks { name
      executionForLatestMaterialization { status } } } } }
  }
}"""
SHOWN = """
query {
  assetOrError(assetKey: {path: ["classifier_evaluation"]}) {
    ... on Asset { assetMaterializations(limit: 1) { metadataEntries { label
      ... on BoolMetadataEntry { boolValue } ... on MarkdownMetadataEntry { mdStr }
      ... on PathMetadataEntry { path } } } }
  }
}"""


def launch(server: WebServer, config: dict[str, Any]) -> str:
    """Launch the job with a config and wait for its end; returns the status."""
    return server.run("train_classifier", {"ops": {"train": {"config": config}}})[1]


def test_a_person_trains_and_a_worse_one_is_kept_out(deployment: Deployment):
    limit_threads(1)
    none = {"VIRNUCPRO_RANKS": "1", "VIRNUCPRO_CLASSIFIERS": str(deployment.root / "none")}
    settings = deployment.settings(ranks=1, classifiers=deployment.root / "none")
    embedded_drops(write_labelled_reads(deployment.root / "files", 150), settings)
    good = {"virus": ["virus"], "others": ["others"], "learning_rate": 0.01, "batch_size": 64, "epochs": 8}
    with running_web_server(deployment, **none) as server:
        assert launch(server, good) == "SUCCESS"
        first = settings.classifier_versions(300).in_use()
        (made,) = server.ask(SHOWN)["assetMaterializations"]
        shown = {entry["label"]: entry for entry in made["metadataEntries"]}
        assert shown["in_use"]["boolValue"] is True
        assert shown["roc"]["mdStr"].startswith("![plot](data:image/png;base64,")
        assert Path(shown["page"]["path"]).parent.name == first
        (check,) = server.ask(CHECK)["assetChecksOrError"]["checks"]
        assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED"

        assert launch(server, good | {"learning_rate": 1e-9, "epochs": 1}) == "FAILURE"
        (check,) = server.ask(CHECK)["assetChecksOrError"]["checks"]
        assert check["executionForLatestMaterialization"]["status"] == "FAILED"
        assert settings.classifier_versions(300).in_use() == first
