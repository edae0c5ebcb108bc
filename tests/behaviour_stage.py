"""Acts for tests of behaviour: a principal that does the same few things each working day, and who is unlike it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from charter.behaviour.acceptance import Accepted
from charter.behaviour.act import Act, Answer, Call
from charter.behaviour.baseline import Baseline
from charter.behaviour.peers import Peers
from charter.behaviour.signal import Feature
from charter.behaviour.watch import USUAL, Thresholds, Weighed, learn, weigh

MONDAY = dt.datetime(2026, 11, 2, 9, tzinfo=dt.UTC)
_index = count(1)


def a_call(at: dt.datetime = MONDAY, **more: object) -> Call:
    """Return a call of the refund agent's kind; `more` is what is otherwise."""
    usual = Call(
        index=next(_index),
        at=at,
        principal="prn_1",
        session="ses_1",
        system="payments",
        action="charge.read",
        effect="read",
        object="charge/ch_1",
        verdict="allow",
        layer="charter",
        purpose="",
        initiator="",
        point="",
        data=(),
        network="10.0.0.0/24",
        verdict_id="vrd_1",
    )
    return replace(usual, **more)  # type: ignore[arg-type]


@dataclass
class Watched:
    """One principal that is watched, alone or with its peers."""

    own: Baseline = field(default_factory=Baseline)
    peers: Peers = field(default_factory=Peers)
    accepted: tuple[Accepted, ...] = ()
    thresholds: Thresholds = USUAL

    def see(self, act: Act) -> Weighed:
        """Weigh an act, and learn it."""
        weighed = weigh(act, self.own, self.peers, self.accepted, self.thresholds)
        learn(weighed, self.own, (), self.peers.baseline)
        return weighed

    def sees(self, acts: Iterable[Act]) -> list[Weighed]:
        """Weigh acts in their order."""
        return [self.see(each) for each in acts]


def working_days(days: int, *, start: dt.datetime = MONDAY, sessions: int = 6, **more: object) -> Iterator[Act]:
    """Yield what the refund agent does: in each session it reads a charge, refunds it, and reads it again."""
    for day in range(days):
        morning = start + dt.timedelta(days=day)
        if morning.weekday() >= 5:
            continue
        for number in range(sessions):
            at = morning + dt.timedelta(minutes=67 * number)
            session = f"ses_{day}_{number}"
            thing = f"charge/ch_{day * sessions + number}"
            for step, action in enumerate(("charge.read", "refund.create", "charge.read")):
                effect = "read" if action == "charge.read" else "irreversible"
                moment = at + dt.timedelta(seconds=step)
                call = a_call(moment, session=session, action=action, effect=effect, object=thing)
                yield replace(call, **more)  # type: ignore[arg-type]
                yield Answer(next(_index), moment, call.principal, call.deed, 900 + 7 * number, None, "vrd_1")


def features(weighed: Weighed) -> set[Feature]:
    """Return what a weighed act is unusual in."""
    return {each.feature for each in weighed.contributions}
