"""Group commit: runs works in order, many to one transaction, and appends the evidence they recorded.

INVARIANT: an answer is given after its work is committed and its `after_commit` steps have run.
INVARIANT: a work that raises changes nothing, and the others of its group are unharmed: the group is rolled back and
run again with a savepoint around each work.
INVARIANT: a work that has `after_commit` steps is the last of its group, so the next work finds memory in step with
what is durable; but for steps `apart`. Without this, two calls in one group could spend one approval.
INVARIANT: whether a commit that broke off went through is settled from the log's own head before anything else is
written; if it did, its steps run then.
INVARIANT: once the log or memory cannot be trusted, nothing more is written by this process.
INVARIANT: where this node must be alone, it holds the whole database's lock; if it lost the lock and another node wrote
meanwhile, what it knows is out of date, and nothing more is written until it starts anew.

One thread calls `run`; there are no locks here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from charter.adapters import tables as t
from charter.adapters.engine import store_failure, work_failure
from charter.adapters.log_writer import Head, LogWriter
from charter.adapters.transaction import Frame, SqlTransaction
from charter.core.clock import Clock
from charter.core.errors import ConflictError, ErrorCode, IntegrityError, UnavailableError
from charter.evidence.entry import Entry

Tx = TypeVar("Tx", bound=SqlTransaction)
_PAUSES = (0.02, 0.1, 0.3, 0.0)  # seconds
_WHOLE = "the whole database"  # the name of its lock
_log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What became of one work: its value, or the error it ends with."""

    value: Any = None
    error: BaseException | None = None


class _WorkRaisedError(Exception):
    """A work of the group raised: run the group again, each work by itself."""


