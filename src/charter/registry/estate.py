"""An estate as a value: all that an organisation's files say, each part with its place in them.

An estate is what `manifest.load_estate` returns: complete, cross-checked and immutable. Its digest changes exactly when
one of its parts changes its meaning, whatever the files' layout, comments and order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from charter.core.canonical import digest_of
from charter.core.values import Source
from charter.registry.central import NOTHING, Central
from charter.registry.charter import Charter
from charter.registry.issuer import Issuers
from charter.registry.pattern import CharterPattern
from charter.registry.problem import Problem
from charter.registry.property import Property
from charter.registry.sourced import Sourced, TextFile
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.trial import TrialCase

__all__ = ["NO_ISSUERS", "NO_TEAMS", "Estate", "Sourced", "TextFile"]

NO_ISSUERS = Sourced(Issuers(charter="v1"), {"": Source("issuers.yaml", 1)})
NO_TEAMS = Sourced(Teams(charter="v1"), {"": Source("teams.yaml", 1)})


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything the files of an estate say."""

    charters: Mapping[str, Sourced[Charter]] = field(default_factory=dict)  # by principal
    systems: Mapping[str, Sourced[System]] = field(default_factory=dict)  # by name
    guardrails: tuple[TextFile, ...] = ()  # by path
    central: Central = NOTHING
    patterns: Mapping[str, Sourced[CharterPattern]] = field(default_factory=dict)  # by name
    teams: Sourced[Teams] = NO_TEAMS
    issuers: Sourced[Issuers] = NO_ISSUERS
    trials: tuple[Sourced[TrialCase], ...] = ()  # in the files' order
    properties: tuple[Sourced[Property], ...] = ()  # likewise
    warnings: tuple[Problem, ...] = ()  # worth a look, yet no reason to refuse

    @property
    def digest(self) -> str:
        """The digest of all that can be applied; tests and warnings are not part of it."""
        issuers = self.issuers.value
        return digest_of(
            {
                "charters": {name: part.value.digest for name, part in self.charters.items()},
                "systems": {name: part.value.digest for name, part in self.systems.items()},
                "guardrails": {part.path: part.digest for part in self.guardrails},
                "patterns": {name: part.value.digest for name, part in self.patterns.items()},
                "teams": digest_of(self.teams.value.to_json()),
            }
            | ({"issuers": digest_of(issuers.to_json())} if issuers.issuers else {})
            | ({"rules": {each.path: each.digest for each in self.central.files}} if self.central.files else {})
        )
