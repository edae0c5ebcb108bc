"""Where evidence is sent to: a sink's address says how, and each sink has a cursor of its own in the log.

    https://siem.example.com/in          webhook, signed as Standard Webhooks are; http on this machine alone
    otlp+https://collector:4318          OTLP/HTTP logs, protobuf; otlp+http on this machine alone
    syslog+tls://host:6514               RFC 5424 over TLS (RFC 5425), syslog+tcp:// (RFC 6587), syslog+udp://
    file:///folder                       files of `parquet`, `csv` or `jsonl`, a batch each

INVARIANT: a cursor moves only over entries that the sink took; so each entry is delivered at least once, in order.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import is_loopback

MAX_ADDRESS = 2048


class SinkKind(StrEnum):
    """How a sink is spoken to."""

    WEBHOOK = "webhook"
    OTLP = "otlp"
    SYSLOG_UDP = "syslog+udp"
    SYSLOG_TCP = "syslog+tcp"
    SYSLOG_TLS = "syslog+tls"
    FILE = "file"


class Form(StrEnum):
    """As what an entry goes over."""

    OCSF = "ocsf"
    ENTRY = "entry"  # as it was hashed
    SPANS = "spans"  # calls alone: a span for each outcome, and for each verdict that let no call through
    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"  # OCSF, an event a line


_KINDS = {
    "https": SinkKind.WEBHOOK, "http": SinkKind.WEBHOOK, "otlp+https": SinkKind.OTLP, "otlp+http": SinkKind.OTLP,
    "syslog+udp": SinkKind.SYSLOG_UDP, "syslog+tcp": SinkKind.SYSLOG_TCP, "syslog+tls": SinkKind.SYSLOG_TLS,
    "file": SinkKind.FILE,
}  # fmt: skip
_SENT = (Form.OCSF, Form.ENTRY)
_FORMS = {SinkKind.FILE: (Form.PARQUET, Form.CSV, Form.JSONL), SinkKind.OTLP: (*_SENT, Form.SPANS)}
PORTS = {SinkKind.SYSLOG_UDP: 514, SinkKind.SYSLOG_TCP: 601, SinkKind.SYSLOG_TLS: 6514}


@dataclass(frozen=True, slots=True)
class Target:
    """An address of a sink, read."""

    kind: SinkKind
    address: str

    @property
    def parts(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.address)

    @property
    def url(self) -> str:
        """The address as HTTP has it."""
        return self.address.removeprefix("otlp+")

    @property
    def host(self) -> str:
        """The host."""
        return str(self.parts.hostname)

    @property
    def port(self) -> int:
        """The port."""
        return self.parts.port or PORTS.get(self.kind, 443)

    @property
    def is_clear(self) -> bool:
        """Whether whoever is on the way can read and change what is sent."""
        return self.kind in (SinkKind.SYSLOG_UDP, SinkKind.SYSLOG_TCP) and not is_loopback(self.host)

    @property
    def folder(self) -> str:
        """The folder of a file sink."""
        return unquote(self.parts.path)


@dataclass(frozen=True, slots=True)
class Sink:
    """One sink, as it is kept."""

    name: str
    target: Target
    form: Form
    secret_env: str | None  # the environment variable that holds what it is signed or opened with
    added_by: str
    added_at: dt.datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, for people, evidence and the store."""
        return {
            "name": self.name,
            "to": self.target.address,
            "kind": self.target.kind.value,
            "form": self.form.value,
            "secret_env": self.secret_env,
            "added_by": self.added_by,
            "added_at": rfc3339(self.added_at),
        }


def parse_target(text: str) -> Target:
    """Return what an address of a sink says.

    Raises:
        MalformedError: it is none, or it would send evidence in the clear to another machine by HTTP.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise _no_target(text, "cannot be read") from err
    if len(text) > MAX_ADDRESS or not text.isascii() or not text.isprintable() or " " in text:
        raise _no_target(text, "is too long or holds what no address holds")
    kind = _KINDS.get(parts.scheme)
    if kind is None or not text.startswith(f"{parts.scheme}://"):
        raise _no_target(text, "begins with none of " + ", ".join(f"{scheme}://" for scheme in _KINDS))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _no_target(text, "names a user or a fragment; name the secret's variable instead")
    if kind is SinkKind.FILE:
        path = PurePosixPath(unquote(parts.path))
        if host or not path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise _no_target(text, "names no folder: write file:///var/charter/evidence")
        return Target(kind, text)
    if not host or port == 0:
        raise _no_target(text, "names no host")
    if parts.scheme.endswith("http") and not is_loopback(host):
        raise _no_target(text, "would send evidence in the clear; use https")
    if kind in PORTS and (parts.path not in ("", "/") or parts.query):
        raise _no_target(text, "has a path, which syslog knows nothing of")
    return Target(kind, text)


def form_for(kind: SinkKind, word: str | None) -> Form:
    """Return the form that `word` names, or the kind's own.

    Raises:
        MalformedError: a sink of that kind takes no such form.
    """
    forms = _FORMS.get(kind, _SENT)
    if word is None:
        return forms[0]
    if word not in forms:
        known = ", ".join(form.value for form in forms)
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"a {kind.value} sink takes no {word[:40]!a}", help=f"it takes {known}"
        )
    return Form(word)


def _no_target(text: str, why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE,
        f"the address {text[:80]!a} {why}",
        help="docs/integrations.md lists the addresses of sinks",
    )
