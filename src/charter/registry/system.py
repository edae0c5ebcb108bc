"""Systems: what a principal reaches. A system has an environment, actions with their effects, objects and data classes.

A tool that no action names is unknown and denied. An action carries the pin, the digest of the tool definition that was
accepted at import; a tool whose definition no longer has that digest is held until someone accepts the change.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StringConstraints, model_validator

from charter.core.canonical import digest_of
from charter.registry.charter import (
    EVERY_ACTION,
    ActionName,
    DataClass,
    Effect,
    Environment,
    Grant,
    Model,
    Name,
    Owner,
    Pattern,
    SystemName,
    Text,
    write_duration,
)
from charter.registry.data_class import DataFlow, Touched
from charter.registry.egress import EGRESS_ACTIONS, EGRESS_OBJECT, EgressTerms
from charter.registry.enforcement import Enforcement
from charter.registry.flow import Labels, Origin, Results, Word, labels_by
from charter.registry.grant import Place
from charter.registry.leasing import (
    MIN_AWS,
    OBJECT,
    AwsPlace,
    LeaseTerms,
    PostgresPlace,
    fault_of_iam,
    fault_of_sql,
)
from charter.registry.model_api import MODEL_OBJECT, OPERATIONS, ModelPattern, Prices
from charter.registry.problem import PlacedError, suggestion
from charter.registry.upstream import HttpUpstream, Upstream

MAX_PATTERNS = 500  # of one group of objects, those of groups inside it included


class SystemKind(StrEnum):
    """What protocol a system speaks."""

    MCP = "mcp"
    HTTP = "http"
    MODEL = "model"
    DATABASE = "database"
    POSTGRES = "postgres"  # reached with a lease: a role of its own
    AWS = "aws"  # reached with a lease: a session of a role
    EGRESS = "egress"  # hosts outside, reached through the forward proxy


LEASED = frozenset({SystemKind.POSTGRES, SystemKind.AWS})

Unit = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z%][A-Za-z0-9/%]{0,15}$")]
ArgumentName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]


class AmountOf(Model):
    """Where an argument's unit stands: `{value: amount, unit: currency}` reads two arguments as one quantity.

    `given_in` says the unit where no argument does: `{value: size, given_in: B}`. `per_unit` says how many of the
    argument make one: `{value: amount, unit: currency, per_unit: 100}` reads cents. Names may be paths into nested
    arguments, as `order.total`.
    """

    value: ArgumentName
    unit: ArgumentName | None = None
    given_in: Unit | None = None
    per_unit: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 1

    @model_validator(mode="after")
    def _one_unit(self) -> AmountOf:
        if self.unit is not None and self.given_in is not None:
            raise PlacedError(("given_in",), "`unit` names the argument that says it, so `given_in` has nothing to say")
        return self


SeenAs = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z-]{0,30}:[^\s:][^\n]{0,126}$")]


class Action(Model):
    """One thing that can be done on a system: the tool that does it, its effect, and the object it touches."""

    tool: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
    effect: Effect
    verbs: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)] | None = None  # of a leased system
    on: Annotated[tuple[str, ...], Field(min_length=1, max_length=200)] | None = None  # its tables or resources
    object: Pattern = "*"  # `charge/{charge_id}`: braces take an argument of the call
    data: tuple[DataClass, ...] | None = None  # None: the system's
    data_flow: DataFlow | None = None  # which of them are read, written or sent; the others by the effect
    amounts: dict[str, AmountOf] = Field(default_factory=dict)
    external: StrictBool | None = None  # whether what it is given leaves the organisation; None: as of the system
    results: Results | None = None  # who could have written what it answers
    carries: Annotated[tuple[ArgumentName, ...], Field(max_length=64)] | None = None  # text; the others lead it
    asked_as: Annotated[tuple[Word, ...], Field(max_length=64)] | None = None  # words by which people ask for it
    seen_as: Annotated[tuple[SeenAs, ...], Field(max_length=32)] | None = None  # how logs of others name it
    pin: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _seen_by_known_sources(self) -> Action:
        if self.seen_as is None:
            return self
        from charter.evidence.vendors.readers import READERS  # loaded where a file says it

        for index, told in enumerate(self.seen_as):
            source = told.partition(":")[0]
            if source not in READERS:
                text = f"`{source}` is no kind of log; {suggestion(source, READERS)}"
                raise PlacedError(("seen_as", index), text)
        return self


class ObjectGroup(Model):
    """A named set of a system's objects: patterns, places with all that is below them, and other groups."""

    objects: Annotated[tuple[Pattern, ...], Field(max_length=MAX_PATTERNS)] = ()
    under: Annotated[tuple[Place, ...], Field(max_length=MAX_PATTERNS)] = ()
    groups: Annotated[tuple[Name, ...], Field(max_length=50)] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns that its own words stand for."""
        return (*self.objects, *(each for place in self.under for each in below(place)))


def below(place: str) -> tuple[str, str]:
    """Return the patterns of a place and of all that is below it."""
    return place, f"{place}/*"


class System(Model):
    """One system, version 1 of the format."""

    charter: Literal["v1"]
    system: SystemName
    kind: SystemKind
    environment: Environment
    owner: Owner
    title: Text | None = None
    sensitive: StrictBool = False
    provider: Name | None = None  # of a system of kind model: whose models they are
    prices: Annotated[dict[ModelPattern, Prices], Field(max_length=500)] | None = (
        None  # of its models, per million tokens
    )
    untrusted: StrictBool = False  # its answers hold what strangers wrote: mail, tickets, web pages
    external: StrictBool = False  # others run it: what is sent there leaves the organisation
    data: tuple[DataClass, ...] = ()
    upstream: Upstream | None = None
    groups: Annotated[dict[Name, ObjectGroup], Field(max_length=200)] | None = None
    postgres: PostgresPlace | None = None
    aws: AwsPlace | None = None
    lease: LeaseTerms | None = None
    enforcement: Enforcement | None = None  # those who stand before it themselves, and ask
    egress: EgressTerms | None = None  # of the kind egress: what holds for every connection; None: the usual
    actions: dict[ActionName, Action] = Field(default_factory=dict, max_length=1000)

    @model_validator(mode="after")
    def _groups_end(self) -> System:
        for name, group in (self.groups or {}).items():
            for index, other in enumerate(group.groups):
                if other not in (self.groups or {}):
                    text = f"`{other}` is no group; {suggestion(other, self.groups or {})}"
                    raise PlacedError(("groups", name, "groups", index), text)
        for name in self.groups or {}:
            if name in self._groups_in(name):
                raise PlacedError(("groups", name), f"the group `{name}` holds itself")
            if len(self.patterns_of(name)) > MAX_PATTERNS:
                raise PlacedError(("groups", name), f"the group `{name}` has more than {MAX_PATTERNS} patterns in all")
        return self

    @model_validator(mode="after")
    def _providers_have_models(self) -> System:
        if self.provider is not None and self.kind is not SystemKind.MODEL:
            raise PlacedError(("provider",), "only a system of the kind model has a `provider`")
        return self

    @model_validator(mode="before")
    @classmethod
    def _name_calls(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        """Fill in what actions need not say where Charter forwards nothing: the call is named like the action."""
        actions = data.get("actions") if isinstance(data, dict) else None
        is_leased = isinstance(data, dict) and data.get("kind") in [kind.value for kind in LEASED]
        is_egress = isinstance(data, dict) and data.get("kind") == SystemKind.EGRESS.value
        is_model = isinstance(data, dict) and data.get("kind") == SystemKind.MODEL.value
        if is_model and isinstance(actions, dict) and data.get("upstream") is not None:
            return data | {"actions": _model_actions(data, actions)}
        if not isinstance(actions, dict) or not (is_leased or is_egress or data.get("enforcement") is not None):
            return data
        place = {"object": OBJECT} if is_leased else {"object": EGRESS_OBJECT} if is_egress else {}
        filled = {
            name: {"tool": name} | place | action if isinstance(action, dict) else action
            for name, action in actions.items()
        }
        return data | {"actions": filled}

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> System:
        for name in ("postgres", "aws"):
            is_there = getattr(self, name) is not None
            if is_there and self.kind != name:
                raise PlacedError((name,), f"`{name}` says where a system of the kind {name} is")
            if self.kind == name and not is_there:
                raise PlacedError(("kind",), f"`{name}` is missing: where the system is")
        if self.is_leased and self.lease is None:
            raise PlacedError(("kind",), "`lease` is missing; write `lease: {ttl: 15m}`")
        if self.lease is not None and not self.is_leased:
            raise PlacedError(("lease",), "`lease` says how long leases live, on systems of the kinds postgres and aws")
        if self.is_leased and self.upstream is not None:
            raise PlacedError(("upstream",), "a leased system has no upstream: agents reach it themselves")
        if self.upstream is not None and self.upstream.asks is not None and self.kind is not SystemKind.MCP:
            raise PlacedError(("upstream", "asks"), "only the server of a system of the kind mcp asks anything")
        if self.aws is not None and self.lease is not None and self.lease.ttl < MIN_AWS:
            raise PlacedError(("lease", "ttl"), f"AWS gives sessions of {write_duration(MIN_AWS)} at least")
        for name, action in self.actions.items():
            self._check_action(name, action)
        return self

    @model_validator(mode="after")
    def _is_a_models_api(self) -> System:
        if self.kind is not SystemKind.MODEL:
            if self.prices is not None:
                raise PlacedError(("prices",), "only a system of the kind model has `prices`")
            return self
        if self.upstream is None:
            return self
        if not isinstance(self.upstream, HttpUpstream):
            raise PlacedError(("upstream",), "models are reached over HTTP: transport, url and credential")
        for name, action in self.actions.items():
            if action.tool not in OPERATIONS:
                text = f"`{action.tool}` is no operation of a model's API; {suggestion(action.tool, OPERATIONS)}"
                raise PlacedError(("actions", name, "tool"), text)
        units = {each.unit for prices in (self.prices or {}).values() for each in (prices.input, prices.output)}
        if len(units) > 1:
            raise PlacedError(("prices",), "prices of one system are in one currency")
        return self

    @model_validator(mode="after")
    def _is_reached_through_the_proxy(self) -> System:
        if self.kind is not SystemKind.EGRESS:
            if self.egress is not None:
                raise PlacedError(("egress",), "`egress` says what holds for connections of systems of the kind egress")
            return self
        if self.upstream is not None or self.enforcement is not None:
            which = "upstream" if self.upstream is not None else "enforcement"
            raise PlacedError((which,), "a system of the kind egress is reached through Charter's proxy alone")
        for name, action in self.actions.items():
            if name not in EGRESS_ACTIONS or action.tool != name:
                text = f"a system of the kind egress has the actions {' and '.join(EGRESS_ACTIONS)}, by these names"
                raise PlacedError(("actions", name), text)
            if action.object != EGRESS_OBJECT:
                raise PlacedError(("actions", name, "object"), f"the object of such an action is `{EGRESS_OBJECT}`")
        return self

    @model_validator(mode="after")
    def _has_one_enforcement(self) -> System:
        if self.enforcement is None:
            return self
        if self.upstream is not None or self.is_leased:
            text = "who stands before it enforces; it can be reached through Charter or with a lease, or have this"
            raise PlacedError(("enforcement",), text)
        for index, rule in enumerate(self.enforcement.obligations):
            for at, name in enumerate(rule.actions or ()):
                if name not in self.actions:
                    text = f"`{name}` is no action; {suggestion(name, self.actions)}"
                    raise PlacedError(("enforcement", "obligations", index, "actions", at), text)
        for index, route in enumerate(self.enforcement.proxy.routes if self.enforcement.proxy else ()):
            if route.action not in self.actions:
                text = f"`{route.action}` is no action; {suggestion(route.action, self.actions)}"
                raise PlacedError(("enforcement", "proxy", "routes", index, "action"), text)
        return self

    def _check_action(self, name: str, action: Action) -> None:
        if not self.is_leased:
            wrong = next((field for field in ("verbs", "on") if getattr(action, field) is not None), None)
            if wrong is not None:
                raise PlacedError(
                    ("actions", name, wrong), f"`{wrong}` belongs to systems of the kinds postgres and aws"
                )
            return
        for field in ("verbs", "on"):
            if getattr(action, field) is None:
                raise PlacedError(("actions", name), f"`{field}` is missing: what a lease lets do, and on what")
        if (action.tool, action.object) != (name, OBJECT):
            raise PlacedError(("actions", name), "an action of a leased system has neither `tool` nor `object`")
        check = fault_of_sql if self.kind is SystemKind.POSTGRES else fault_of_iam
        fault = check(action.verbs or (), action.on or (), action.effect)
        if fault is not None:
            raise PlacedError(("actions", name, fault[0]), fault[1])

    @model_validator(mode="after")
    def _one_action_per_tool(self) -> System:
        seen: dict[str, str] = {}
        for name, action in self.actions.items():
            if action.tool in seen:
                text = f"the tool `{action.tool}` serves both `{seen[action.tool]}` and `{name}`"
                raise PlacedError(("actions", name, "tool"), text)
            seen[action.tool] = name
        return self

    @property
    def has_pins(self) -> bool:
        """Whether its tools are defined by an upstream, and accepted as they are; else its file says what they are."""
        return not (
            self.is_leased or self.enforcement is not None or self.kind in (SystemKind.EGRESS, SystemKind.MODEL)
        )

    @property
    def is_leased(self) -> bool:
        """Whether it is reached with a lease."""
        return self.kind in LEASED

    def to_json(self) -> dict[str, Any]:
        """Return the system as plain JSON, in the shape of its file."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def digest(self) -> str:
        """The digest of the canonical JSON."""
        return digest_of(self.to_json())

    def action_of_tool(self, tool: str) -> str | None:
        """Return the name of the action that `tool` performs, if the system knows it."""
        return self._by_tool.get(tool)

    @cached_property
    def _by_tool(self) -> dict[str, str]:
        return {action.tool: name for name, action in self.actions.items()}

    def granted(self, grant: Grant) -> tuple[str, ...]:
        """Return the actions of this system that `grant` names; `*` names each it has, in the file's order."""
        if grant.actions == (EVERY_ACTION,):
            return tuple(self.actions)
        return tuple(name for name in grant.actions if name in self.actions)

    def origin_of(self, action: str) -> Origin:
        """Return who could have written what `action` answers, where its file says nothing of a field."""
        results = self.actions[action].results
        if results is not None and results.origin is not None:
            return results.origin
        return Origin.UNTRUSTED if self.untrusted or self.kind is SystemKind.EGRESS else Origin.INTERNAL

    def sends_out(self, action: str) -> bool:
        """Whether what an action is given leaves the organisation."""
        own = self.actions[action].external
        return self.external if own is None else own

    def labels_of(self, action: str) -> Labels | None:
        """Return the labels of what `action` answers; None of a model's answers, which repeat what it was told."""
        return None if self.kind is SystemKind.MODEL else self._labels[action]

    @cached_property
    def _labels(self) -> dict[str, Labels]:
        return {name: labels_by(self.origin_of(name), action.results) for name, action in self.actions.items()}

    def touched(self, action: str) -> Touched:
        """Return what `action` does to data.

        What its `data_flow` does not name is sent if the system is a model provider, else read or written as the effect
        of the action says.
        """
        return self._touched[action]

    @cached_property
    def _touched(self) -> dict[str, Touched]:
        return {name: self._touch(name) for name in self.actions}

    def _touch(self, name: str) -> Touched:
        action = self.actions[name]
        data, flow = frozenset(self.data_of(name)), action.data_flow or DataFlow()
        rest = data - flow.classes
        is_sent = self.kind is SystemKind.MODEL
        is_read = not is_sent and action.effect is Effect.READ
        return Touched(
            data=data,
            reads=frozenset(flow.read or ()) | (rest if is_read else frozenset()),
            writes=frozenset(flow.write or ()) | (frozenset() if is_read or is_sent else rest),
            sends=frozenset(flow.send or ()) | (rest if is_sent else frozenset()),
        )

    @property
    def classes(self) -> frozenset[str]:
        """Every class of data that the system or an action of it names."""
        own = (each for action in self.actions.values() for each in (action.data or (), action.data_flow))
        named = (each.classes if isinstance(each, DataFlow) else each or () for each in own)
        return frozenset(self.data).union(*named)

    def patterns_of(self, group: str) -> tuple[str, ...]:
        """Return the patterns of objects that `group`, which the system has, stands for."""
        found = (self.groups or {})[group].patterns
        inner = (each for name in sorted(self._groups_in(group)) for each in (self.groups or {})[name].patterns)
        return tuple(dict.fromkeys((*found, *inner)))

    def _groups_in(self, group: str) -> set[str]:
        """Return the groups inside `group`, however deep; itself only if it is among them."""
        known = self.groups or {}
        found: set[str] = set()
        waiting = list(known[group].groups)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += known[name].groups
        return found

    def data_of(self, action: str) -> tuple[str, ...]:
        """Return the data classes that `action` touches."""
        known = self.actions[action]
        own = self.data if known.data is None else known.data
        named = known.data_flow.classes if known.data_flow else frozenset()
        return (*own, *sorted(named.difference(own)))


def _model_actions(data: dict[str, Any], actions: dict[str, Any]) -> dict[str, Any]:
    """Fill in what actions of a model's API need not say: their object, and the currency of `cost`."""
    prices = data.get("prices")
    first = next(iter(prices.values()), None) if isinstance(prices, dict) else None
    asked = first.get("input") if isinstance(first, dict) else None
    unit = str(asked).partition(" ")[2]
    filled: dict[str, Any] = {}
    for name, action in actions.items():
        if not isinstance(action, dict):
            filled[name] = action
            continue
        operation = OPERATIONS.get(str(action.get("tool")))
        given: dict[str, Any] = (
            {"object": MODEL_OBJECT} if operation is None or operation.asks else {"object": "models"}
        )
        if unit and operation is not None and operation.asks:
            given["amounts"] = {"cost": {"value": "cost", "given_in": unit}}
        filled[name] = given | action
    return filled
