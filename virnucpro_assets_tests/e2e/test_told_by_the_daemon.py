"""A rank that fails in a running `dagster dev`: who hears of it, and that no secret is written anywhere."""

from uuid import uuid4

import pytest

from virnucpro_assets.defs.alerts import SENSOR
from virnucpro_assets.defs.partitions import EMBEDDINGS
from virnucpro_assets_tests.e2e.test_failed_ranks import BACKFILL, Server, held_rank, selection
from virnucpro_assets_tests.receivers import running_webhook
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import REPOSITORY, running_web_server

pytestmark = [pytest.mark.timeout(600), pytest.mark.daemon]

TICKS = """
query ($sensor: InstigationSelector!) {
  instigationStateOrError(instigationSelector: $sensor) {
    ... on InstigationState { ticks(limit: 20) { status error { message stack } logKey } }
  }
}"""


def test_the_daemon_tells_of_a_failed_rank_once_and_writes_no_secret(new_deployment):
    deployment = new_deployment()
    deployment.deliver("d1", 6)
    assert deployment.run("index_drop", "d1").success
    secrets = {name: f"{name}-{uuid4()}" for name in ("path", "header", "word")}
    with running_webhook() as hook:
        # Nobody takes the e-mails, so that the trouble is written to the tick.
        variables = {
            "VIRNUCPRO_ALERTS__WEBHOOK": f"{hook.url}/{secrets['path']}",
            "VIRNUCPRO_ALERTS__WEBHOOK_HEADER": f"Authorization: Bearer {secrets['header']}",
            "VIRNUCPRO_ALERTS__MAIL_TO": "lab@example.org",
            "VIRNUCPRO_ALERTS__SMTP_HOST": "127.0.0.1",
            "VIRNUCPRO_ALERTS__SMTP_PORT": "1",
            "VIRNUCPRO_ALERTS__SMTP_USER": "lab",
            "VIRNUCPRO_ALERTS__SMTP_PASSWORD": secrets["word"],
            "VIRNUCPRO_ALERTS__LOG": "1",
            "VIRNUCPRO_WHEN_BUSY": "refuse",
            "VIRNUCPRO_STEP_RETRIES": "0",
        }
        sensor = {**REPOSITORY, "name": SENSOR}
        with running_web_server(deployment, **variables) as web:
            server = Server(web, deployment)
            wait_until(lambda: bool(web.ask(TICKS, sensor=sensor)["ticks"]), 120)
            with held_rank(deployment, "d1", "esm2", 2):
                backfill = server.backfill(BACKFILL, params=selection(EMBEDDINGS, "d1"))
            assert server.status(backfill) == "COMPLETED_FAILED"
            wait_until(lambda: bool(hook.bodies), 120)
            seen = len(web.ask(TICKS, sensor=sensor)["ticks"])
            wait_until(lambda: len(web.ask(TICKS, sensor=sensor)["ticks"]) >= seen + 2, 150)
            ticks = web.ask(TICKS, sensor=sensor)["ticks"]

    (body,), (headers,) = hook.bodies, hook.headers
    (failure,) = body["failures"]
    assert headers["Authorization"] == f"Bearer {secrets['header']}"
    assert (body["kind"], failure["drop"], failure["ranks"]) == ("run failed", "d1", [2])
    assert "found it held by" in failure["reason"]
    assert failure["command"] == "virnucpro retry d1"
    told = [tick["error"]["message"] for tick in ticks if tick["error"]]
    log = (deployment.root / "dagster-dev.log").read_text()
    assert "to repair: virnucpro retry d1" in log
    assert any("e-mail: ConnectionRefusedError" in text for text in [*told, log])
    files = [path for path in deployment.root.rglob("*") if path.is_file()]
    assert len(files) > 50
    for name, secret in secrets.items():
        assert [path for path in files if secret.encode() in path.read_bytes()] == [], name
        assert secret not in str(ticks)
    settings = ["env", *(f"{name}={value}" for name, value in variables.items()), "virnucpro", "settings"]
    printed = deployment.command(*settings)
    assert "alerts.smtp_user = lab" in printed
    assert printed.count(" = (secret)") == 3
    assert not [name for name, secret in secrets.items() if secret in printed]
