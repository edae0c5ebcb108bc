"""Finding one's way in a record of a log, whatever it holds, and saying what it tells of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from charter.evidence.observation import Observation, Who, text_of, time_of

UNNAMED = "(unnamed)"  # the actor of deeds that nobody is named for; no login has parentheses
Record = Mapping[str, Any]
FAILED = re.compile(r"(?:^|[._])fail(?:ed|ure)(?:$|[._])")
EFFECTS = {
    "create": ("create", "add", "put", "run", "invoke", "insert", "post", "register", "upload"),
    "read": ("get", "list", "describe", "read", "head", "watch", "query", "search", "view", "download", "access"),
    "update": ("update", "patch", "modify", "set", "change", "edit", "rename", "attach", "assign", "archive"),
    "delete": ("delete", "remove", "destroy", "terminate", "revoke", "disable", "detach"),
}


def value_at(record: object, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return what stands at a dotted path of a record, or None."""
    for name in path.split("."):
        if isinstance(record, list):
            record = record[0] if record else None
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def text_at(record: object, *paths: str) -> str:
    """Return the first text that stands at one of the paths."""
    return next((found for path in paths if (found := text_of(value_at(record, path)))), "")


def texts_at(record: object, *paths: str) -> tuple[str, ...]:
    """Return the texts that stand at the paths."""
    return tuple(found for path in paths if (found := text_of(value_at(record, path))))


def more_of(record: object, **paths: str) -> dict[str, str]:
    """Return the texts that stand at the paths, by the names to tell them by."""
    return {name: found for name, path in paths.items() if (found := text_at(record, path))}


def effect_of(action: str) -> str:
    """Return what an action does, as far as its name tells: `repo.create`, `iam:CreateUser`, `claude_file_viewed`."""
    name = action.rsplit(".", 1)[-1].rsplit(":", 1)[-1].lower()
    for word in (name, name.rpartition("_")[2]):
        for effect, beginnings in EFFECTS.items():
            if word.startswith(beginnings):
                return effect
    return "other"


def seen(event: str, at: object, who: Who, action: str, **more: Any) -> Observation:  # noqa: ANN401
    """Return what a record tells of; its kind of log and its digest are filled in by whoever reads the file."""
    found = {"effect": effect_of(action)} | more
    return Observation("", event, "", time_of(at), who, action, **found)


def ended_as_named(action: str) -> str:
    """Return how it ended, in logs that tell a failure by its name alone: `login.failed`, `user.failed_login`."""
    return ended(not FAILED.search(action))


def ended(is_ok: bool | None) -> str:
    """Return in one word how it ended; None: nobody says."""
    return "unknown" if is_ok is None else "success" if is_ok else "failure"


def list_at(record: Record, name: str) -> list[Any]:
    """Return the list of that name, or an empty one."""
    found = record.get(name)
    return found if isinstance(found, list) else []
