"""Debian's PostgreSQL, as a server of its own on the loopback interface."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets_tests.sites.debian import (
    end,
    free_port,
    program,
    unprivileged,
    unprivileged_folder,
)
from virnucpro_assets_tests.waiting import wait_until

FRAGMENT = Path(__file__).parents[2] / "deploy" / "postgres.yaml"
PROGRAMS = "/usr/lib/postgresql/*/bin"
PASSWORD = "pg:secret@/%41"  # noqa: S105 - of a server that lives as long as a test


@dataclass(frozen=True)
class Postgres:
    """A running server with an empty database."""

    port: int
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables that deploy/postgres.yaml names."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_DB": "postgres",
            "DAGSTER_PG_USERNAME": "virnucpro",
            "DAGSTER_PG_PASSWORD": PASSWORD,
        }

    def query(self, statement: str) -> str:
        """What psql prints for a statement."""
        return subprocess.run(
            [program("psql", "postgresql-client", folder=PROGRAMS), "-XAtc", statement],
            env={
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.port),
                "PGUSER": "virnucpro",
                "PGPASSWORD": PASSWORD,
                "PGDATABASE": "postgres",
            },
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server with a database and a user with a password for the block."""
    initdb = program("initdb", "postgresql", folder=PROGRAMS)
    server = program("postgres", "postgresql", folder=PROGRAMS)
    with unprivileged_folder("virnucpro-postgres-") as folder:
        data, password, log = folder / "data", folder / "password", folder / "log"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        subprocess.run(
            [initdb, "-D", data, "-U", "virnucpro", "-A", "scram-sha-256", "--pwfile", password, "-N"],
            check=True,
            capture_output=True,
            cwd=folder,
            **unprivileged(),
        )
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        with log.open("wb") as written:
            process = subprocess.Popen(
                [server, "-D", data, "-p", str(port)]
                + [word for name, value in options.items() for word in ("-c", f"{name}={value}")],
                stdout=written,
                stderr=written,
                cwd=folder,
                **unprivileged(),
            )
        try:
            wait_until(lambda: _listens(port, process, log), 30, pause=0.2)
            yield Postgres(port, log)
        finally:
            # SIGINT is PostgreSQL's fast shutdown: sessions are ended.
            end(process, signal.SIGINT)


def _listens(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    ready = program("pg_isready", "postgresql-client", folder=PROGRAMS)
    return subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0
