"""Servers on loopback that receive alerts: a webhook and a small mail server."""

import base64
import http.server
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any


@dataclass
class Webhook:
    """What a webhook received, and how it answers: the next codes, then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    redirect_to: str = ""


@contextmanager
def running_webhook() -> Iterator[Webhook]:
    """A webhook for the block."""
    hook = Webhook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.headers.append(dict(self.headers.items()))
            hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            code = hook.answers.pop(0) if hook.answers else 200
            self.send_response(code)
            if code == 302:
                self.send_header("Location", hook.redirect_to)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_port}/hook"
        with _serving(server):
            yield hook


@dataclass
class Mailbox:
    """What a mail server received: messages with their recipients, and logins that were tried."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    password: str = ""


class MailHandler(socketserver.StreamRequestHandler):
    """Speaks with one client, as much of SMTP as sending a message takes."""

    box: Mailbox
    certificate: Path | None

    def setup(self) -> None:
        super().setup()
        self.is_encrypted = False
        self.to: list[str] = []

    def handle(self) -> None:
        answers = {
            "EHLO": self.say_hello,
            "STARTTLS": self.encrypt,
            "AUTH": self.log_in,
            "MAIL": self.begin,
            "RCPT": self.add_recipient,
            "DATA": self.take,
        }
        self.say(220, "ready")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if word.upper() == "QUIT":
                self.say(221, "bye")
                return
            answers[word.upper()](rest)

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def say(self, code: int, text: str, *, more: bool = False) -> None:
        self.wfile.write(f"{code}{'-' if more else ' '}{text}\r\n".encode())

    def say_hello(self, _: str) -> None:
        self.say(250, "localhost", more=True)
        if self.certificate and not self.is_encrypted:
            self.say(250, "STARTTLS", more=True)
        self.say(250, "AUTH PLAIN")

    def encrypt(self, _: str) -> None:
        assert self.certificate is not None
        self.say(220, "go on")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        super().finish()
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.is_encrypted = True

    def log_in(self, rest: str) -> None:
        _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        self.box.logins.append((name, password))
        self.say(*((235, "welcome") if password == self.box.password else (535, "no")))

    def begin(self, _: str) -> None:
        self.to = []
        self.say(250, "ok")

    def add_recipient(self, rest: str) -> None:
        self.to.append(rest.removeprefix("TO:").strip("<>"))
        self.say(250, "ok")

    def take(self, _: str) -> None:
        self.say(354, "go on")
        lines = iter(self.rfile.readline, b".\r\n")
        content = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.box.messages.append(message)
        self.box.recipients.append(self.to)
        self.box.encrypted.append(self.is_encrypted)
        self.say(250, "ok")


@contextmanager
def running_mail_server(certificate: Path | None = None) -> Iterator[Mailbox]:
    """A mail server for the block; with a certificate it offers STARTTLS."""
    box = Mailbox()
    handler = type("Handler", (MailHandler,), {"box": box, "certificate": certificate})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        box.port = server.server_address[1]
        with _serving(server):
            yield box


def make_certificate(folder: Path) -> Path:
    """A key and a certificate of `localhost` signed by itself, in one file."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_text(certificate.read_text() + key.read_text())
    return certificate


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
