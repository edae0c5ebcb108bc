"""A session, read back from the log: its steps, what it has read, and where the values of each call came from.

Pure: entries go in as JSON. A session's graph has a node for each step, and for what its values came from; an edge says
what followed what, which answer of a model proposed which call, and what came from outside into which argument.
Evidence knows of a value that strangers named it, or nobody did; by which of several results, it does not: an edge is
drawn from each that can be it, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from charter.evidence.entry import EntryKind

Json = dict[str, Any]
Entry = Mapping[str, Any]
PERSON, NOWHERE = "person", "nowhere"
_FROM_STRANGERS = ("untrusted", "carried", "pointed")


@dataclass(frozen=True, slots=True)
class SessionStep:
    """One call of a session."""

    verdict_id: str
    index: int
    at: str
    number: int | None
    verdict: str
    system: str
    tool: str
    action: str
    object: str
    effect: str
    why: str
    parents: tuple[Mapping[str, Any], ...] = ()
    flow: Mapping[str, Any] = field(default_factory=dict)  # what the session had read, and where values came from
    model: str = ""
    approval: str | None = None
    outcome: str | None = None
    result: Mapping[str, Any] | None = None  # labels of what came back
    added: Mapping[str, Any] | None = None  # labels that the session had not before

    @property
    def name(self) -> str:
        """What was called."""
        return f"{self.system}/{self.action or self.tool}"

    @property
    def brings_strangers_content(self) -> bool:
        """Whether what strangers wrote came in with its result."""
        came = self.verdict == "allow" and (self.result or {}).get("origin") == "untrusted"
        return came or bool((self.added or {}).get("exposed"))

    def to_json(self) -> Json:
        """Return it as answers tell it."""
        return {
            "verdict_id": self.verdict_id,
            "index": self.index,
            "at": self.at,
            "step": self.number,
            "verdict": self.verdict,
            "system": self.system,
            "tool": self.tool,
            "action": self.action or None,
            "object": self.object,
            "effect": self.effect or None,
            "why": self.why,
            "parents": [dict(each) for each in self.parents],
            "flow": dict(self.flow),
            "model": self.model or None,
            "approval": self.approval,
            "outcome": self.outcome,
            "result": dict(self.result) if self.result is not None else None,
            "added": dict(self.added) if self.added is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Session:
    """What one principal did in one session, in order."""

    id: str
    principal: str
    principal_id: str
    run: str | None
    delegation: str | None
    initiator: str | None
    steps: tuple[SessionStep, ...]

    @property
    def exposed(self) -> bool:
        """Whether it has read what strangers wrote."""
        return any(each.flow.get("exposed") or each.brings_strangers_content for each in self.steps)

    @property
    def data(self) -> tuple[str, ...]:
        """The classes of data that it has read."""
        found: set[str] = set()
        for each in self.steps:
            came = (each.result or {}).get("data") if each.verdict == "allow" else ()
            for names in (each.flow.get("data"), (each.added or {}).get("data"), came):
                found.update(map(str, names or ()))
        return tuple(sorted(found))

    def summary(self) -> Json:
        """Return it in a line of a list."""
        words = [each.verdict for each in self.steps]
        return {
            "session": self.id,
            "principal": self.principal,
            "run": self.run,
            "delegation": self.delegation,
            "initiator": self.initiator,
            "first": self.steps[0].at if self.steps else None,
            "last": self.steps[-1].at if self.steps else None,
            "steps": len(self.steps),
            "verdicts": {word: words.count(word) for word in ("allow", "deny", "escalate")},
            "systems": sorted({each.system for each in self.steps}),
            "exposed": self.exposed,
            "data": list(self.data),
        }


def session_of(entry: Entry) -> str | None:
    """Return the session that a verdict's entry belongs to; None if it is from before that was told."""
    found = (entry["body"].get("sequence") or {}).get("session")
    return found if isinstance(found, str) else None


def read_session(session_id: str, entries: Iterable[Entry]) -> Session | None:
    """Return a session from entries among which are its verdicts, their outcomes and changes of its context."""
    found = sorted(entries, key=lambda each: int(each["index"]))
    own = [each for each in found if each["kind"] == EntryKind.VERDICT.value and session_of(each) == session_id]
    if not own:
        return None
    named = {each["body"]["verdict_id"] for each in own}
    outcomes = {b["verdict_id"]: b for b in _bodies(found, EntryKind.OUTCOME) if b.get("verdict_id") in named}
    added: dict[str, Mapping[str, Any]] = {}
    for body in _bodies(found, EntryKind.CONTEXT_CHANGED):
        if body.get("session") == session_id and body.get("added") and body.get("verdict_id") in named:
            added[str(body["verdict_id"])] = body["added"]
    first, chain = own[0], own[0]["body"].get("chain") or {}
    return Session(
        id=session_id,
        principal=str(first["body"]["principal"]),
        principal_id=str(first["principal"]),
        run=(first["body"].get("sequence") or {}).get("run"),
        delegation=chain.get("delegation"),
        initiator=chain.get("initiator"),
        steps=tuple(_step(each, outcomes, added) for each in own),
    )


def read_sessions(entries: Sequence[Entry]) -> list[Session]:
    """Return the sessions of the verdicts among entries, the one that was used last first."""
    ids = dict.fromkeys(
        found
        for each in sorted(entries, key=lambda each: -int(each["index"]))
        if each["kind"] == EntryKind.VERDICT.value and (found := session_of(each)) is not None
    )
    by: dict[str, list[Entry]] = {each: [] for each in ids}
    of: dict[str, str] = {}
    for each in entries:
        if each["kind"] == EntryKind.VERDICT.value and (found := session_of(each)) is not None:
            by[found].append(each)
            of[str(each["body"]["verdict_id"])] = found
    for each in entries:
        own = of.get(str(each["body"].get("verdict_id")))
        if each["kind"] != EntryKind.VERDICT.value and own is not None:
            by[own].append(each)
    return [read for each in ids if (read := read_session(each, by[each])) is not None]


