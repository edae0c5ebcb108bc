"""Addresses that a client goes by (its metadata document), and that answers are sent to (OAuth 2.1 section 2.3).

INVARIANT: an answer goes to an address that is written down, character for character; only the port of this machine's
loopback may differ, which a program learns when it starts (RFC 8252 section 7.3).
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from charter.core.values import is_loopback

MAX_ADDRESS = 2048
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+")  # com.example.app: a name of one's own, reversed


def client_address(text: str) -> str:
    """Return `text`, the address of a client's metadata document (draft-ietf-oauth-client-id-metadata-document).

    Raises:
        ValueError: it cannot be one.
    """
    parts = _parts(text)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(f"`{text[:80]}` is not https")
    if parts.path in ("", "/") or parts.query or any(step in (".", "..") for step in parts.path.split("/")):
        raise ValueError(f"`{text[:80]}` is no address of a document; write it in full, with its path and no query")
    return text


def redirect_address(text: str) -> str:
    """Return `text`, an address that answers may be sent to.

    Raises:
        ValueError: it cannot be one.
    """
    parts = _parts(text, bare=True)
    if parts.scheme == "https" and parts.hostname:
        return text
    if parts.scheme == "http" and is_loopback(parts.hostname):
        return text
    if _PRIVATE_SCHEME.fullmatch(parts.scheme):
        return text
    raise ValueError(f"`{text[:80]}` is neither https, nor on this machine, nor an app's own scheme")


def is_redirect_within(asked: str, known: str) -> bool:
    """Return whether answers may go to `asked` where `known` is written down."""
    if asked == known:
        return True
    try:
        one, other = urlsplit(asked), urlsplit(known)
        _ = one.port
    except ValueError:
        return False
    return (
        one.scheme == other.scheme == "http"
        and is_loopback(one.hostname)
        and one.hostname == other.hostname
        and one.username is None
        and (one.path, one.query, one.fragment) == (other.path, other.query, other.fragment)
    )


def _parts(text: str, *, bare: bool = False) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"`{text[:80]}` is no address") from None
    if not text.isascii() or not text.isprintable() or any(sign in text for sign in ' \\<>"{}|^`'):
        raise ValueError(f"`{text[:80]!a}` holds a character that no address may hold")
    if parts.fragment or "#" in text or parts.username is not None or (not bare and not parts.hostname):
        raise ValueError(f"`{text[:80]}` names a user or a fragment, or no host")
    return parts
