"""The name that a principal's client certificate bears, where an authority of the organisation issues it (RFC 8705).

One of the five names of RFC 8705 section 2.1.2, compared whole: no wildcards, no prefixes. Each has one spelling here,
so that equal names are equal texts.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import override

MAX_NAME = 512  # characters
_DNS = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9.-]{1,253}")
_URI = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[\x21-\x7e]{1,480}")


class CertificateName(BaseModel):
    """Exactly one of the names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    san_dns: str | None = None
    san_uri: str | None = None
    san_email: str | None = None
    san_ip: str | None = None
    subject_dn: str | None = None  # RFC 4514: CN=refund-agent,O=Example

    @model_validator(mode="before")
    @classmethod
    def _in_one_spelling(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if not isinstance(data, dict):
            return data
        return {key: spelt(key, value) if isinstance(value, str) else value for key, value in data.items()}

    @model_validator(mode="after")
    def _exactly_one(self) -> CertificateName:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("name the certificate by one of san_dns, san_uri, san_email, san_ip or subject_dn")
        return self

    @override
    def __str__(self) -> str:
        """Return the name with its kind: `san_dns:refunds.example.com`."""
        ((kind, name),) = self.model_dump(exclude_none=True).items()
        return f"{kind}:{name}"


def spelt(kind: str, name: str) -> str:
    """Return `name` in the one spelling of its kind.

    Raises:
        ValueError: it is no such name.
    """
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"a certificate's name has 1 to {MAX_NAME} characters")
    match kind:
        case "san_dns":
            return _matching(_DNS, name.lower(), "no host name; wildcards name nobody")
        case "san_email":
            local, _, domain = name.rpartition("@")
            return _matching(_EMAIL, f"{local}@{domain.lower()}", "no e-mail address")
        case "san_uri":
            return _matching(_URI, name, "no URI")
        case "san_ip":
            return str(ipaddress.ip_address(name))
        case "subject_dn":
            return _distinguished(name)
        case _:
            return name


def _distinguished(name: str) -> str:
    from cryptography import x509

    try:
        return x509.Name.from_rfc4514_string(name).rfc4514_string()
    except ValueError as err:
        raise ValueError(f"`{name[:80]}` is no distinguished name; write it as in CN=refunds,O=Example") from err


def _matching(pattern: re.Pattern[str], name: str, what: str) -> str:
    if not pattern.fullmatch(name):
        raise ValueError(f"`{name[:80]}` is {what}")
    return name
