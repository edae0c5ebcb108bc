"""Mail out, by SMTP: encrypted, unless the server is on this machine.

Source: RFC 5321, RFC 8314 (implicit TLS: `smtps`), RFC 3207 (STARTTLS: `smtp`).
"""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from charter.core.errors import ErrorCode, UnavailableError
from charter.core.values import is_loopback

SECONDS = 15.0
_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Mailer:
    """Where mail is handed over. `url`: `smtps://USER@HOST:PORT`, or `smtp://…` for STARTTLS."""

    url: str
    password: str | None = None

    def send(self, message: EmailMessage) -> None:
        """Hand over one mail. Blocks; for a thread of its own.

        Raises:
            UnavailableError: the server cannot be reached, is not to be trusted, or does not take it.
        """
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        context = ssl.create_default_context()
        try:
            if parts.scheme == "smtps":
                server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=context)
            else:
                server = smtplib.SMTP(host, port, timeout=SECONDS)
            with server:
                if parts.scheme == "smtp" and not is_loopback(host):
                    server.starttls(context=context)
                if parts.username and self.password is not None:
                    server.login(unquote(parts.username), self.password)
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as err:
            raise UnavailableError(ErrorCode.UPSTREAM_FAILED, f"mail server: {_told(err)}") from err


def _told(err: Exception) -> str:
    """Return what went wrong without what the server said: it may repeat what we sent."""
    if isinstance(err, smtplib.SMTPResponseException):
        return f"answered {err.smtp_code}"
    if isinstance(err, smtplib.SMTPRecipientsRefused):
        return "takes no mail for that address"
    return type(err).__name__
