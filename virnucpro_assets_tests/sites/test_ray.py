"""The same drop on a Ray cluster of two workers: a run for each rank, and the results of one machine."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from virnucpro_assets.defs.embeddings import STEP
from virnucpro_assets.defs.partitions import RANGE_END, RANGE_START
from virnucpro_assets_tests.sites.backfills import materialise
from virnucpro_assets_tests.sites.postgres import FRAGMENT, PASSWORD, running_postgres
from virnucpro_assets_tests.sites.ray_cluster import RayCluster, running_ray
from virnucpro_assets_tests.sites.results import results
from virnucpro_assets_tests.sites.services import QUICK, Services, running_services

pytestmark = [pytest.mark.site, pytest.mark.timeout(600)]

READS = 12
WORKERS = 2
SLOTS = min(WORKERS, len(os.sched_getaffinity(0)))
RUNS = """
{ runsOrError { ... on Runs { results {
  runId status tags { key value } stepStats { stepKey startTime endTime status }
} } } }"""


@dataclass(frozen=True)
class Finished:
    """A cluster and services on which the drop `spread` was materialised."""

    cluster: RayCluster
    services: Services


@pytest.fixture(scope="module")
def finished(new_deployment: Callable) -> Iterator[Finished]:
    deployment = new_deployment()
    with (deployment.root / "dagster" / "dagster.yaml").open("a") as file:
        file.write(FRAGMENT.read_text())
    deployment.deliver("spread", READS, partition=False)
    with running_postgres() as postgres:
        path = deployment.environment["PATH"]
        with running_ray(WORKERS, {"PATH": path, **postgres.environment}) as cluster:
            choices = QUICK | {
                "VIRNUCPRO_EXECUTOR": "ray",
                "VIRNUCPRO_RAY__ADDRESS": cluster.address,
                "VIRNUCPRO_RAY__NUM_GPUS": "0",
                "VIRNUCPRO_DEVICES": f"cpu:1/{SLOTS}",
            }
            with running_services(deployment, **choices, **postgres.environment) as services:
                services.command("dagster", "instance", "concurrency", "set", "gpu", str(WORKERS))
                materialise(services.web, "spread", 500)
                yield Finished(cluster, services)


def steps_of(finished: Finished) -> dict[str, dict[str, Any]]:
    """The jobs of Ray that were steps with embeddings, by their id."""
    return {
        job["submission_id"]: job for job in finished.cluster.jobs() if job["metadata"]["dagster/op"] == STEP
    }


def test_the_results_are_those_of_one_machine(finished: Finished, new_deployment: Callable) -> None:
    alone = new_deployment()
    alone.deliver("spread", READS)
    alone.command("env", f"VIRNUCPRO_DEVICES=cpu:{SLOTS}", "virnucpro", "materialize", "spread")
    expected = results(alone.root / "data", "spread")
    assert len(expected) > 12
    assert results(finished.services.deployment.root / "data", "spread") == expected


def test_each_rank_is_a_run_of_its_own_and_each_step_a_job_of_ray(finished: Finished) -> None:
    runs = finished.services.web.ask(RUNS)["results"]
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in runs]
    ranges = Counter((tag.get(RANGE_START), tag.get(RANGE_END)) for tag in tags)
    of_ranks = {first_and_last: n for first_and_last, n in ranges.items() if "|" in (first_and_last[0] or "")}
    assert of_ranks == {(f"spread|{rank}",) * 2: 1 for rank in range(4)}, tags
    assert {run["status"] for run in runs} == {"SUCCESS"}
    jobs = finished.cluster.jobs()
    assert {job["status"] for job in jobs} == {"SUCCEEDED"}
    assert len(jobs) == sum(len(run["stepStats"]) for run in runs)
    assert len(steps_of(finished)) == 4


def test_both_workers_compute_at_the_same_time(finished: Finished) -> None:
    jobs = list(steps_of(finished).values())
    assert len({job["driver_node_id"] for job in jobs}) == WORKERS
    together = [
        (one["submission_id"], other["submission_id"])
        for one in jobs
        for other in jobs
        if one["driver_node_id"] < other["driver_node_id"]
        and one["start_time"] < other["end_time"]
        and other["start_time"] < one["end_time"]
    ]
    assert together


def test_no_secret_travels_with_the_steps(finished: Finished) -> None:
    written = [*finished.services.written(), *finished.cluster.written()]
    assert len(written) > 100
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []
    for job in finished.cluster.jobs():
        variables = job["runtime_env"]["env_vars"]
        assert variables["VIRNUCPRO_DATA_ROOT"] == str(finished.services.deployment.root / "data")
        assert not [name for name in variables if name.startswith("DAGSTER_PG_")]
        assert PASSWORD not in str(variables)
