"""A running `dagster dev`, web server and daemon, spoken to as the UI does."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virnucpro_assets_tests.conftest import with_default_signals
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.waiting import wait_until

WORKSPACE = Path(__file__).parents[1] / "workspace.yaml"
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "virnucpro_assets"}
LOADED = "{ assetNodes { assetKey { path } } }"
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
  }
}"""
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


class WebServer:
    """The GraphQL interface of a running web server."""

    def __init__(self, port: int, prefix: str = "") -> None:
        self.url = f"http://127.0.0.1:{port}{prefix}/graphql"

    def ask(self, query: str, **variables: object) -> Any:
        """The answer to a query, or an error that shows why there is none."""
        request = urllib.request.Request(  # noqa: S310 - always this machine
            self.url,
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from error
        assert "errors" not in found, found["errors"]
        (value,) = found["data"].values()
        return value

    def run(self, job: str, config: dict[str, Any] | None = None, **selection: object) -> tuple[str, str]:
        """Launch a run of a job as the UI does, and wait for its end; its id and status."""
        selector = {**REPOSITORY, "pipelineName": job, **selection}
        launched = self.ask(
            LAUNCH, params={"selector": selector, "mode": "default", "runConfigData": config or {}}
        )
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = launched["run"]["runId"]
        wait_until(lambda: self.ask(RUN, id=run)["status"] in {"SUCCESS", "FAILURE"}, 150)
        return run, self.ask(RUN, id=run)["status"]

    def ready(self) -> bool:
        """Whether the server answers and has loaded the definitions."""
        try:
            return bool(self.ask(LOADED))
        except OSError:
            return False


@contextmanager
def running_web_server(deployment: Deployment, **environment: str) -> Iterator[WebServer]:
    """Run `dagster dev` of a deployment, with some more variables, for the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (deployment.root / "dagster-dev.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE)),
                *("-h", "127.0.0.1", "-p", str(port)),
            ],
            env=deployment.environment | environment,
            cwd=deployment.root,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=with_default_signals,  # noqa: PLW1509
        )
        try:
            web = WebServer(port)
            wait_until(web.ready, 90)
            yield web
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
