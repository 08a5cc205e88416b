"""A model hub on loopback: it lists the files of commits and gives them, whole or from a place on."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

LARGE = 1 << 12
"""From this size on a file is kept as the hub keeps large ones, under its SHA-256."""


@dataclass
class Hub:
    """What the hub has, what it was asked for, and how it misbehaves.

    It gives `damaged` files with one byte changed, and holds after `stall_at` bytes of a file until
    `go_on` is set.
    """

    url: str = ""
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    lists_no_digest: dict[str, str] = field(default_factory=dict)
    stall_at: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def publish(self, repository: str, commit: str, folder: Path) -> None:
        self.folders[repository, commit] = folder

    def listing(self, repository: str, commit: str) -> bytes:
        files = sorted(path for path in self.folders[repository, commit].iterdir() if path.is_file())
        return json.dumps(
            {"id": repository, "sha": commit, "siblings": [self._listed(path) for path in files]}
        ).encode()

    @staticmethod
    def digest(path: Path) -> str:
        content = path.read_bytes()
        if len(content) >= LARGE:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    def _listed(self, path: Path) -> dict[str, object]:
        size = path.stat().st_size
        large = {"lfs": {"size": size, "sha256": self.digest(path), "pointerSize": 130}}
        listed: dict[str, object] = {"rfilename": path.name, "size": size, "blobId": self.digest(path)}
        listed |= large if size >= LARGE else {}
        match self.lists_no_digest.get(path.name):
            case "none":
                return {"rfilename": path.name, "size": size}
            case "pointer":
                return listed | {"lfs": {"size": size, "sha256": None, "pointerSize": 130}}
            case _:
                return listed

    def gets(self, name: str) -> list[str | None]:
        """The ranges in which a file's content was asked for, None for the whole."""
        return [
            asked for method, path, asked in self.requests if method == "GET" and path.endswith(f"/{name}")
        ]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub for the block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, path, self.headers["Range"]))
        self.hub.tokens.add(self.headers["Authorization"])
        match path.strip("/").split("/"):
            case ["api", "models", owner, name, "revision", commit] if self.has(owner, name, commit):
                self.send(self.hub.listing(f"{owner}/{name}", commit), {"Content-Type": "application/json"})
            case [owner, name, "resolve", commit, file] if self.has(owner, name, commit, file):
                self.send_file(self.hub.folders[f"{owner}/{name}", commit] / file, commit, body=body)
            case _:
                self.send_missing()

    def has(self, owner: str, name: str, commit: str, file: str = "") -> bool:
        folder = self.hub.folders.get((f"{owner}/{name}", commit))
        return folder is not None and (folder / file).exists()

    def send(self, content: bytes, headers: dict[str, str], code: int = 200) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def send_missing(self) -> None:
        self.send(b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, 404)

    def send_file(self, path: Path, commit: str, *, body: bool) -> None:
        content = bytearray(path.read_bytes())
        if path.name in self.hub.damaged:
            content[-1] ^= 1
        first = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if self.headers["Range"] else 200)
        self.send_header("ETag", f'"{self.hub.digest(path)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        if self.headers["Range"]:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if not body:
            return
        stop = self.hub.stall_at
        if stop is not None and first < stop < len(content):
            self.wfile.write(content[first:stop])
            self.wfile.flush()
            self.hub.stalled.set()
            self.hub.go_on.wait(60)
            self.close_connection = True
            return
        self.wfile.write(content[first:])
