"""The services as their units start them, with PostgreSQL for the records."""

import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virnucpro_assets.defs.partitions import EMBEDDINGS, OF_CALL, OF_INDEX
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.sites.backfills import LAUNCH, materialise
from virnucpro_assets_tests.sites.debian import program
from virnucpro_assets_tests.sites.postgres import FRAGMENT, PASSWORD, Postgres, running_postgres
from virnucpro_assets_tests.sites.proxies import PEOPLE, running_proxy
from virnucpro_assets_tests.sites.results import results
from virnucpro_assets_tests.sites.services import QUICK, SERVICES, UNITS, Services, running_services, unit
from virnucpro_assets_tests.web_server import REPOSITORY

pytestmark = [pytest.mark.site, pytest.mark.timeout(420)]

READS = 30
ADD_DROP = """
mutation ($repository: RepositorySelector!, $drop: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "sequence_drops", partitionKey: $drop) {
    __typename
  }
}"""
COUNT = "{ assetNodes { assetKey { path } partitionStats { numMaterialized } } }"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def services(new_deployment: Callable, postgres: Postgres) -> Iterator[Services]:
    """The services of a deployment in which one drop was materialised through the web interface."""
    deployment = new_deployment()
    for database in (deployment.root / "dagster").rglob("*.db*"):
        database.unlink()
    with (deployment.root / "dagster" / "dagster.yaml").open("a") as file:
        file.write(FRAGMENT.read_text())
    deployment.deliver("served", READS, partition=False)
    with running_services(deployment, VIRNUCPRO_DEVICES="cpu:1", **QUICK, **postgres.environment) as running:
        materialise(running.web, "served", 300)
        yield running


def test_the_results_are_those_of_the_command_line_with_sqlite(services: Services, new_deployment) -> None:
    alone = new_deployment()
    alone.deliver("served", READS)
    alone.command("virnucpro", "materialize", "served")
    expected = results(alone.root / "data", "served")
    assert len(expected) > 12
    assert results(services.deployment.root / "data", "served") == expected


def test_the_records_are_in_postgresql_and_nowhere_else(services: Services, postgres: Postgres) -> None:
    # The classifier is put on record by whichever comes first, the sensor or a run.
    counted = postgres.query(
        "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' "
        """AND asset_key != '["classifier"]'"""
    )
    assert int(counted) == len(OF_INDEX) + 4 * len(EMBEDDINGS) + len(OF_CALL)
    assert postgres.query("SELECT count(*) FROM concurrency_slots WHERE concurrency_key = 'gpu'") == "1"
    assert [path for path in services.written() if ".db" in path.suffixes] == []


def test_the_command_line_sees_what_the_services_did(services: Services) -> None:
    header, line = (text.split() for text in services.command("virnucpro", "drops").splitlines())
    assert header == ["drop", "state", "why"]
    assert (line[:2], Path(line[-1]).name) == (["served", "done"], "report.html")


def test_the_password_of_the_database_is_in_no_file_and_no_record(
    services: Services, postgres: Postgres, tmp_path: Path
) -> None:
    forms = [
        form.encode() for form in (PASSWORD, urllib.parse.quote(PASSWORD), urllib.parse.quote_plus(PASSWORD))
    ]
    assert [path for path in services.written() if any(form in path.read_bytes() for form in forms)] == []
    dump = subprocess.run(
        [program("pg_dump", "postgresql-client", folder="/usr/lib/postgresql/*/bin"), "--data-only"],
        env={
            "PGHOST": "127.0.0.1",
            "PGPORT": str(postgres.port),
            "PGUSER": "virnucpro",
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": "postgres",
        },
        capture_output=True,
        check=True,
    ).stdout
    assert b"served" in dump
    assert [form for form in forms if form in dump] == []


