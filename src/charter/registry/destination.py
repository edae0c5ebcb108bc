"""Where the secrets of a system go: what a secret in the vault is bound to.

Whoever can change an estate's files could point a system at a place of their own and have its secrets sent there. So a
secret is bound to the destination that a system had when the secret was put in; a system that leads elsewhere now gets
nothing until the operator binds the secret anew.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from charter.core.canonical import digest_of
from charter.registry.system import System
from charter.registry.upstream import HttpUpstream, StdioUpstream
from charter.registry.upstream_credential import ClientCredential, PersonCredential, vault_name

_PORTS = {"http": 80, "https": 443}


def destination_of(system: System) -> str:
    """Return every place that secrets of `system` go to, as one line; "" if there is none."""
    if system.postgres is not None:
        place = system.postgres
        return f"postgresql://{place.user}@{place.host}:{place.port}/{place.database} tls {place.tls}"
    if system.aws is not None:
        return f"{system.aws.role} in {system.aws.region}"
    match system.upstream:
        case HttpUpstream() as upstream:
            places = {_place(upstream.url)}
            if isinstance(upstream.credential, ClientCredential | PersonCredential):
                places.add(_place(upstream.credential.token_url))
            return " ".join(sorted(places))
        case StdioUpstream() as upstream:
            return f"command {digest_of({'command': list(upstream.command), 'cwd': upstream.cwd})}"
        case None:
            return ""


def vault_names_of(system: System) -> frozenset[str]:
    """Return the names of the vault's secrets that `system` uses."""
    return frozenset(name for each in _references(system) if (name := vault_name(each)) is not None)


def needs_broker(system: System) -> bool:
    """Whether only a running Charter can prove itself to `system`: by its vault, or by tokens that it obtains."""
    upstream = system.upstream
    obtains = isinstance(upstream, HttpUpstream) and isinstance(
        upstream.credential, ClientCredential | PersonCredential
    )
    return obtains or bool(vault_names_of(system))


def _references(system: System) -> list[str]:
    own = (system.postgres.password if system.postgres else None, system.aws.secret if system.aws else None)
    if system.is_leased:
        return [secret for secret in own if secret is not None]
    match system.upstream:
        case HttpUpstream(credential=credential) if credential is not None:
            return [credential.secret] if credential.secret is not None else []
        case StdioUpstream(secrets=secrets) if secrets:
            return list(secrets.values())
        case _:
            return []


def _place(url: str) -> str:
    """Return a URL without its query, in one spelling: several parties may share one host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{parts.port or _PORTS.get(parts.scheme, 0)}{parts.path}"
