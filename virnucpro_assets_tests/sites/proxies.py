"""Debian's nginx with the site of deploy/nginx.conf, in front of running services."""

import base64
import http.client
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets_tests.sites.debian import end, free_port, program, unprivileged, unprivileged_folder
from virnucpro_assets_tests.sites.services import DEPLOY, Services
from virnucpro_assets_tests.waiting import wait_until

PEOPLE = {"operators": "olga:opens", "viewers": "vera:views"}
FRAME = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running proxy; `folder` holds its logs and its certificate."""

    port: int
    folder: Path

    @property
    def origin(self) -> str:
        """What a browser says of a page of this site."""
        return f"https://localhost:{self.port}"

    def get(self, path: str, person: str | None = None, **headers: str) -> int:
        """The status of a GET, asked by a person given as `name:password`."""
        return self.send("GET", path, person, **headers)

    def send(
        self, method: str, path: str, person: str | None = None, body: str | None = None, **headers: str
    ) -> int:
        """The status of any request."""
        context = ssl.create_default_context(cafile=str(self.folder / "virnucpro.pem"))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=context)
        if person:
            headers["Authorization"] = f"Basic {base64.b64encode(person.encode()).decode()}"
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def running_proxy(services: Services) -> Iterator[Proxy]:
    """Run nginx before the web servers of `services` for the block."""
    nginx, openssl = program("nginx", "nginx-light"), program("openssl", "openssl", folder="/usr/bin")
    with unprivileged_folder("virnucpro-nginx-") as folder:
        port = free_port()
        _make_certificate(openssl, folder)
        for group, person in PEOPLE.items():
            name, _, password = person.partition(":")
            hashed = subprocess.run(
                [openssl, "passwd", "-apr1", password], check=True, capture_output=True, text=True
            )
            (folder / f"{group}.htpasswd").write_text(f"{name}:{hashed.stdout}")
        site = (DEPLOY / "nginx.conf").read_text()
        for usual, here in {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/certs": str(folder),
            "/etc/ssl/private": str(folder),
            "/etc/virnucpro": str(folder),
            "/srv/virnucpro/data": str(folder / "data"),
            "127.0.0.1:3000": f"127.0.0.1:{services.web_port}",
            "127.0.0.1:3001": f"127.0.0.1:{services.view_port}",
        }.items():
            assert usual in site
            site = site.replace(usual, here)
        (folder / "site.conf").write_text(site)
        (folder / "nginx.conf").write_text(FRAME.format(folder=folder))
        for path in folder.iterdir():
            path.chmod(0o644)
        process = subprocess.Popen(
            [nginx, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf", "-g", "daemon off;"],
            stderr=subprocess.PIPE,
            **unprivileged(),
        )
        try:
            proxy = Proxy(port, folder)
            wait_until(lambda: _answers(proxy, process), 20, pause=0.2)
            yield proxy
        finally:
            end(process, signal.SIGTERM)
            process.communicate()


def _answers(proxy: Proxy, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, process.communicate()[1].decode()
    try:
        return proxy.get("/") == http.client.UNAUTHORIZED
    except ConnectionRefusedError:
        return False


def _make_certificate(openssl: str, folder: Path) -> None:
    files = ["-keyout", folder / "virnucpro.key", "-out", folder / "virnucpro.pem"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *name],
        check=True,
        capture_output=True,
    )
