"""The Cedar beside a charter, `principals/NAME.cedar`, as far as the inventory must know it: which actions it permits.

What the text means is policy's business (policy/own.py), which holds that each permit names its actions in its scope,
and that what is found here is what Cedar finds there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_POLICY = 65_536  # characters
_WORD = re.compile(
    r'//[^\n]*|Charter\s*::\s*Action\s*::\s*"(?P<action>(?:[^"\\]|\\.)*)"|"(?:[^"\\]|\\.)*"|(?P<end>;)'
    r"|\b(?P<effect>permit|forbid)\b|\b(?P<clause>when|unless)\b",
    re.DOTALL,
)


def permitted(text: str) -> tuple[tuple[str, str], ...]:
    """Return (system, action) for each action that a permit of `text` names in its scope, in order, once each."""
    return tuple(dict.fromkeys(_permitted(text)))


def _permitted(text: str) -> Iterator[tuple[str, str]]:
    is_permit = in_scope = False
    for found in _WORD.finditer(text):
        if found["effect"]:
            is_permit, in_scope = found["effect"] == "permit", True
        elif found["clause"]:
            in_scope = False
        elif found["end"]:
            is_permit = in_scope = False
        elif found["action"] is not None and is_permit and in_scope:
            system, slash, action = found["action"].partition("/")
            if slash:
                yield system, action
