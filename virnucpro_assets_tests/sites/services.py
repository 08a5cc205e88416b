"""The services of deploy/systemd, started as their units say, with other paths and ports."""

import configparser
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.sites.debian import free_port, running
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import WebServer

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = DEPLOY / "systemd"
QUICK = {
    "VIRNUCPRO_AUTOMATION": "false",
    "VIRNUCPRO_SCAN_INTERVAL_SECONDS": "2",
    "VIRNUCPRO_SETTLE_SECONDS": "1",
    "VIRNUCPRO_CHECK_SAMPLE": "4",
}
"""A drop is found at once, and nothing is done unasked."""
MODELS = ("VIRNUCPRO_ESM2=", "VIRNUCPRO_DNABERT_S=", "VIRNUCPRO_CLASSIFIERS=")
SERVICES = ("virnucpro-code", "virnucpro-daemon", "virnucpro-web", "virnucpro-view")


@dataclass(frozen=True)
class Services:
    """The running services of a deployment, whose root stands for /srv, /etc and /run."""

    deployment: Deployment
    environment: dict[str, str]
    web_port: int
    view_port: int

    @property
    def web(self) -> WebServer:
        """The web interface of those who may start runs."""
        return WebServer(self.web_port)

    @property
    def view(self) -> WebServer:
        """The web interface of those who only look."""
        return WebServer(self.view_port, "/view")

    def command(self, *words: str) -> str:
        """Run a command in the environment of the services; returns what it printed."""
        done = subprocess.run(
            words, env=self.environment, cwd=self.deployment.root, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr[-6000:]
        return done.stdout

    def written(self) -> list[Path]:
        """Every plain file under the root: data, records and logs."""
        return [path for path in self.deployment.root.rglob("*") if path.is_file()]


def unit(name: str) -> configparser.SectionProxy:
    """The section [Service] of a unit."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / f"{name}.service")
    return parser["Service"]


@contextmanager
def running_services(deployment: Deployment, **environment: str) -> Iterator[Services]:
    """Run all services of a deployment, with some more variables, for the block."""
    root, ports = deployment.root, {"3000": free_port(), "3001": free_port()}
    places = {
        "/opt/virnucpro/bin": str(Path(sys.executable).parent),
        "/etc/virnucpro": str(root),
        "/srv/virnucpro": str(root),
        "/run/virnucpro": str(root),
        **{f"--port {usual}": f"--port {port}" for usual, port in ports.items()},
    }

    def here(text: str) -> str:
        for usual, place in places.items():
            text = text.replace(usual, place)
        return text

    (root / "workspace.yaml").write_text(here((DEPLOY / "workspace.yaml").read_text()))
    given = [line for line in here((DEPLOY / "virnucpro.env").read_text()).splitlines() if line[:1].isalpha()]
    # Here the demo's models do, and the locks are no other user's.
    given = [line for line in given if not line.startswith(MODELS)] + [
        f"VIRNUCPRO_LOCKS_FOLDER={root / 'locks'}"
    ]
    services = Services(
        deployment,
        dict(line.split("=", 1) for line in given) | environment,
        ports["3000"],
        ports["3001"],
    )
    # What a unit starts before it: here once, for all, and without asking for real models.
    services.command("virnucpro", "drops")
    with ExitStack() as started:
        for name in SERVICES:
            words = shlex.split(here(unit(name)["ExecStart"]))
            started.enter_context(running(words, root / f"{name}.log", services.environment, deployment.root))
            if name == "virnucpro-code":
                wait_until((root / "code.sock").exists, 60, pause=0.2)
        for server in (services.web, services.view):
            wait_until(server.ready, 60)
        yield services