class Sequencer(Generic[Tx]):
    """Runs works against one node's log and its database."""

    def __init__(
        self,
        engine: sa.Engine,
        log: LogWriter,
        clock: Clock,
        make_transaction: Callable[[Frame], Tx],
        *,
        alone: bool = False,
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._make = make_transaction
        self._alone = alone
        self._others: frozenset[tuple[str, int]] | None = None  # the other nodes' logs: who, and how long
        self._connection: sa.Connection | None = None
        self._head: Head | None = None
        self._doubt: tuple[Head, list[Callable[[], None]]] | None = None  # a commit that broke off
        self._outage: tuple[str, int] | None = None  # why the database refuses, and how many works it has
        self.halted: str | None = None  # why nothing more is written
        self.listeners: list[Callable[[], None]] = []  # told, on the writer's thread, whenever the feed has grown
        self.readers: list[Callable[[Sequence[Entry]], None]] = []  # given, on the writer's thread, what is durable

    def open(self) -> Head:
        """Connect, check the log, and return its head.

        Raises:
            IntegrityError: the log cannot be trusted.
            ConflictError: another process writes to it.
        """
        self._connected()
        return self.head

    @property
    def head(self) -> Head:
        """The head of the log, as last read or written."""
        assert self._head is not None  # noqa: S101 - `open` has read it
        return self._head

    def run(self, works: Sequence[Callable[[Tx], Any]]) -> list[Answer]:
        """Carry out the first of `works`, at least one; return as many answers."""
        try:
            return self._told(self._run(works))
        except IntegrityError as err:
            self.halt(err.detail)
            return [Answer(error=self.refusal())] * len(works)
        except exc.SQLAlchemyError as err:
            self._let_go()
            failure = store_failure(err)
            self._tell_of(failure, len(works))
            return [Answer(error=failure)] * len(works)
        except ConflictError as err:
            return [Answer(error=err)] * len(works)
        except Exception as err:  # noqa: BLE001 - the writer's edge: its thread must not die and leave callers waiting
            self.halted = f"an unexpected {type(err).__name__}"
            _log.critical("the writer failed", exc_info=err)
            return [Answer(error=self.refusal())] * len(works)

    def halt(self, why: str) -> None:
        """Write nothing more: the log or memory cannot be trusted. Any thread may say so; the first reason stays."""
        if self.halted is None:
            self.halted = why
            _log.critical("evidence: %s", why)

    def refusal(self) -> IntegrityError:
        """Return the error of every work after the node has stopped writing."""
        return IntegrityError(
            ErrorCode.EVIDENCE_BROKEN,
            f"this node stopped writing: {self.halted}",
            help="see docs/operating.md, When something is wrong",
        )

    def _told(self, answers: list[Answer]) -> list[Answer]:
        """Return `answers`; log that the database can be used, if it could not be."""
        if self._outage is not None:
            _log.warning("database: usable again; %d works were refused meanwhile", self._outage[1])
            self._outage = None
        return answers

    def _tell_of(self, failure: UnavailableError, refused: int) -> None:
        """Log a failure of the database: once, not for each work that it refuses."""
        before, count = self._outage or ("", 0)
        if failure.detail != before:
            _log.error("database: %s → %s", failure.detail, failure.help)
        self._outage = (failure.detail, count + refused)

    def close(self) -> None:
        """Let the database go."""
        self._let_go()

    def _run(self, works: Sequence[Callable[[Tx], Any]]) -> list[Answer]:
        if self.halted is not None:
            raise self.refusal()
        connection = self._connected()
        try:
            frame, answers = self._attempt(connection, works, self._run_plain)
        except _WorkRaisedError as err:
            if len(works) == 1:
                return [_failed(err.__cause__)]
            frame, answers = self._attempt(connection, works, self._run_apart)
        self._apply(frame.steps)
        if frame.changes:
            self._apply(tuple(self.listeners))
        for read in self.readers:
            read(frame.entries)
        return answers

    def _attempt(
        self,
        connection: sa.Connection,
        works: Sequence[Callable[[Tx], Any]],
        run: Callable[[Frame, Sequence[Callable[[Tx], Any]]], list[Answer]],
    ) -> tuple[Frame, list[Answer]]:
        """Run works in one transaction and commit it."""
        transaction = connection.begin()
        frame = Frame(connection, self._clock.now(), self._log.node, self.head.size, payloads=self._log.payloads)
        try:
            answers = run(frame, works)
            head = self.head
            if frame.entries:
                head = self._log.append(connection, head, frame.entries, frame.successor)
            if frame.changes:
                connection.execute(t.feed.insert(), frame.changes)
        except BaseException:
            transaction.rollback()
            raise
        finally:
            frame.node = None  # a transaction that is kept and used later says so
        self._commit(transaction, head, frame.steps)
        return frame, answers

    def _run_plain(self, frame: Frame, works: Sequence[Callable[[Tx], Any]]) -> list[Answer]:
        transaction, answers = self._make(frame), []
        for work in works:
            try:
                answers.append(Answer(work(transaction)))
            except Exception as err:
                raise _WorkRaisedError from err
            if frame.is_complete:
                break
        return answers

    def _run_apart(self, frame: Frame, works: Sequence[Callable[[Tx], Any]]) -> list[Answer]:
        transaction, answers = self._make(frame), []
        for work in works:
            mark = frame.mark()
            savepoint = frame.connection.begin_nested()
            try:
                answers.append(Answer(work(transaction)))
            except Exception as err:  # noqa: BLE001 - the edge of a work: whatever it raises goes to its caller
                savepoint.rollback()
                frame.rewind(mark)
                answers.append(_failed(err))
            else:
                savepoint.commit()
            if frame.is_complete:
                break
        return answers

    def _commit(self, transaction: sa.Transaction, head: Head, steps: list[Callable[[], None]]) -> None:
        """Commit, and settle it if nobody knows whether that went through.

        Raises:
            SQLAlchemyError: it did not, or it cannot be known yet.
        """
        self._doubt = (head, steps)
        try:
            transaction.commit()
        except exc.SQLAlchemyError:
            self._let_go()
            self._connected()  # reads the head: if the commit went through, that settles it
            if self._head is not head:
                raise
        else:
            self._doubt = None
            self._head = head
            return

    def _connected(self) -> sa.Connection:
        """Return the connection; on a new one, the log is checked and a commit in doubt is settled."""
        if self._connection is not None and not self._connection.invalidated:
            return self._connection
        self._let_go()
        connection = self._engine.connect()
        try:
            with connection.begin():
                _claim(connection, self._log.node)
                if self._alone:
                    self._stay_alone(connection)
                found = self._log.load(connection)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._settle(found)
        self._connection = connection
        return connection

    def _stay_alone(self, connection: sa.Connection) -> None:
        """Hold the whole database, and make sure that nobody wrote to it while this node did not.

        Raises:
            ConflictError: another node serves it, or did meanwhile.
        """
        _take_whole(connection)
        head = t.evidence_head.c
        rows = connection.execute(sa.select(head.node, head.size).where(head.node != self._log.node))
        others = frozenset((node, size) for node, size in rows)
        if self._others not in (None, others):
            raise ConflictError(
                ErrorCode.STALE,
                "another node wrote to the database while this one had lost it",
                help="restart this node, so that it reads what changed",
            )
        self._others = others

    def _settle(self, found: Head) -> None:
        doubt, self._doubt = self._doubt, None
        if doubt is not None and found.note == doubt[0].note:
            self._head = doubt[0]
            self._apply([*doubt[1], *self.listeners])
            doubt[1].clear()  # whoever still holds them must not run them again
        elif self._head is None or self._head.note == found.note:
            self._head = found
        else:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"the log has {found.size} entries in the database, but this node wrote {self._head.size}",
            )

    def _apply(self, steps: Sequence[Callable[[], None]]) -> None:
        for step in steps:
            try:
                step()
            except Exception as err:
                raise IntegrityError(
                    ErrorCode.EVIDENCE_BROKEN, f"what is durable could not be shown in memory: {err!r:.200}"
                ) from err

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _claim(connection: sa.Connection, node: str) -> None:
    """Hold the node's lock as long as the connection lives. On SQLite the data folder's lock does this.

    Raises:
        ConflictError: another process holds it.
    """
    if not _locked(connection, node):
        raise ConflictError(
            ErrorCode.ALREADY_RUNNING,
            "another Charter process writes this node's log in that database",
            help="stop it, or give this node a data folder of its own",
        )


