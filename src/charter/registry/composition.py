"""What a principal is made of, as its charter pins it: `composition`, on where a charter asks for it.

    model       the models it calls, by their exact names
    tools       the definitions of the tools that its grants name, as they were accepted (the pins of systems)
    image       the container image it runs, by its OCI digest
    program     the program's file, by its SHA-256
    commit      the commit that it is built from or runs at
    workflow    the commit of the workflow that runs it
    card        its A2A agent card, by the digest of the card's canonical form

A composition is a set of *parts*, each with the values that count as the same. Tools are a part each:
`tools.payments.create_refund`. All of them together have one digest, which is what the identity is bound to.

INVARIANT: values are exact. What looks like a pattern is refused when it is written.
INVARIANT: only what something beside the principal itself can tell may be asked for under `attested`; a charter that
asks for more than its credential's platform says is refused when it is written, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from charter.core.canonical import digest_of
from charter.registry.field import Model, Role, printable
from charter.registry.problem import PlacedError
from charter.registry.standing import Standing

MAX_VALUES = 16  # that count as the same, of one part
_DIGEST = r"^sha256:[0-9a-f]{64}$"
_COMMIT = r"^([0-9a-f]{40}|[0-9a-f]{64})$"  # SHA-1 or SHA-256, as git has them
Parts = Mapping[str, tuple[str, ...]]  # part -> the values that count as the same, sorted


class Part(StrEnum):
    """What can be pinned."""

    MODEL = "model"
    TOOLS = "tools"
    IMAGE = "image"
    PROGRAM = "program"
    COMMIT = "commit"
    WORKFLOW = "workflow"
    CARD = "card"


class OnChange(StrEnum):
    """What a change does to the principal's standing until it is reviewed."""

    RESTRAIN = "restrain"
    SUSPEND = "suspend"

    @property
    def floor(self) -> Standing:
        """The best standing that is left."""
        return Standing.RESTRAINED if self is OnChange.RESTRAIN else Standing.SUSPENDED


def _listed(value: object) -> object:
    """Return the values that are written, one alone as a list of one; the bounds are held here, in one sentence."""
    found = (value,) if isinstance(value, str) else value
    if isinstance(found, list | tuple) and not 1 <= len(found) <= MAX_VALUES:
        raise ValueError(f"holds {len(found)} values; name 1 to {MAX_VALUES} that count as the same")
    return found


def _told_apart(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("names a value twice")
    return tuple(sorted(values))


def _exact_name(text: str) -> str:
    if any(sign in text for sign in "*?[]"):
        raise ValueError(f"`{text[:80]}` looks like a pattern, and a pinned model has one exact name; write it whole")
    return printable(text)


def _digest(text: str) -> str:
    if not re.fullmatch(_DIGEST, text):
        raise ValueError(f"`{text[:80]}` is no digest; write `sha256:` and 64 hexadecimal digits, as tools print them")
    return text


def _commit(text: str) -> str:
    if not re.fullmatch(_COMMIT, text):
        raise ValueError(f"`{text[:80]}` is no commit; write all its 40 (or 64) hexadecimal digits: git rev-parse HEAD")
    return text


def _one_or_more(item: dict[str, Any]) -> WithJsonSchema:
    several = {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_VALUES, "uniqueItems": True}
    return WithJsonSchema({"anyOf": [item, several]})


_Digest = Annotated[str, StringConstraints(strict=True), AfterValidator(_digest)]
_Commit = Annotated[str, StringConstraints(strict=True), AfterValidator(_commit)]
_ModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128), AfterValidator(_exact_name)]
_Sorted = AfterValidator(_told_apart)
_List = BeforeValidator(_listed)
Digests = Annotated[tuple[_Digest, ...], _List, _Sorted, _one_or_more({"type": "string", "pattern": _DIGEST})]
Commits = Annotated[tuple[_Commit, ...], _List, _Sorted, _one_or_more({"type": "string", "pattern": _COMMIT})]
ModelNames = Annotated[
    tuple[_ModelName, ...], _List, _Sorted, _one_or_more({"type": "string", "minLength": 1, "maxLength": 128})
]
Attestable = Literal[Part.IMAGE, Part.PROGRAM, Part.COMMIT, Part.WORKFLOW]


class Pinned(Model):
    """`composition` in a charter. `accepted_by` is the human role that reviews changes; without it, the approver's."""

    model: ModelNames | None = None
    tools: Literal["granted"] | None = None
    image: Digests | None = None
    program: Digests | None = None
    commit: Commits | None = None
    workflow: Commits | None = None
    card: Digests | None = None
    attested: Annotated[tuple[Attestable, ...], Field(min_length=1, max_length=4), _Sorted] | None = None
    on_change: OnChange = OnChange.RESTRAIN
    accepted_by: Role | None = None

    @model_validator(mode="after")
    def _something(self) -> Pinned:
        if not self.named:
            raise PlacedError((), f"pins nothing; name one of {', '.join(f'`{part.value}`' for part in Part)}")
        for index, part in enumerate(self.attested or ()):
            if part not in self.named:
                raise PlacedError(
                    ("attested", index), f"`{part}` is to be attested, and what it must be is not said: add `{part}`"
                )
        return self

    @property
    def named(self) -> tuple[Part, ...]:
        """The kinds of part that are pinned."""
        return tuple(part for part in Part if getattr(self, part.value) is not None)


def kind_of(part: str) -> Part:
    """Return the kind of a part: `tools` of `tools.payments.create_refund`."""
    return Part(part.partition(".")[0])


def tool_part(system: str, tool: str) -> str:
    """Return the name of the part that a tool of a system is."""
    return f"{Part.TOOLS.value}.{system}.{tool}"


def system_of_part(part: str) -> str | None:
    """Return the system whose tool a part is; None if it is no tool."""
    kind, _, rest = part.partition(".")
    return rest.partition(".")[0] if kind == Part.TOOLS.value else None


def composition_digest(parts: Parts) -> str:
    """Return the one digest of a composition: of the canonical JSON of its parts and their values."""
    return digest_of({part: list(values) for part, values in parts.items()})


def parts_of(pinned: Pinned, provider: str, tools: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the parts that a charter declares.

    `tools` are those that its grants name: system, tool, and the digest of the definition that was accepted.
    """
    found: dict[str, tuple[str, ...]] = {}
    if pinned.model is not None:
        found[Part.MODEL.value] = tuple(f"{provider}/{name}" for name in pinned.model)
    if pinned.tools is not None:
        found |= {tool_part(system, tool): (pin,) for system, tool, pin in tools}
    for part in (Part.IMAGE, Part.PROGRAM, Part.COMMIT, Part.WORKFLOW, Part.CARD):
        values: tuple[str, ...] | None = getattr(pinned, part.value)
        if values is not None:
            found[part.value] = values
    return dict(sorted(found.items()))
