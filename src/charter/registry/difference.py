"""Field-level differences between two JSON values: what a reviewer reads in a plan, and what evidence keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HIDDEN = "(not shown)"
_SHOWN = 200  # characters of one value in evidence


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that changes. None stands for nothing there: JSON null is written nowhere in an estate."""

    path: str  # dotted, as in sources: `grants.0.when.hours`
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain JSON."""
        return {"path": self.path, "before": self.before, "after": self.after}

    def for_evidence(self) -> dict[str, Any]:
        """Return the difference with both values as text, cut to a length that fits an entry."""
        return {"path": self.path[:_SHOWN], "before": _text(self.before), "after": _text(self.after)}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what must change in `before` to make it `after`, in the order of the fields of `after`."""
    return tuple(_differing("", before, after))


def without_values(found: tuple[Difference, ...], hidden: str) -> tuple[Difference, ...]:
    """Return `found` with the values at and below the path `hidden` not shown: they may be nobody's business."""
    return tuple(
        Difference(each.path, _hidden(each.path, each.before, hidden), _hidden(each.path, each.after, hidden))
        for each in found
    )


def _hidden(path: str, value: Any, hidden: str) -> Any:  # noqa: ANN401
    if value is None:
        return None
    if f"{path}.".startswith(f"{hidden}."):
        return HIDDEN
    if isinstance(value, Mapping) and f"{hidden}.".startswith(f"{path}."):
        return {key: _hidden(_joined(path, key), item, hidden) for key, item in value.items()}
    return value


def _differing(path: str, before: Any, after: Any) -> Iterator[Difference]:  # noqa: ANN401 - any JSON value
    if _is_same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*after, *before]):
            yield from _differing(_joined(path, key), before.get(key), after.get(key))
    elif _is_list_of_fields(before) and _is_list_of_fields(after):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else None
            new = after[index] if index < len(after) else None
            yield from _differing(_joined(path, index), old, new)
    else:
        yield Difference(path, before, after)


def _is_same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two JSON values are one; Python takes `true` for 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _is_list_of_fields(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _joined(path: str, step: str | int) -> str:
    return f"{path}.{step}" if path else str(step)


def _text(value: Any) -> str | None:  # noqa: ANN401
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