@contextmanager
def keeping_others_out(engine: sa.Engine) -> Iterator[None]:
    """Hold the whole database while it is got ready: nobody's tables are changed under them.

    Raises:
        ConflictError: another node serves it.
    """
    with engine.connect() as connection, connection.begin():
        _take_whole(connection, sa.func.pg_try_advisory_xact_lock)  # goes with the transaction, at once
        yield


def _take_whole(connection: sa.Connection, take: Callable[..., Any] = sa.func.pg_try_advisory_lock) -> None:
    if not _locked(connection, _WHOLE, take):
        raise ConflictError(
            ErrorCode.ALREADY_RUNNING,
            "another Charter node serves this database",
            help="stop it first: one node at a time may use a database",
        )


def _locked(connection: sa.Connection, name: str, take: Callable[..., Any] = sa.func.pg_try_advisory_lock) -> bool:
    """Take the lock `name` for as long as the connection lives; return False if another has it.

    A session of this process that just broke off may have it for a moment still.
    """
    if connection.dialect.name != "postgresql":
        return True
    query = sa.select(take(sa.func.hashtext("charter-node"), sa.func.hashtext(name)))
    for pause in _PAUSES:
        if connection.execute(query).scalar():
            return True
        time.sleep(pause)
    return False


def _failed(err: BaseException | None) -> Answer:
    return Answer(error=work_failure(err) if isinstance(err, exc.SQLAlchemyError) else err)
