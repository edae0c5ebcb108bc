"""Arguments of a call by name: `amount`, or a path into nested ones, `order.total`.

A name with a dot is a path, and nothing else. What the call calls `order.total` at the top is not looked at: the
upstream reads the nested one, and a caller who sends both must not choose which of them is judged.

INVARIANT: an argument that cannot be found is absent; a path leads through mappings alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MAX_STEPS = 8  # of a path


class _Absent:
    """What an argument is that the call does not give."""


ABSENT: Final = _Absent()


def find(arguments: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the argument `name`, or ABSENT."""
    if "." not in name:
        return arguments.get(name, ABSENT)
    found: Any = arguments
    for step in name.split(".", MAX_STEPS):
        found = found.get(step, ABSENT) if isinstance(found, Mapping) else ABSENT
    return found
