"""A Ray cluster on this machine: a head that computes nothing, and workers of one processor each."""

import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets_tests.sites.debian import free_port, running
from virnucpro_assets_tests.waiting import wait_until

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}


@dataclass(frozen=True)
class RayCluster:
    """A running cluster; `folder` holds the logs of all its processes."""

    dashboard_port: int
    folder: Path

    @property
    def address(self) -> str:
        """The job server."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that was submitted, as the job server describes it."""
        with urllib.request.urlopen(f"{self.address}/api/jobs/", timeout=30) as answer:  # noqa: S310
            return list(json.load(answer))

    def nodes(self) -> int:
        """How many nodes take part, the head among them."""
        with urllib.request.urlopen(f"{self.address}/nodes?view=summary", timeout=30) as answer:  # noqa: S310
            summary = json.load(answer)["data"]["summary"]
        return sum(node["raylet"].get("state") == "ALIVE" for node in summary)

    def written(self) -> list[Path]:
        """Every plain file of the cluster."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@contextmanager
def running_ray(workers: int, environment: Mapping[str, str]) -> Iterator[RayCluster]:
    """Run a cluster, whose steps see `environment`, for the block."""
    ray = Path(sys.executable).with_name("ray")
    if not ray.exists():
        pytest.fail("found no Ray; expected the extra `ray`. make e2e installs it", pytrace=False)
    port, dashboard = free_port(), free_port()
    # Sockets lie in the folder, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="vr-", dir="/tmp", ignore_cleanup_errors=True) as name:
        cluster = RayCluster(dashboard, Path(name))
        head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
        with ExitStack() as nodes:
            nodes.enter_context(_node(ray, cluster, "head", environment, *head, f"--temp-dir={name}", cpus=0))
            wait_until(lambda: _size(cluster) == 1, 90)
            address = f"--address=127.0.0.1:{port}"
            # One after the other: two that start at once on one machine hinder each other.
            for number in range(1, workers + 1):
                nodes.enter_context(_node(ray, cluster, f"worker-{number}", environment, address, cpus=1))
                wait_until(lambda: _size(cluster) == number + 1, 90)  # noqa: B023
            yield cluster


@contextmanager
def _node(
    ray: Path, cluster: RayCluster, name: str, environment: Mapping[str, str], *options: str, cpus: int
) -> Iterator[None]:
    words = [
        *(str(ray), "start", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1"),
        *(f"--num-cpus={cpus}", "--num-gpus=0", "--object-store-memory=100000000"),
        *(f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}"),
        *options,
    ]
    with running(words, cluster.folder / f"{name}.log", {**environment, **QUIET}):
        yield


def _size(cluster: RayCluster) -> int:
    """How many nodes take part; none while the head does not answer."""
    try:
        return cluster.nodes()
    except OSError:
        return 0
