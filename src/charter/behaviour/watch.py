"""Watching: acts come in, in the log's order; signals come out; baselines are learned. In memory, bounded.

INVARIANT: one principal's acts touch its own baseline and its group's, and no other's: a flood of one loses nobody
else's signals. What is kept of signals is bounded for each principal by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from charter.behaviour.acceptance import Accepted, not_accepted
from charter.behaviour.act import Act, Answer, Call, Proof
from charter.behaviour.baseline import Baseline
from charter.behaviour.features import of_answer, of_call, of_proof
from charter.behaviour.learning import learn_answer, learn_call, learn_from, learn_proof, learn_surprise
from charter.behaviour.peers import Peers
from charter.behaviour.signal import Contribution, Feature, Signal

MAX_TOLD = 8  # contributions of one signal
_CHANGES = frozenset({"write", "irreversible"})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many bits on an act, or what a session came to, is a signal (docs/benchmarks.md says why so many)."""

    act: float = 4.0  # that changes something, or proves who it is
    milder: float = 4.0  # more for one that only reads, and for an answer: there are many, and they harm less
    young: float = 4.0  # more while a principal did too little to be known by it
    session: float = 24.0
    allowance: float = 4.0  # bits that each act of a session may have without adding to it

    def needed(self, act: Act, own: Baseline) -> float:
        """Return how many bits an act needs to be a signal."""
        is_mild = isinstance(act, Answer) or (isinstance(act, Call) and act.effect not in _CHANGES)
        more = (self.milder if is_mild else 0.0) + (self.young if own.is_young else 0.0)
        return self.act + more + own.weariness(act.at)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What an act came to."""

    act: Act
    score: float
    contributions: tuple[Contribution, ...]  # that nobody accepted, strongest first
    accepted: tuple[Contribution, ...]
    signal: Signal | None
    window: int = 0  # calls in the window that ended with it

    @property
    def unlearned(self) -> frozenset[Feature]:
        """What is not learned of it: what raised a signal."""
        return frozenset(each.feature for each in self.contributions) if self.signal is not None else frozenset()


USUAL = Thresholds()


def weigh(
    act: Act, own: Baseline, peers: Peers, accepted: Collection[Accepted] = (), thresholds: Thresholds = USUAL
) -> Weighed:
    """Return what an act comes to. Of the baseline only its windows move on, and how the session of a call stands."""
    window = own.turn(act.at) if isinstance(act, Call) else 0
    found = _features(act, own, peers)
    left, silent = not_accepted(found, accepted, act.at)
    score = sum(each.bits for each in left)
    signal = _signal(act, score, left) if left and score >= thresholds.needed(act, own) else None
    if signal is None and isinstance(act, Call):
        signal = _with_session(act, own, score, left, thresholds)
    return Weighed(act, score, tuple(left), tuple(silent), signal, window)


def _features(act: Act, own: Baseline, peers: Peers) -> list[Contribution]:
    match act:
        case Call():
            return of_call(act, own, peers)
        case Answer():
            return of_answer(act, own, peers)
        case Proof():
            return of_proof(act, own, peers)


def learn(weighed: Weighed, own: Baseline, groups: Sequence[Baseline] = (), peers: Baseline | None = None) -> None:
    """Let a baseline, and those of its groups, learn an act, but for what raised its signal.

    `peers` are those that tell a young principal's news from what everybody does.
    """
    act, but = weighed.act, weighed.unlearned
    match act:
        case Call():
            lesson = learn_call(own, act, but, group=peers, window=weighed.window)
            for group in groups:
                learn_from(group, lesson, but)
        case Answer():
            for each in (own, *groups):
                learn_answer(each, act, but)
        case Proof():
            for each in (own, *groups):
                learn_proof(each, act, but)
    if weighed.signal is None:
        learn_surprise(own, weighed.score)
    else:
        own.tell(act.at)


def _with_session(
    call: Call, own: Baseline, score: float, found: list[Contribution], thresholds: Thresholds
) -> Signal | None:
    """Add an act to its session (a cumulative sum, Page 1954); return the signal of the session, if it came to one."""
    session = own.session(call.session)
    session.score = max(0.0, session.score + score - thresholds.allowance)
    if not session.score:
        session.why = []
        return None
    fresh = [(each.feature.value, each.key, round(each.bits, 1), each.sentence) for each in found]
    strongest = sorted({each[:2]: each for each in [*session.why, *fresh]}.values(), key=lambda each: -each[2])
    session.why = strongest[:MAX_TOLD]
    if session.score < thresholds.session + own.weariness(call.at):
        return None
    told = tuple(Contribution(Feature(each[0]), each[1], each[2], each[3]) for each in session.why)
    total, session.score, session.why = session.score, 0.0, []
    return _signal(call, total, told, by_session=True)


def _signal(act: Act, score: float, found: Collection[Contribution], *, by_session: bool = False) -> Signal:
    effect, verdict, deed = "", "", "proof"
    if isinstance(act, Call):
        effect, verdict, deed = act.effect, act.verdict_id, act.deed
    elif isinstance(act, Answer):
        verdict, deed = act.verdict_id, act.deed
    told = tuple(found)[:MAX_TOLD]
    return Signal(act.principal, act.at, act.index, verdict, effect, deed, score, told, by_session)


@dataclass(slots=True)
class Crowd:
    """Baselines in memory, by id of principal or name of group: at most `room`, those used least lately put aside."""

    room: int
    baselines: OrderedDict[str, Baseline] = field(default_factory=OrderedDict)
    dirty: dict[str, int] = field(default_factory=dict)  # index of the first entry learned since they were kept

    def get(self, name: str) -> Baseline | None:
        """Return a baseline, if it is in memory."""
        found = self.baselines.get(name)
        if found is not None:
            self.baselines.move_to_end(name)
        return found

    def put(self, name: str, baseline: Baseline) -> None:
        """Have a baseline in memory."""
        self.baselines[name] = baseline
        self.baselines.move_to_end(name)

    def surplus(self) -> Iterable[str]:
        """Return the names of those that there is no room for, least lately used first."""
        over = len(self.baselines) - self.room
        return [name for _, name in zip(range(over), self.baselines, strict=False)]

    def drop(self, name: str) -> None:
        """Forget a baseline, which is kept elsewhere."""
        self.baselines.pop(name, None)
        self.dirty.pop(name, None)


@dataclass(slots=True)
class Ration:
    """How much a group learns of each of its members: so much a day, so that none speaks for all."""

    most: int = 200
    day: int = -1
    used: dict[str, int] = field(default_factory=dict)

    def takes(self, act: Act) -> bool:
        """Return whether the group learns this act too."""
        day = int(act.at.timestamp() // 86_400)
        if day != self.day:
            self.day, self.used = day, {}
        count = self.used.get(act.principal, 0)
        self.used[act.principal] = count + 1
        return count < self.most