def _bodies(entries: Iterable[Entry], kind: EntryKind) -> list[Mapping[str, Any]]:
    return [each["body"] for each in entries if each["kind"] == kind.value]


def _step(
    entry: Entry, outcomes: Mapping[str, Mapping[str, Any]], added: Mapping[str, Mapping[str, Any]]
) -> SessionStep:
    body = entry["body"]
    which, sequence = str(body["verdict_id"]), body.get("sequence") or {}
    outcome, model = outcomes.get(which), body.get("model") or {}
    return SessionStep(
        verdict_id=which,
        index=int(entry["index"]),
        at=str(entry["time"]),
        number=sequence.get("step"),
        verdict=str(body["verdict"]),
        system=str(body["system"]),
        tool=str(body["tool"]),
        action=str(body.get("action") or ""),
        object=str(body.get("object") or ""),
        effect=str(body.get("effect") or ""),
        why=str((body.get("reasons") or [{}])[0].get("text", "")),
        parents=tuple(sequence.get("parents") or ()),
        flow=(body.get("asked") or {}).get("flow") or {},
        model=str(model.get("name") or ""),
        approval=body.get("approval"),
        outcome=outcome.get("outcome") if outcome is not None else None,
        result=outcome.get("labels") if outcome is not None else None,
        added=added.get(which),
    )


# --- as a graph -------------------------------------------------------------------------------------------------------


class EdgeKind(StrEnum):
    """What an edge says."""

    NEXT = "next"
    PROPOSED = "proposed"  # an answer of a model proposed the call
    LENT = "lent"  # what is done meanwhile by whoever lent the authority
    ASKED = "asked"  # a person's request stands at the beginning
    VALUES = "values"  # values of the call came from there


@dataclass(frozen=True, slots=True)
class Node:
    """A step, or where something came from."""

    id: str
    kind: str  # call | person | nowhere | outside
    label: str
    note: str = ""
    step: SessionStep | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """What leads from one node to another."""

    source: str
    target: str
    kind: EdgeKind
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """A session as nodes and edges, in order."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def to_json(self) -> Json:
        """Return it as answers tell it."""
        nodes = [{"id": n.id, "kind": n.kind, "label": n.label, "note": n.note} for n in self.nodes]
        edges = [{"from": e.source, "to": e.target, "kind": e.kind.value, "label": e.label} for e in self.edges]
        return {"title": self.title, "nodes": nodes, "edges": edges}


def graph_of(session: Session) -> Graph:
    """Return a session as a graph."""
    steps = {each.verdict_id: each for each in session.steps}
    outside: dict[str, Node] = {}
    edges: list[Edge] = []
    if any(each.flow.get("known") for each in session.steps):
        outside[PERSON] = Node(PERSON, PERSON, "what the person asked for")
        edges.append(Edge(PERSON, session.steps[0].verdict_id, EdgeKind.ASKED))
    before: SessionStep | None = None
    for step in session.steps:
        if before is not None:
            edges.append(Edge(before.verdict_id, step.verdict_id, EdgeKind.NEXT))
        edges += [_came_of(parent, step, steps, outside) for parent in step.parents]
        edges += _values(session, step, outside)
        before = step
    nodes = [*outside.values(), *(Node(s.verdict_id, "call", s.name, _note(s), s) for s in session.steps)]
    return Graph(f"Session {session.id} of {session.principal}", tuple(nodes), tuple(edges))


def _came_of(
    parent: Mapping[str, Any], step: SessionStep, steps: Mapping[str, SessionStep], outside: dict[str, Node]
) -> Edge:
    which = str(parent.get("verdict") or parent.get("session"))
    kind = EdgeKind.PROPOSED if parent.get("known_by") == "proposal" else EdgeKind.LENT
    if which not in steps:
        what = "a call to a model" if kind is EdgeKind.PROPOSED else "the lender's doing"
        outside.setdefault(which, Node(which, "outside", what, which))
    return Edge(which, step.verdict_id, kind, "proposed" if kind is EdgeKind.PROPOSED else "lent")


def _values(session: Session, step: SessionStep, outside: dict[str, Node]) -> list[Edge]:
    """Return edges from where the doubtful values of a call came."""
    edges = []
    strangers = sorted({str(name) for kind in _FROM_STRANGERS for name in step.flow.get(kind) or ()})
    if strangers:
        came = [each for each in session.steps if each.index < step.index and each.brings_strangers_content]
        maybe = "" if len(came) == 1 else " (one of these)"
        edges += [
            Edge(each.verdict_id, step.verdict_id, EdgeKind.VALUES, f"{', '.join(strangers)}{maybe}") for each in came
        ]
        if not came:
            outside.setdefault("strangers", Node("strangers", "outside", "content from strangers, read before"))
            edges.append(Edge("strangers", step.verdict_id, EdgeKind.VALUES, ", ".join(strangers)))
    unseen = sorted(map(str, step.flow.get("unseen") or ()))
    if unseen:
        outside.setdefault(NOWHERE, Node(NOWHERE, NOWHERE, "what neither the request nor any answer named"))
        edges.append(Edge(NOWHERE, step.verdict_id, EdgeKind.VALUES, ", ".join(unseen)))
    return edges


def _note(step: SessionStep) -> str:
    said = [step.object if step.object not in ("", "*") else "", step.model]
    if step.added and step.added.get("exposed"):
        said.append("+ strangers' content")
    said += [f"+ {name}" for name in (step.added or {}).get("data") or ()]
    return " · ".join(each for each in said if each)
