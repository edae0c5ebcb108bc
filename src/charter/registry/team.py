"""`teams.yaml`: the organisation's teams and roles, who may use the console, and what people may do themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from charter.registry.change_terms import ChangeTerms
from charter.registry.charter import Email, Grant, Model, Name, Text
from charter.registry.directory import fold

GROUP = "group:"  # in `entitlements`: a group of the directory, by name


class Team(Model):
    """A team: who leads it and who belongs to it."""

    lead: Email
    members: tuple[Email, ...] = ()


class AccessGroups(Model):
    """The directory's groups whose people may use the console and the control API, and how far."""

    viewer: tuple[Text, ...] = ()
    operator: tuple[Text, ...] = ()
    admin: tuple[Text, ...] = ()


class Teams(Model):
    """`teams.yaml`: the organisation's teams, the people who hold each human role, and who may use the console.

    `entitlements` say what people of a team, of a role or of a group of the directory (`group:NAME`) may do themselves.
    Once there are any, an agent that acts for a person may do no more than that person may, whatever its own charter
    grants. `changes` say whether what widens authority is applied only after the right person's yes.
    """

    charter: Literal["v1"]
    teams: dict[Name, Team] = Field(default_factory=dict)
    roles: dict[Name, tuple[Email, ...]] = Field(default_factory=dict)
    access: AccessGroups | None = None
    entitlements: dict[Text, Annotated[tuple[Grant, ...], Field(max_length=200)]] | None = None
    changes: ChangeTerms | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)

    def roles_of(self, person: str) -> frozenset[str]:
        """Return the human roles that a person holds."""
        return frozenset(role for role, people in self.roles.items() if person in people)

    def entitling(self, person: str, groups: Iterable[str]) -> tuple[str, ...] | None:
        """Return under which names of `entitlements` a person of these groups stands; None if there are none at all."""
        if self.entitlements is None:
            return None
        teams = {name for name, team in self.teams.items() if person in (team.lead, *team.members)}
        held = teams | self.roles_of(person) | {f"{GROUP}{fold(group)}" for group in groups}
        return tuple(name for name in self.entitlements if (fold(name) if name.startswith(GROUP) else name) in held)

    @property
    def people(self) -> frozenset[str]:
        """Everyone who leads or belongs to a team."""
        return frozenset(person for team in self.teams.values() for person in (team.lead, *team.members))
