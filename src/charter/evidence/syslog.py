"""Entries as syslog messages (RFC 5424), and their framing on streams (RFC 6587 section 3.4.1, RFC 5425).

    <108>1 2026-11-24T09:30:00.000000Z charter.local charter - verdict [charter@32473 node="…" index="41" …] {…}

The message is the event as JSON in ASCII. INVARIANT: no string of an entry can end a message, begin another, or leave
its place in one: names are bounded and printable, values of structured data are escaped (section 6.3.3).
"""

from __future__ import annotations

import re
from typing import Any

from charter.evidence.log import Stored
from charter.evidence.neutral import ascii_json, one_line
from charter.evidence.ocsf import event_of
from charter.evidence.sink import Form

FACILITY = 13  # log audit
_INFORMATIONAL, _NOTICE, _WARNING = 6, 5, 4
_ESCAPED = re.compile(r'["\\\]]')
_NAME = re.compile(r"[^!-~]")
MAX_DATAGRAM = 8192  # bytes; RFC 5424 section 6.1 asks receivers for 2048, and most take 8192
SD_ID = "charter@32473"  # the number that RFC 5612 keeps for examples and documents


def message_of(stored: Stored, host: str, form: Form = Form.OCSF, *, longest: int | None = None) -> bytes:
    """Return an entry as one syslog message without its frame; cut to `longest` bytes, and then saying so."""
    event: Any = event_of(stored) if form is Form.OCSF else stored.to_json()
    severity = {"deny": _WARNING, "escalate": _NOTICE}.get(_verdict(stored), _INFORMATIONAL)
    if stored.kind.startswith("finding."):
        severity = _WARNING
    text = ascii_json(event)
    head = _head(stored, host, severity, size=len(text), is_cut=False)
    if longest is None or len(head) + len(text) <= longest:
        return head + text
    head = _head(stored, host, severity, size=len(text), is_cut=True)
    return head + text[: max(0, longest - len(head))]


def framed(message: bytes) -> bytes:
    """Return a message with its length in front, so that nothing in it can end it."""
    return b"%d %b" % (len(message), message)


def _head(stored: Stored, host: str, severity: int, *, size: int, is_cut: bool) -> bytes:
    told = {"node": stored.node, "index": str(stored.index), "principal": stored.principal or "", "size": str(size)}
    if is_cut:
        told["cut"] = "true"
    data = " ".join(f'{name}="{_value(value)}"' for name, value in told.items() if value)
    name = _NAME.sub("_", host)[:255] or "-"
    kind = _NAME.sub("_", stored.kind)[:32]
    return f"<{FACILITY * 8 + severity}>1 {stored.time} {name} charter - {kind} [{SD_ID} {data}] ".encode()


def _value(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\\" + found[0], one_line(text, 256))


def _verdict(stored: Stored) -> str:
    return str(stored.to_json()["body"].get("verdict", "")) if stored.kind == "verdict" else ""
