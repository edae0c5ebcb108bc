"""Patterns of text in which `*` stands for any run of characters, as Cedar's `like` has them."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache


@lru_cache(maxsize=4096)
def _like(text: str) -> re.Pattern[str]:
    escaped = text.replace("[", "[[]").replace("?", "[?]")
    return re.compile(translate(escaped))


def is_like(text: str, wanted: str) -> bool:
    """Whether `text` matches a pattern in which `*` stands for any run of characters."""
    return _like(wanted).match(text) is not None
