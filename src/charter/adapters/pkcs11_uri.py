"""PKCS#11 URIs (RFC 7512), as far as they name one secret key in one token.

    pkcs11:token=charter;object=master?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/charter/pin

`pin-value` is refused: a setting is no place for a secret. Unknown attributes are refused, since one that is passed
over could have named another key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from charter.core.errors import ErrorCode, MalformedError

MAX_URI = 1024
_PATH = frozenset({"token", "serial", "object", "type"})
_QUERY = frozenset({"module-path", "pin-source"})
_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&/]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """Where a key is: the module to load, the token by label (and serial), the key by label."""

    module: str
    token: str
    object: str
    serial: str | None = None
    pin_source: Path | None = None


def parse_token_address(text: str) -> TokenAddress:
    """Return what a PKCS#11 URI names.

    Raises:
        MalformedError: it is none, or leaves open which key is meant.
    """
    if not text.startswith("pkcs11:") or len(text) > MAX_URI:
        raise _wrong(f"is no PKCS#11 URI of at most {MAX_URI} characters")
    path, _, query = text.removeprefix("pkcs11:").partition("?")
    named, given = _attributes(path, ";", _PATH), _attributes(query, "&", _QUERY)
    for name, where in (("token", named), ("object", named), ("module-path", given)):
        if name not in where:
            raise _wrong(f"lacks `{name}`")
    if named.get("type", "secret-key") != "secret-key":
        raise _wrong("names another type than `secret-key`")
    module = given["module-path"]
    if not module.startswith("/"):
        raise _wrong("has a `module-path` that is no absolute path")
    source = given.get("pin-source")
    return TokenAddress(module, named["token"], named["object"], named.get("serial"), _pin_file(source))


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, is_set, value = part.partition("=")
        if name == "pin-value":
            raise _wrong("holds a PIN: name a file in `pin-source`, or set CHARTER_MASTER_PIN")
        if name not in known or not is_set or name in found or not _VALUE.fullmatch(value):
            raise _wrong(f"has an attribute that is unknown, repeated or no attribute: {part[:40]!a}")
        try:
            found[name] = unquote_to_bytes(value).decode()
        except UnicodeDecodeError as err:
            raise _wrong(f"has a value that is no UTF-8: {part[:40]!a}") from err
        if "\x00" in found[name]:
            raise _wrong(f"has a value with a zero byte: {part[:40]!a}")
    return found


def _pin_file(source: str | None) -> Path | None:
    if source is None:
        return None
    path = source.removeprefix("file:").removeprefix("//")
    if not path.startswith("/"):
        raise _wrong("has a `pin-source` that is no absolute path of a file")
    return Path(path)


def _wrong(why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE,
        f"the PKCS#11 URI {why}",
        help="write pkcs11:token=LABEL;object=LABEL?module-path=/path/to/module.so&pin-source=file:/path/to/pin",
    )
