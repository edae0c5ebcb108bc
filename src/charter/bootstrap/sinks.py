"""Where evidence is sent to: sinks added and removed, how far each came, and the tasks that deliver.

The log is the queue: a sink that is slow or dead costs a cursor that stands, and nothing else. Each sink has a task of
its own, which reads a bounded batch behind its cursor, has it sent, and only then moves the cursor.

INVARIANT: no call waits for a sink, and no sink for another.
INVARIANT: an entry is never passed over: what a sink refuses is sent again, later and later, and the backlog shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charter.adapters.sinks import Sender, Senders
from charter.config import variable
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, CharterError, ConflictError, ErrorCode
from charter.core.values import parse_name
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.log import Stored
from charter.evidence.sink import Sink, SinkKind, form_for, parse_target
from charter.registry.problem import suggestion

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

MAX_SINKS = 32
BATCH, FILE_BATCH = 200, 5_000  # entries
BATCH_BYTES, FILE_BYTES = 256 * 1024, 16 * 1024 * 1024  # of entries; what is sent is two to three times that
IDLE_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LINGER_SECONDS = 10.0  # how long a file waits to grow
LATE_SECONDS = 300.0  # a sink whose oldest entry has waited so long is behind
MAX_ERROR = 300
_log = logging.getLogger("charter.sinks")


@dataclass(slots=True)
class Health:
    """How a sink does, since this process began."""

    sent: int = 0
    failures: int = 0  # since it last took something
    batch: int = BATCH  # entries that are sent at once: halved by each failure, so that the last one tells which entry
    error: str = ""
    failed_at: dt.datetime | None = None


@dataclass(slots=True)
class SinkRoom:
    """The sinks of a house that serves."""

    house: House
    senders: Senders
    sinks: dict[str, Sink] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    linger: float = LINGER_SECONDS

    @classmethod
    def of(cls, house: House) -> SinkRoom:
        """Return the sinks as the database has them."""
        room = cls(house, Senders(house.clock, variable))
        room.sinks = {each.name: each for each in house.database.read(lambda tx: tx.sinks.all())}
        return room

    async def keep(self, stop: asyncio.Event) -> None:
        """Deliver to every sink there is, until `stop`."""
        tasks: dict[str, tuple[Sink, asyncio.Task[None]]] = {}
        try:
            while not stop.is_set():
                for name, sink in tuple(self.sinks.items()):
                    if name not in tasks or tasks[name][1].done() or tasks[name][0] != sink:
                        _end(tasks, name)
                        tasks[name] = (sink, asyncio.create_task(self._deliver(sink)))
                for name in tasks.keys() - self.sinks.keys():
                    _end(tasks, name)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), IDLE_SECONDS)
        finally:
            running = [task for _, task in tasks.values()]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _deliver(self, sink: Sink) -> None:
        sender, pause = self.senders.of(sink), FIRST_PAUSE
        while True:
            try:
                moved = await self.step(sink, sender)
            except CharterError as err:
                self._failed(sink, err.detail)
            except Exception as err:  # the edge of one sink: another must not end with it  # noqa: BLE001
                self._failed(sink, type(err).__name__)
                _log.exception("the sink `%s` failed", sink.name)
            else:
                pause = FIRST_PAUSE
                if not moved:
                    await asyncio.sleep(IDLE_SECONDS)
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def step(self, sink: Sink, sender: Sender | None = None) -> int:
        """Deliver one batch; return how many entries the sink took.

        Raises:
            CharterError: it did not take them, or the store failed; the cursor stands.
        """
        batch = await asyncio.to_thread(self._batch, sink)
        if not batch:
            return 0
        await (sender or self.senders.of(sink)).send(batch)
        to, node, at = batch[-1].index + 1, batch[0].node, rfc3339(self.house.clock.now())
        await self.house.database.awrite(lambda tx: tx.sinks.move(sink.name, node, to, at))
        health = self.health.setdefault(sink.name, Health())
        if health.failures:
            _log.info("the sink `%s` takes entries again", sink.name)
        health.sent, health.failures, health.error = health.sent + len(batch), 0, ""
        health.batch = min(BATCH, 2 * health.batch)
        return len(batch)

    def _batch(self, sink: Sink) -> Sequence[Stored]:
        database, is_file = self.house.database, sink.target.kind is SinkKind.FILE
        most = FILE_BATCH if is_file else self.health.setdefault(sink.name, Health()).batch

        def read(tx: HouseTransaction) -> Sequence[Stored]:
            from charter.bootstrap.evidence import log_of

            start = tx.sinks.cursors(database.node).get(sink.name, 0)
            return log_of(self.house, tx).entries(start - 1, most)

        found = list(database.read(read))
        if is_file and found and len(found) < FILE_BATCH:
            waited = self.house.clock.now() - parse_rfc3339(found[0].time)
            if waited.total_seconds() < self.linger:
                return ()
        size = 0
        for count, each in enumerate(found):
            size += len(each.data)
            if size > (FILE_BYTES if is_file else BATCH_BYTES) and count:
                return found[:count]
        return found

    def _failed(self, sink: Sink, detail: str) -> None:
        health = self.health.setdefault(sink.name, Health())
        health.failures += 1
        health.batch = max(1, health.batch // 2)
        health.failed_at = self.house.clock.now()
        if health.error != detail[:MAX_ERROR]:
            health.error = detail[:MAX_ERROR]
            _log.warning("the sink `%s` takes nothing: %s", sink.name, health.error)


def _end(tasks: dict[str, tuple[Sink, asyncio.Task[None]]], name: str) -> None:
    _, task = tasks.pop(name, (None, None))
    if task is not None:
        task.cancel()


# --- what can be asked ------------------------------------------------------------------------------------------------


def listing(house: House) -> list[dict[str, Any]]:
    """Return every sink, with how far it came, what waits for it and how it does."""

    def read(tx: HouseTransaction) -> list[dict[str, Any]]:
        from charter.bootstrap.evidence import log_of

        log, cursors = log_of(house, tx), tx.sinks.cursors(house.database.node)
        size = parse_checkpoint(log.checkpoint()).size
        shown = []
        for sink in tx.sinks.all():
            start = cursors.get(sink.name, 0)
            waiting = log.entries(start - 1, 1)
            oldest = waiting[0].time if waiting else None
            row = sink.to_json() | {"next": start, "backlog": size - start, "oldest": oldest}
            shown.append(row | {"warnings": _warnings(sink)})
        return shown

    return [each | _told_health(house, each) for each in house.database.read(read)]


def _told_health(house: House, shown: dict[str, Any]) -> dict[str, Any]:
    health = house.sinks.health.get(shown["name"], Health())
    waited = 0.0
    if shown["oldest"] is not None:
        waited = max(0.0, (house.clock.now() - parse_rfc3339(shown["oldest"])).total_seconds())
    return {
        "sent": health.sent,
        "failures": health.failures,
        "error": health.error,
        "failed_at": rfc3339(health.failed_at) if health.failed_at else None,
        "waited_seconds": int(waited),
        "state": "failing" if health.failures else "behind" if waited > LATE_SECONDS else "ok",
    }


@dataclass(frozen=True, slots=True)
class NewSink:
    """A sink as a person asks for it."""

    name: str
    to: str
    form: str | None = None
    secret_env: str | None = None
    from_now: bool = False  # what stands in the log already is not sent


async def add(house: House, wanted: NewSink, *, actor: str) -> dict[str, Any]:
    """Send evidence to a sink from now on.

    Raises:
        MalformedError: its name, address, form or variable is none.
        ConflictError: there is one of that name, or there are too many.
    """
    target = parse_target(wanted.to)
    if wanted.secret_env is not None:
        variable(wanted.secret_env)  # refuses Charter's own
    sink = Sink(
        parse_name(wanted.name, "sink's name"),
        target,
        form_for(target.kind, wanted.form),
        wanted.secret_env,
        actor,
        house.clock.now(),
    )

    def work(tx: HouseTransaction) -> None:
        kept = tx.sinks.all()
        if any(each.name == sink.name for each in kept):
            raise ConflictError(ErrorCode.EXISTS, f"there is a sink `{sink.name}`", help="remove it first")
        if len(kept) >= MAX_SINKS:
            raise ConflictError(ErrorCode.TOO_MANY, f"there are {MAX_SINKS} sinks already", help="remove one")
        tx.sinks.add(sink)
        if wanted.from_now:
            node, index = tx.place
            tx.sinks.move(sink.name, node, index, rfc3339(tx.at))
        body = {key: value for key, value in sink.to_json().items() if key != "added_at"}
        tx.record(Draft(EntryKind.SINK_CHANGED, actor, None, body | {"change": "added", "from_now": wanted.from_now}))
        tx.after_commit(lambda: house.sinks.sinks.__setitem__(sink.name, sink))

    await house.database.awrite(work)
    return sink.to_json() | {"warnings": _warnings(sink)}


def _warnings(sink: Sink) -> list[str]:
    """Return what whoever added a sink may not have meant."""
    found = []
    if sink.target.is_clear:
        found.append("goes in the clear: whoever is on the way can read and change it; with syslog+tls:// nobody can")
    if sink.secret_env is not None and not variable(sink.secret_env):
        found.append(f"`{sink.secret_env}` is not set here; nothing is sent until it is, where charter up runs")
    return found


async def remove(house: House, name: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Send a sink nothing more, and forget how far it came.

    Raises:
        AbsentError: there is none of that name.
    """

    def work(tx: HouseTransaction) -> Sink:
        kept = {each.name: each for each in tx.sinks.all()}
        sink = kept.get(name)
        if sink is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_SINK, f"there is no sink {name[:63]!a}", help=suggestion(name[:63], kept)
            )
        tx.sinks.remove(name)
        body = {"name": name, "to": sink.target.address, "change": "removed", "reason": reason}
        tx.record(Draft(EntryKind.SINK_CHANGED, actor, None, body))
        tx.after_commit(lambda: _forget(house, name))
        return sink

    return (await house.database.awrite(work)).to_json()


def _forget(house: House, name: str) -> None:
    house.sinks.sinks.pop(name, None)
    house.sinks.health.pop(name, None)
