"""What servers log while they are called, as far as it is passed on: to the caller of that call, if it asked for it.

*Legacy* callers ask by `logging/setLevel`, for all of their session; *modern* ones by `_meta` of each request
(2026-07-28 server/utilities/logging). What is passed on counts as read by the session, like a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
LOG_LEVEL_KEY = "io.modelcontextprotocol/logLevel"
LOGGED = "notifications/message"
USUAL_LEVEL = "info"  # of sessions that ask for none
MAX_LOGGER = 256
MAX_LOG_BYTES = 64 * 1024
MAX_LOGS = 1000  # of one call; further ones are dropped


def read_level(given: object) -> str | None:
    """Return a level, None if it is none."""
    return given if isinstance(given, str) and given in LEVELS else None


def rank_of(level: str) -> int:
    """Return a number that grows with how grave a level is."""
    return LEVELS.index(level)


def log_of(params: object) -> dict[str, Any] | None:
    """Return a log message as it is passed on; None if it is none, or too large."""
    if not isinstance(params, dict) or read_level(params.get("level")) is None or "data" not in params:
        return None
    told = {"level": params["level"], "data": params["data"]}
    logger = params.get("logger")
    if isinstance(logger, str) and len(logger) <= MAX_LOGGER:
        told["logger"] = logger
    try:
        is_small = len(msgspec.json.encode(told)) <= MAX_LOG_BYTES
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    return told if is_small else None


class Hearing:
    """Lets through what a call says, but of what is logged only so much, and from the level on that was asked for."""

    __slots__ = ("_least", "_left")

    def __init__(self, least: str | None) -> None:
        self._least = None if least is None else rank_of(least)
        self._left = MAX_LOGS

    def lets(self, message: Mapping[str, Any]) -> bool:
        """Whether a message is the caller's to see."""
        if message.get("method") != LOGGED:
            return True
        if self._least is None or rank_of(message["params"]["level"]) < self._least or not self._left:
            return False
        self._left -= 1
        return True


def text_of(message: Mapping[str, Any]) -> str:
    """Return what a notification tells of its call: a log message, or words about progress; empty if nothing."""
    params = message["params"]
    said = params["data"] if message["method"] == LOGGED else params.get("message", "")
    return said if isinstance(said, str) else msgspec.json.encode(said).decode()
