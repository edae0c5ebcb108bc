"""What policy needs of a Cedar implementation: to parse, to check, to bind. Evaluating is decide.py's port.

`Json` is Cedar's own JSON policy format, one object for each policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from charter.core.errors import ErrorCode, MalformedError

Json = dict[str, Any]


class PolicyTextError(MalformedError):
    """Cedar cannot read a text. `detail` is what it says."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.BAD_ESTATE, detail)


class Engine(Protocol):
    """A Cedar implementation, at rest."""

    def parse(self, text: str) -> list[Json]:
        """Return the policies of `text`, in order.

        Raises:
            PolicyTextError: it cannot be read, holds a template, or nests deeper than can be bound.
        """
        ...

    def faults(self, text: str, schema: str) -> list[tuple[int, str]]:
        """Return what strict validation says of the policies of `text`: (index of the policy, what)."""
        ...

    def bind(self, policies: Mapping[str, Json], groups: Mapping[str, str]) -> object:
        """Return what the engine's evaluator needs to evaluate `policies`, each under its own id.

        `groups`: the actions that can be asked about, each with its group. In answers an id that begins with `/` is
        that of the asking principal: `/grant-1` is told as `refund-agent/grant-1`.

        Raises:
            PolicyTextError: they cannot be bound.
        """
        ...
