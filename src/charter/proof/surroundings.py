"""What a charter's slice is bound among: systems, guardrails and central files, as registered or as planned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from charter.core.canonical import digest_of
from charter.policy.central import central_guardrails
from charter.policy.check import read_guardrails, systems_of
from charter.policy.engine import Engine
from charter.policy.grant import Sources
from charter.policy.guardrail import Guardrail, parse_guardrails
from charter.policy.slice import Slice, bind_slice
from charter.registry.central import Central, read_central
from charter.registry.charter import Charter
from charter.registry.estate import Estate, TextFile
from charter.registry.pattern import CharterPattern
from charter.registry.problem import EstateError
from charter.registry.record import PartKind, RegisteredEstate
from charter.registry.system import System


@dataclass(frozen=True)
class Surroundings:
    """What slices are bound among at one time."""

    systems: dict[str, System]
    guardrails: tuple[Guardrail, ...]
    central: Central
    patterns: dict[str, CharterPattern]

    def bind(self, charter: Charter, engine: Engine, sources: Sources | None = None) -> Slice:
        """Return the slice of a charter, whose parts stand at `sources`.

        Raises:
            CharterError: it cannot be bound here.
        """
        return bind_slice(charter, sources or {}, self.systems, self.guardrails, engine, self.central)

    @cached_property
    def digest(self) -> str:
        """What changes exactly when something that a slice may rest on does."""
        return digest_of(
            {
                "systems": {name: each.digest for name, each in self.systems.items()},
                "guardrails": [[each.id, each.text, each.force.value] for each in self.guardrails],
                "central": {each.path: each.digest for each in self.central.files},
            }
        )

    @cached_property
    def guardrail_text(self) -> str:
        """All guardrails as one text, to see what they name."""
        return "\n".join(each.text for each in self.guardrails)


def planned(estate: Estate, engine: Engine) -> Surroundings:
    """Return what an estate's files lay down.

    Raises:
        EstateError: a guardrail cannot be read.
    """
    guardrails, problems = read_guardrails(estate, engine)
    if problems:
        raise EstateError(problems)
    patterns = {name: part.value for name, part in estate.patterns.items()}
    return Surroundings(systems_of(estate), tuple(guardrails), estate.central, patterns)


def registered(current: RegisteredEstate, engine: Engine) -> Surroundings:
    """Return what is in force. What was altered in the database cannot be told, and raises.

    Raises:
        EstateError: a file cannot be read any more.
        ValueError: something that is registered is not what its digest says.
    """
    altered = [path for path, part in current.parts.items() if not part.is_intact]
    altered += [each.name for each in current.systems.values() if not each.is_intact and not each.is_withdrawn]
    if altered:
        raise ValueError(f"`{altered[0]}` was altered in the database")
    parts = sorted(current.parts.values(), key=lambda each: each.path)
    central = read_central([TextFile(each.path, each.body) for each in parts if each.kind is PartKind.RULES])
    own = [
        guardrail
        for each in parts
        if each.kind is PartKind.GUARDRAIL
        for guardrail in parse_guardrails(each.path, each.body, engine)
    ]
    systems = {
        each.name: each.record.system for each in current.systems.values() if each.record and not each.is_withdrawn
    }
    patterns = (CharterPattern.model_validate_json(each.body) for each in parts if each.kind is PartKind.PATTERN)
    named = {each.pattern: each for each in patterns}
    return Surroundings(systems, (*central_guardrails(central, engine), *own), central, named)
