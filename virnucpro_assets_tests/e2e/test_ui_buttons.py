"""What the buttons and lists of the web interface do, asked for as its pages do it."""

from collections.abc import Iterator
from typing import Any

import pytest

from virnucpro_assets.checks.results import PRECISION_CHECKS
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.web_server import WebServer, running_web_server

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

RUNS_OF_DROP = """
{ runsOrError(filter: {tags: [{key: "virnucpro/drop", value: "d2"}]}) {
  ... on Runs { results { jobName status } }
} }"""
EXECUTIONS = """
query ($asset: AssetKeyInput!, $check: String!) {
  assetCheckExecutions(assetKey: $asset, checkName: $check, limit: 9, partition: "d2") { status runId }
}"""


@pytest.fixture(scope="module")
def server(new_deployment: Any) -> Iterator[WebServer]:
    """The web server of a deployment in which the command line made two drops."""
    deployment: Deployment = new_deployment()
    for drop in ("d1", "d2"):
        deployment.deliver(drop, 4, partition=False)
        deployment.command("virnucpro", "materialize", drop)
    with running_web_server(deployment, VIRNUCPRO_AUTOMATION="false") as web:
        yield web


def test_runs_of_the_command_line_are_found_by_their_drop(server: WebServer) -> None:
    runs = server.ask(RUNS_OF_DROP)["results"]
    found = [(run["jobName"], run["status"]) for run in runs]
    assert found == [(job, "SUCCESS") for job in ("call_drop", "embed_drop", "index_drop")]


def test_execute_all_on_the_checks_of_predictions_runs_them_on_the_drop_made_last(server: WebServer) -> None:
    predictions = {"path": ["predictions"]}
    before = executions(server)
    checks = [{"assetKey": predictions, "name": name} for name in PRECISION_CHECKS]
    run, status = server.run("__ASSET_JOB", assetSelection=[], assetCheckSelection=checks)
    assert status == "SUCCESS"
    for name, found in executions(server).items():
        assert found[0] == {"status": "SUCCEEDED", "runId": run}
        assert found[1:] == before[name]


def executions(server: WebServer) -> dict[str, Any]:
    """The evaluations of the checks of predictions of the second drop, the last one first."""
    asset = {"path": ["predictions"]}
    return {name: server.ask(EXECUTIONS, asset=asset, check=name) for name in PRECISION_CHECKS}
