"""Where browsers find the console, by which names, and with which cookie.

INVARIANT: only requests for a known Host are answered. A foreign name that was made to resolve to this machine (DNS
rebinding) gets nothing, whatever cookies come with it.

With an `https` issuer the cookie is `__Host-charter` and Secure (RFC 6265bis section 4.1.3.2). On plain http it is
`charter`, without either, which only a loopback address makes bearable: cookies know no ports, so whatever else
listens on that address sees it if the same browser goes there. `is_exposed` tells the pages to warn about any other
plain address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import is_loopback

COOKIE_SECONDS = 8 * 3600
NEXT_SECONDS = 600
MAX_NEXT = 3500  # characters of a cookie
_DEFAULT_PORTS = {"http": 80, "https": 443}
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Address:
    """Where browsers find the console, and which names they may call it by."""

    origin: str  # scheme://host[:port], the port left out where it is the scheme's own
    hosts: frozenset[str]  # every Host header that is this console's
    is_secure: bool  # https
    is_exposed: bool  # plain http on an address others can listen in on

    @classmethod
    def parse(cls, issuer: str) -> Address:
        """Return the address that `issuer`, an http or https URL, names.

        A loopback issuer answers to each loopback name, so that `localhost` works where the link says `127.0.0.1`; so
        does one that listens everywhere (`0.0.0.0`), until --public-url says what it is called.

        Raises:
            MalformedError: it is no such URL.
        """
        scheme, host, port = _split(issuer)
        name = f"[{host}]" if ":" in host else host
        names: tuple[str, ...] = (name,)
        if _is_loopback(host):
            names = _LOOPBACK if host in _EVERYWHERE else (name, *_LOOPBACK)
        suffix = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"
        is_secure = scheme == "https"
        return cls(
            origin=f"{scheme}://{names[0]}{suffix}",
            hosts=frozenset(each + suffix for each in names),
            is_secure=is_secure,
            is_exposed=not is_secure and not _is_loopback(host),
        )

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return "__Host-charter" if self.is_secure else "charter"

    def set_cookie(self, session_id: str) -> str:
        """Return the Set-Cookie value that gives a browser its session."""
        return self._cookie(session_id, COOKIE_SECONDS)

    def set_passing_cookie(self, secret: str, max_age: int) -> str:
        """Return the Set-Cookie value that ties a sign-in at the provider to the browser that began it.

        It must come back with the provider's redirect, so it is Lax where the session's is Strict.
        """
        secure = "; Secure" if self.is_secure else ""
        name = f"{self.cookie}-passing"
        return f"{name}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"

    def passing_cookie_of(self, headers: Iterable[str]) -> str | None:
        """Return the secret in the Cookie `headers`; None unless there is exactly one."""
        return _cookie_in(headers, f"{self.cookie}-passing")

    def set_next_cookie(self, where: str) -> str:
        """Return the Set-Cookie value that remembers where somebody was going who has to sign in first."""
        secure = "; Secure" if self.is_secure else ""
        value = quote(where, safe="")
        kept = value if len(value) <= MAX_NEXT else ""
        age = NEXT_SECONDS if kept else 0
        return f"{self.cookie}-next={kept}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"

    def next_of(self, headers: Iterable[str], allowed: Iterable[str]) -> str:
        """Return where somebody was going, if its path is one of `allowed`; else the inventory."""
        where = unquote(_cookie_in(headers, f"{self.cookie}-next") or "")
        path = where.partition("?")[0]
        return where if path in allowed and where.isprintable() else "/"

    def drop_cookie(self) -> str:
        """Return the Set-Cookie value that takes it away."""
        return self._cookie("", 0)

    def _cookie(self, value: str, max_age: int) -> str:
        secure = "; Secure" if self.is_secure else ""
        return f"{self.cookie}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}"

    def cookie_of(self, headers: Iterable[str]) -> str | None:
        """Return the session id in the Cookie `headers` (RFC 6265 section 5.4); None unless there is exactly one."""
        return _cookie_in(headers, self.cookie)


def _cookie_in(headers: Iterable[str], wanted: str) -> str | None:
    pairs = (pair.strip().partition("=") for header in headers for pair in header.split(";"))
    found = [value for name, _, value in pairs if name == wanted]
    return found[0] if len(found) == 1 else None


def _split(issuer: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(issuer)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise _no_url() from err
    if not host or parts.scheme not in _DEFAULT_PORTS:
        raise _no_url()
    return parts.scheme, host, port


def _no_url() -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, "the issuer is no http or https URL", help="mend --public-url")


def _is_loopback(host: str) -> bool:
    """Whether only this machine's browsers come in. `0.0.0.0` counts: only loopback names are answered there."""
    return host in _EVERYWHERE or is_loopback(host)
