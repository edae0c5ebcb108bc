"""What one principal, or one group of peers, usually does: a few bounded memories, learned act by act.

INVARIANT: memory is bounded, whatever a principal does: every memory here has a fixed room, and no text is longer than
MAX_WORD characters. `to_json` of the fullest baseline stays under MAX_KEPT bytes.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from charter.behaviour.act import Call, folder_of
from charter.behaviour.known import Known, known_from
from charter.behaviour.spread import Spread, spread_from
from charter.behaviour.week import Week, week_from

FORMAT = 1
MAX_KEPT = 512 * 1024
OBJECTS, FOLDERS, PARTIES, NETWORKS, LABELS, PURPOSES, DEEDS = 512, 128, 128, 64, 64, 128, 128
STEPS, STEPS_FROM = 48, 24  # deeds of which what follows is kept, and how many of what follows each
VOLUMES = 64
MEMBERS = 8
WEEK = dt.timedelta(days=7)
A_WEEK = 1.4  # signals of one principal that are no reason to tell less of it
SESSIONS = 16
WINDOW = dt.timedelta(minutes=10)  # in which calls are counted
START = "(start)"  # what comes before a session's first deed
NO_DATA = "(none)"  # met by a call that touches no class of data, so that the first that does stands out
YOUNG = 64  # calls, below which what peers know counts as known


@dataclass(slots=True)
class Session:
    """Where one session stands."""

    last: str = START  # deed
    score: float = 0.0  # what its acts were surprising by, beyond what is usual
    why: list[tuple[str, str, float, str]] = field(default_factory=list)  # the strongest of it, for people


@dataclass(slots=True)
class Denials:
    """How often it is refused, and how it is going right now."""

    calls: float = 0.0
    denied: float = 0.0
    outside: float = 0.0  # of these, what nobody had given it to do
    run: int = 0  # without an allow between them

    def see(self, *, denied: bool, outside: bool) -> bool:
        """Take note of one verdict; return whether it counts: within a run, a loop that retries is one refusal."""
        is_more = denied and self.run > 0
        self.run = self.run + 1 if denied else 0
        if not is_more:
            self.count(denied=denied, outside=outside)
        return not is_more

    def count(self, *, denied: bool, outside: bool) -> None:
        """Let one verdict count."""
        self.calls += 1
        self.denied += denied
        self.outside += outside


@dataclass(slots=True)
class Baseline:
    """The memories."""

    next: int = 0  # index of the first entry that it has not learned from
    since: dt.datetime | None = None  # its first act
    calls: int = 0
    deeds: Known = field(default_factory=lambda: Known(DEEDS))
    steps: OrderedDict[str, Known] = field(default_factory=OrderedDict)  # what follows a deed
    objects: Known = field(default_factory=lambda: Known(OBJECTS))
    folders: Known = field(default_factory=lambda: Known(FOLDERS))
    parties: Known = field(default_factory=lambda: Known(PARTIES))
    networks: Known = field(default_factory=lambda: Known(NETWORKS))
    labels: Known = field(default_factory=lambda: Known(LABELS))
    purposes: Known = field(default_factory=lambda: Known(PURPOSES))
    week: Week = field(default_factory=Week)
    denials: Denials = field(default_factory=Denials)
    pace: Spread = field(default_factory=Spread)  # calls in a window that has any
    window: int = 0  # the one that is under way: seconds since 1970 over those of a window
    in_window: int = 0
    is_odd: bool = False  # the window that is under way raised a signal: it is not learned
    volumes: OrderedDict[str, Spread] = field(default_factory=OrderedDict)  # bytes of an answer, by deed
    spend: Spread = field(default_factory=Spread)  # a call's cost, in thousandths
    surprise: Spread = field(default_factory=Spread)  # scores of its acts, plus one
    sessions: OrderedDict[str, Session] = field(default_factory=OrderedDict)
    told: float = 0.0  # signals, those of a week before counting half
    told_at: dt.datetime | None = None
    members: Known = field(default_factory=lambda: Known(MEMBERS))  # of a group: whom it learned from

    @property
    def is_young(self) -> bool:
        """Whether it did too little to be known by that alone."""
        return self.deeds.total < YOUNG

    def weariness(self, at: dt.datetime) -> float:
        """Return how many bits more it takes to be told of it again: one for each doubling of signals lately.

        So what is told of one principal stays near A_WEEK signals, whatever it is like; nobody is silenced by it.
        """
        weeks = max(0.0, (at - self.told_at).total_seconds() / WEEK.total_seconds()) if self.told_at else 0.0
        return math.log2(1 + self.told * 0.5**weeks / A_WEEK)

    def tell(self, at: dt.datetime) -> None:
        """Take note that a signal was raised."""
        weeks = max(0.0, (at - self.told_at).total_seconds() / WEEK.total_seconds()) if self.told_at else 0.0
        self.told, self.told_at = self.told * 0.5**weeks + 1, at

    def session(self, name: str) -> Session:
        """Return where a session stands; the one that was quiet for longest is forgotten where there are too many."""
        found = self.sessions.get(name)
        if found is None:
            found = self.sessions[name] = Session()
            if len(self.sessions) > SESSIONS:
                self.sessions.popitem(last=False)
        self.sessions.move_to_end(name)
        return found

    def turn(self, at: dt.datetime) -> int:
        """Let time pass: a window that is over is learned; return how many calls it had, if one ended now."""
        window = int(at.timestamp() // WINDOW.total_seconds())
        if window <= self.window:
            return 0
        ended = 0 if self.is_odd else self.in_window
        if ended:
            self.pace.see(ended)
        self.window, self.in_window, self.is_odd = window, 0, False
        return ended

    def step_from(self, deed: str) -> Known:
        """Return what follows a deed."""
        found = self.steps.get(deed)
        if found is None:
            found = self.steps[deed] = Known(STEPS_FROM)
            if len(self.steps) > STEPS:
                self.steps.popitem(last=False)
        self.steps.move_to_end(deed)
        return found

    def volume_of(self, deed: str) -> Spread:
        """Return how much a deed's answers hold."""
        found = self.volumes.get(deed)
        if found is None:
            found = self.volumes[deed] = Spread()
            if len(self.volumes) > VOLUMES:
                self.volumes.popitem(last=False)
        self.volumes.move_to_end(deed)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what `baseline_from` reads."""
        return {
            "v": FORMAT,
            "next": self.next,
            "since": self.since.isoformat() if self.since else None,
            "calls": self.calls,
            "deeds": self.deeds.to_json(),
            "steps": [[deed, known.to_json()] for deed, known in self.steps.items()],
            "objects": self.objects.to_json(),
            "folders": self.folders.to_json(),
            "parties": self.parties.to_json(),
            "networks": self.networks.to_json(),
            "labels": self.labels.to_json(),
            "purposes": self.purposes.to_json(),
            "week": self.week.to_json(),
            "denials": [self.denials.calls, self.denials.denied, self.denials.outside, self.denials.run],
            "pace": self.pace.to_json(),
            "window": [self.window, self.in_window, self.is_odd],
            "volumes": [[deed, spread.to_json()] for deed, spread in self.volumes.items()],
            "spend": self.spend.to_json(),
            "surprise": self.surprise.to_json(),
            "told": [self.told, self.told_at.isoformat() if self.told_at else None],
            "members": self.members.to_json(),
            "sessions": [[name, each.last, each.score, each.why] for name, each in self.sessions.items()],
        }


def baseline_from(told: Any) -> Baseline:  # noqa: ANN401 - JSON
    """Return what `to_json` wrote.

    Raises:
        ValueError: it is of another format; a baseline is learned again then.
    """
    try:
        if told["v"] != FORMAT:
            raise ValueError("a baseline of another format")
        return _read(told)
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError("this is no baseline") from err


def _read(told: Any) -> Baseline:  # noqa: ANN401
    denials = told["denials"]
    return Baseline(
        next=int(told["next"]),
        since=dt.datetime.fromisoformat(told["since"]) if told["since"] else None,
        calls=int(told["calls"]),
        deeds=known_from(told["deeds"], DEEDS),
        steps=OrderedDict((str(deed), known_from(known, STEPS_FROM)) for deed, known in told["steps"]),
        objects=known_from(told["objects"], OBJECTS),
        folders=known_from(told["folders"], FOLDERS),
        parties=known_from(told["parties"], PARTIES),
        networks=known_from(told["networks"], NETWORKS),
        labels=known_from(told["labels"], LABELS),
        purposes=known_from(told["purposes"], PURPOSES),
        week=week_from(told["week"]),
        denials=Denials(float(denials[0]), float(denials[1]), float(denials[2]), int(denials[3])),
        pace=spread_from(told["pace"]),
        window=int(told["window"][0]),
        in_window=int(told["window"][1]),
        is_odd=bool(told["window"][2]),
        volumes=OrderedDict((str(deed), spread_from(spread)) for deed, spread in told["volumes"]),
        spend=spread_from(told["spend"]),
        surprise=spread_from(told["surprise"]),
        told=float(told["told"][0]),
        told_at=dt.datetime.fromisoformat(told["told"][1]) if told["told"][1] else None,
        members=known_from(told["members"], MEMBERS),
        sessions=OrderedDict(
            (str(name), Session(str(last), float(score), [tuple(each) for each in why]))
            for name, last, score, why in told["sessions"]
        ),
    )


def parties_of(call: Call) -> Iterable[tuple[str, str]]:
    """Yield whom a call has to do with, beside its principal: (what they are to it, their name)."""
    yield "system", call.system
    if call.initiator:
        yield "initiator", call.initiator
    if call.point:
        yield "enforcement point", call.point


def place_of(call: Call) -> str:
    """Return the folder of a call's object, told with its system."""
    return f"{call.system}: {folder_of(call.object)}"


def thing_of(call: Call) -> str:
    """Return a call's object, told with its system."""
    return f"{call.system}: {call.object}"
