"""The targets outside this machine to which alerts are sent: a webhook and e-mail.

Each raises one error with the kind of the problem, and never with the address, which may have a token in it. Nothing is
retried here: alerts stay in the outbox (alerts.py) until a later call sends them.
"""

import http.client
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from pydantic import SecretStr

from virnucpro_assets import __version__
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.settings_groups import AlertSettings


class TargetError(VirnucproError):
    """A target did not accept a message."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, because another server must not get the secret header."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(content: bytes, settings: AlertSettings) -> None:
    """Send JSON to the webhook; TargetError if it is not accepted."""
    headers = {"Content-Type": "application/json", "User-Agent": f"virnucpro-assets/{__version__}"}
    if settings.webhook_header:
        name, _, value = _plain(settings.webhook_header).partition(": ")
        headers[name] = value
    try:
        # The settings allow http and https only.
        request = urllib.request.Request(_plain(settings.webhook), content, headers)  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirects)
        opener.open(request, timeout=settings.timeout_seconds).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise TargetError(f"webhook: answered {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TargetError(f"webhook: {_problem(error)}") from None


def send_mail(subject: str, text: str, settings: AlertSettings) -> None:
    """Send an e-mail to all addresses of the settings; TargetError if it is not accepted."""
    addresses = [address.strip() for address in settings.mail_to.split(",") if address.strip()]
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["From"] = settings.mail_from or addresses[0]
    message["To"] = ", ".join(addresses)
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="virnucpro.invalid")
    message.set_content(text)
    try:
        with _connection(settings) as server:
            if settings.smtp_user:
                server.login(settings.smtp_user, _plain(settings.smtp_password))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise TargetError(f"e-mail: {_problem(error)}") from None


def _connection(settings: AlertSettings) -> smtplib.SMTP:
    server_address, seconds = (settings.smtp_host, settings.smtp_port), settings.timeout_seconds
    if settings.smtp_security == "ssl":
        return smtplib.SMTP_SSL(*server_address, timeout=seconds, context=ssl.create_default_context())
    server = smtplib.SMTP(*server_address, timeout=seconds)
    if settings.smtp_security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except (OSError, smtplib.SMTPException):
            server.close()
            raise
    return server


def _problem(error: Exception) -> str:
    """The kind of an error, without its own text, which may quote an address."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError) and reason.errno and reason.strerror:
        return f"{type(reason).__name__}, {reason.strerror}"
    return type(reason).__name__


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