def test_the_view_shows_everything_and_launches_nothing(services: Services) -> None:
    counts = {node["assetKey"]["path"][0]: node["partitionStats"] for node in services.view.ask(COUNT)}
    assert counts["virus_calls"] == {"numMaterialized": 1}
    selection = [{"path": [asset]} for asset in EMBEDDINGS]
    refused = services.view.ask(LAUNCH, params={"assetSelection": selection, "partitionNames": ["served"]})
    assert refused["__typename"] == "UnauthorizedError"
    refused = services.view.ask(ADD_DROP, repository=REPOSITORY, drop="another")
    assert refused["__typename"] == "UnauthorizedError"
    assert counts == {
        node["assetKey"]["path"][0]: node["partitionStats"] for node in services.view.ask(COUNT)
    }


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    verify = program("systemd-analyze", "systemd", folder="/usr/bin")
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/virnucpro/bin/", "/usr/bin/true "))
    done = subprocess.run([verify, "verify", *sorted(tmp_path.iterdir())], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_more_exposed_than_systemd_calls_ok(service: str) -> None:
    verify = program("systemd-analyze", "systemd", folder="/usr/bin")
    done = subprocess.run(
        [verify, "security", "--offline=yes", "--threshold=36", "--json=short", UNITS / f"{service}.service"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, [row for row in json.loads(done.stdout) if row["exposure"]]


def test_a_process_that_memory_ran_out_for_ends_alone() -> None:
    assert unit("virnucpro-code")["OOMPolicy"] == "continue"


def test_nobody_passes_the_proxy_without_a_password_of_the_right_group(services: Services) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Protocol": "graphql-ws",
    }
    with running_proxy(services) as proxy:
        operator, viewer = PEOPLE["operators"], PEOPLE["viewers"]
        status = {
            (path, person): proxy.get(path, person)
            for path in ("/runs", "/locations", "/view/runs")
            for person in (None, "olga:wrong", operator, viewer)
        }
        around = [proxy.get(path, viewer) for path in ("/view/../runs", "/view/..%2fruns", "//runs")]
        live = [
            proxy.get(path, person, Origin=proxy.origin, **upgrade)
            for path, person in (("/graphql", operator), ("/view/graphql", viewer))
        ]
    passed = {place for place, found in status.items() if found != 401}
    assert passed == {("/runs", operator), ("/locations", operator), ("/view/runs", viewer)}
    assert status["/runs", operator] == status["/view/runs", viewer] == 200
    assert set(around) == {401}
    assert live == [101, 101]


def test_a_foreign_page_cannot_use_the_password_of_an_operator(services: Services) -> None:
    operator, viewer = PEOPLE["operators"], PEOPLE["viewers"]
    query = 'mutation { freeConcurrencySlots(runId: "none") }'
    body = json.dumps({"query": query})
    asked = f"/graphql?{urllib.parse.urlencode({'query': query})}"
    foreign, as_json = {"Origin": "https://foreign.example"}, {"Content_Type": "application/json"}
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    with running_proxy(services) as proxy:
        own = {"Origin": proxy.origin}
        refused = {
            "a link or an image": proxy.get(asked, operator),
            "the same of a page of ours": proxy.get(asked, operator, **own),
            "a form": proxy.send("POST", "/graphql", operator, f"query={query}", **form, **foreign),
            "a form in the address": proxy.send("POST", asked, operator, "", **form, **foreign),
            "text": proxy.send("POST", "/graphql", operator, body, Content_Type="text/plain", **foreign),
            "fetch without CORS": proxy.send("POST", "/graphql", operator, body, **foreign),
            "JSON of a foreign page": proxy.send("POST", "/graphql", operator, body, **as_json, **foreign),
            "JSON of no page": proxy.send("POST", "/graphql", operator, body, **as_json),
            "JSON of a sandbox": proxy.send("POST", "/graphql", operator, body, **as_json, Origin="null"),
            "of a name that begins so": proxy.send(
                "POST", "/graphql", operator, body, **as_json, Origin=f"{proxy.origin}.example"
            ),
            "unencrypted": proxy.send(
                "POST", "/graphql", operator, body, **as_json, Origin=proxy.origin.replace("https", "http")
            ),
            "a form of a page of ours": proxy.send("POST", "/graphql", operator, body, **form, **own),
            "another spelling": proxy.get(asked.replace("/graphql", "//%67raphql"), operator),
            "a report of an asset": proxy.send("POST", "/report_asset_materialization/x", operator, "{}"),
            "the live view": proxy.get("/graphql", operator, **upgrade, **foreign),
            "the live view of a viewer": proxy.get("/view/graphql", viewer, **upgrade, **foreign),
        }
        ours = proxy.send("POST", "/graphql", operator, body, **as_json, **own)
        with_charset = proxy.send(
            "POST", "/graphql", operator, body, Content_Type="application/json; charset=utf-8", **own
        )
    assert refused == dict.fromkeys(refused, 403)
    assert (ours, with_charset) == (200, 200)


def test_viewers_read_the_pages_of_a_drop_and_nothing_else_of_its_data(services: Services) -> None:
    operator, viewer = PEOPLE["operators"], PEOPLE["viewers"]
    folder = DropStore(services.deployment.root / "data").current("served")[1].path
    place = f"/reports/served/{folder.name}"
    with running_proxy(services) as proxy:
        # Nginx runs as somebody who does not see the folders of these tests.
        copied = shutil.copytree(folder, proxy.folder / "data" / "served" / folder.name)
        for path in (*copied.parents[:2], *copied.rglob("*"), copied):
            path.chmod(0o755)
        shown = {
            name: proxy.get(f"{place}/{name}", viewer)
            for name in (
                "report.html",
                "check_report.html",
                "drop.toml",
                "check_report.json",
                "report.html/..",
            )
        }
        others = [proxy.get(f"{place}/report.html", person) for person in (None, operator, "vera:wrong")]
        around = [
            proxy.get(f"/reports/{path}", viewer)
            for path in ("../dagster/dagster.yaml", "served/..%2f..%2fdagster/report.html", "", "served/")
        ]
    assert {name for name, status in shown.items() if status == 200} == {"report.html", "check_report.html"}
    assert others == [401] * 3
    assert set(around) <= {401, 403, 404}


def test_the_web_servers_listen_on_the_loopback_interface_alone(services: Services) -> None:
    listening = subprocess.run(
        [program("ss", "iproute2", folder="/usr/bin"), "-Hltn"], capture_output=True, text=True, check=True
    ).stdout
    places = {line.split()[3].rpartition(":")[::2] for line in listening.splitlines()}
    ours = {str(port) for port in (services.web_port, services.view_port)}
    assert {host for host, port in places if port in ours} == {"127.0.0.1"}
