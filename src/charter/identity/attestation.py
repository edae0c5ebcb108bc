"""Which principal is this process? Selectors of charters held against what the kernel says of it.

INVARIANT: only active credentials count, and a process is one principal or none: files and charters that would make it
two are refused when they are written, and here again.
INVARIANT: a selector whose value is not known is not met. The digest of a program is worked out only where some charter
that fits otherwise asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from charter.core.errors import ConflictError, ErrorCode
from charter.identity.bearer import Attested
from charter.identity.composition import PROGRAM
from charter.registry.declared import conditions_of
from charter.registry.principal import ClientKey, LiveEstate, selector_key
from charter.registry.standing import Standing

DIGEST = "sha256"
_FINAL = (Standing.REVOKED, Standing.RETIRED)


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the kernel tells of it; None where it does not, or where that is not to be relied on."""

    pid: int
    uid: int
    gid: int
    path: str | None = None
    unit: str | None = None
    sha256: str | None = None
    node: str = ""  # the machine's name; nothing for the one that Charter runs on

    def with_digest(self, sha256: str | None) -> Process:
        """Return the same process with its program's digest."""
        return replace(self, sha256=sha256)

    @property
    def facts(self) -> dict[str, str | int]:
        """What is known of it, by selector."""
        found = {name: getattr(self, name) for name in ("node", "uid", "gid", "path", "unit", DIGEST)}
        return {name: value for name, value in found.items() if value is not None}


def candidates(live: LiveEstate, process: Process) -> tuple[ClientKey, ...]:
    """Return the credentials that `process` fits as far as everything but its program's digest tells."""
    facts = process.facts
    names = {each for name, value in facts.items() for each in live.workloads.get(selector_key(facts, name, value), ())}
    keys = (live.keys[name] for name in sorted(names))
    return tuple(key for key in keys if key.standing is Standing.ACTIVE and _fits(_conditions(key), facts, DIGEST))


def needs_digest(live: LiveEstate, found: Iterable[ClientKey]) -> bool:
    """Return whether the digest of the program is asked for: by selectors, or by what a charter pins."""
    return any(DIGEST in _conditions(key) or _pins_program(live, key) for key in found)


def _pins_program(live: LiveEstate, key: ClientKey) -> bool:
    composed = live.compositions.get(key.principal_id)
    return composed is not None and (PROGRAM in composed.accepted or PROGRAM in composed.declared)


def attest(live: LiveEstate, process: Process) -> Attested | None:
    """Return whom `process` is, or None.

    Raises:
        ConflictError: it is two principals.
    """
    facts = process.facts
    fitting = [key for key in candidates(live, process) if _fits(_conditions(key), facts)]
    alive = [key for key in fitting if live.principals[key.principal_id].standing not in _FINAL]
    found = alive or fitting  # one that was killed is still told apart from a stranger
    holders = sorted({live.principals[key.principal_id].name for key in found})
    if len(holders) > 1 and alive:
        raise ConflictError(
            ErrorCode.SHARED_CREDENTIAL,
            f"one process is {' and '.join(f'`{name}`' for name in holders[:5])}",
            help="name something in their charters whose values differ: one credential, one principal",
        )
    return Attested(found[0].principal_id, found[0].thumbprint, _seen(process)) if found else None


def _seen(process: Process) -> Mapping[str, Any]:
    return {name: value for name, value in (process.facts | {"pid": process.pid}).items() if value != ""}


def _conditions(key: ClientKey) -> Mapping[str, str | int]:
    return _parsed(key.jwk["selectors"])


@lru_cache(maxsize=65_536)
def _parsed(selectors: str) -> Mapping[str, str | int]:
    return conditions_of({"kty": "workload", "selectors": selectors})


def _fits(conditions: Mapping[str, str | int], facts: Mapping[str, str | int], unknown: str = "") -> bool:
    return all(facts.get(name) == value for name, value in conditions.items() if name != unknown)
