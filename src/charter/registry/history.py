"""What held when: systems and files as they came to hold and ceased to, beside the versions of charters.

The registry shows the newest of each. A verdict of last week was made under what held then, and is explained by it.

INVARIANT: what stood at an entry of a log is what came to hold before that entry, and had not ceased before it.
"""

from __future__ import annotations

from dataclasses import dataclass

SYSTEM = "system"  # a kind of what is kept, beside those of PartKind


@dataclass(frozen=True, slots=True)
class Succession:
    """One system or file that came to hold in place of its earlier self; without a body, it ceased."""

    kind: str  # SYSTEM, or a PartKind's word
    name: str  # the system's, or the file's path
    digest: str = ""
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One system or file as it held at some time."""

    kind: str
    name: str
    digest: str
    body: str
