"""The database and its one writer. Satisfies core.work.Writer.

    database = Database(url, clock=…, entropy=…, signer=…, make_transaction=HouseTransaction, node_origin=origin)
    index = database.write(lambda tx: tx.record(draft))        # blocks; durable when it returns
    index = await database.awrite(lambda tx: tx.record(draft)) # the same, for coroutines
    names = database.read(lambda tx: tx.principals.names())    # a read-only snapshot on another connection
    database.close()

Opening migrates the tables, finds or creates the node called `node_origin`, and verifies the head of its log. Works
that wait are carried out in groups by one thread (`sequencer.py`). A full queue refuses at once: a caller who must wait
long is better told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from charter.adapters import tables as t
from charter.adapters.engine import open_engines, store_failure, work_failure
from charter.adapters.evidence_store import SqlLog
from charter.adapters.log_writer import Head, LogWriter, opened_body
from charter.adapters.migrations import migrate
from charter.adapters.payloads import Payloads
from charter.adapters.sequencer import Answer, Sequencer, keeping_others_out
from charter.adapters.transaction import Frame, SqlTransaction
from charter.core.clock import Clock, rfc3339
from charter.core.entropy import Entropy, moment_of
from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.core.keys import Signer
from charter.evidence.checkpoint import check_origin
from charter.evidence.entry import Draft, Entry, EntryKind

T = TypeVar("T")
Tx = TypeVar("Tx", bound=SqlTransaction)
SignerSource = Callable[[sa.Connection], Signer]
MAX_WAITING = 10_000
MAX_GROUP = 256
PATIENCE_SECONDS = 0.003  # of a work that nobody waits for: less than a disk flush saves it


class _Job(msgspec.Struct, frozen=True):
    """One work that waits, and where its answer goes."""

    work: Callable[[Any], Any]
    future: Future[Any] | asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop | None
    is_patient: bool = False


class Database(Generic[Tx]):
    """State and evidence of one node, in SQLite or PostgreSQL."""

    def __init__(  # noqa: PLR0913 - what a node is made of
        self,
        url: str,
        *,
        clock: Clock,
        entropy: Entropy,
        signer: Signer | SignerSource,
        make_transaction: Callable[[Frame], Tx],
        node_origin: str,
        alone: bool = False,
        payloads: Payloads | None = None,
    ) -> None:
        """Open the database; `signer` signs checkpoints, or finds (makes) the key that does in the first transaction.

        With `alone`, no other node may write to the database at the same time. With `payloads`, which `signer` has
        begun, what can be erased of an entry stands apart from what is hashed.

        Raises:
            UnavailableError: the database cannot be used.
            IntegrityError: its log cannot be trusted.
            ConflictError: another process writes to it.
        """
        self._clock = clock
        self._make = make_transaction
        self.payloads = payloads
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Job]] = {}  # of each loop's turn
        self._door = threading.Lock()
        self._is_closed = False
        self._is_healthy = True
        self._engine, self._reader = open_engines(url)
        try:
            with keeping_others_out(self._reader) if alone else contextlib.nullcontext():
                migrate(self._engine)
                self.log = self._find_log(check_origin(node_origin), entropy, signer, alone=alone)
            self._sequencer = Sequencer(self._engine, self.log, clock, make_transaction, alone=alone)
            if self._sequencer.open().size == 0:
                self._open_log()
        except BaseException as err:
            self._dispose()
            if isinstance(err, exc.SQLAlchemyError):
                raise store_failure(err) from err
            raise
        self._thread = threading.Thread(target=self._drain, name="charter-writer", daemon=True)
        self._thread.start()

    @property
    def node(self) -> str:
        """The node's id, as it stands in its evidence entries."""
        return self.log.node

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return self.log.origin

    @property
    def head(self) -> Head:
        """Where this node's log stands: its edge and its newest signed checkpoint."""
        return self._sequencer.head

    @property
    def healthy(self) -> bool:
        """Whether the last group of works became durable and the log may be written to."""
        return self._is_healthy and not self._is_closed and self.halted is None

    @property
    def halted(self) -> str | None:
        """Why this process writes nothing more; None: it does."""
        return self._sequencer.halted

    def write(self, work: Callable[[Tx], T]) -> T:
        """Return what `work` returns, once it is durable. Blocks.

        Raises:
            UnavailableError: it could not be made durable; nothing of it happened.
            IntegrityError: the node stopped writing.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a work cannot wait for another work")
        future: Future[T] = Future()
        self._submit(_Job(work, future, None))
        return future.result()

    def awrite(self, work: Callable[[Tx], T], *, patient: bool = False) -> asyncio.Future[T]:
        """Return what to await for what `work` returns, once it is durable, without blocking the event loop.

        A caller who is cancelled meanwhile does not stop the work. A patient one waits up to PATIENCE_SECONDS for
        another work to share its commit with. Works of one turn of the loop are handed over together, once all that
        was ready in it has run: the questions of a batch share a commit.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._door:
            gathered = self._gathered.get(loop, [])
            try:
                self._check(len(gathered))
            except UnavailableError as err:
                future.set_exception(err)
                return future
            if not gathered:
                self._gathered[loop] = gathered
                loop.call_soon(self._hand_over, loop)
            gathered.append(_Job(work, future, loop, is_patient=patient))
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put the works that a turn of a loop gathered into the queue, unless closing has done so."""
        with self._door:
            for job in self._gathered.pop(loop, ()):
                self._jobs.put(job)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the writer's thread after each commit that made the feed grow; return what ends that.

        It is called before the writes of that commit are answered, so it must be quick and must not fail.
        """
        self._sequencer.listeners.append(listener)
        return lambda: self._sequencer.listeners.remove(listener)

    def hand_out(self, reader: Callable[[Sequence[Entry]], None]) -> Callable[[], None]:
        """Give `reader` the entries of each commit, on the writer's thread; return what ends that.

        It must be quick and must not fail. Nothing is given of a commit that broke off and had gone through after all.
        """
        self._sequencer.readers.append(reader)
        return lambda: self._sequencer.readers.remove(reader)

    def read(self, reading: Callable[[Tx], T]) -> T:
        """Return what `reading` returns, from one consistent snapshot, on a connection of its own.

        Raises:
            UnavailableError: the database cannot be read.
            MalformedError: a value looked for is none that could be kept.
        """
        try:
            with self._reader.connect() as connection, connection.begin():
                return reading(self._make(Frame(connection, self._clock.now(), payloads=self.payloads)))
        except exc.SQLAlchemyError as err:
            raise work_failure(err) from err

    def read_log(self, reading: Callable[[SqlLog], T]) -> T:
        """Return what `reading` returns of this node's evidence log, from one consistent snapshot.

        Raises:
            UnavailableError: the database cannot be read.
        """
        return self.read(lambda tx: reading(SqlLog(tx.connection, self.node, self.origin, self.payloads)))

    def damage(self) -> str | None:
        """Return the first thing that SQLite finds wrong with its file; None if nothing is, and for PostgreSQL.

        An index that does not agree with its table is among it: whoever asks by it would miss what is there.

        Raises:
            UnavailableError: the database cannot be read.
        """
        if self._engine.dialect.name != "sqlite":
            return None
        found = self.read(lambda tx: tx.connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one())
        return None if found == "ok" else str(found)

    def settle_erasure(self) -> None:
        """Copy SQLite's write-ahead log into the file and empty it: what was erased stands in neither then.

        PostgreSQL is left alone: it keeps dead rows until `VACUUM`, and its only connection for writing is in use.

        Raises:
            UnavailableError: the database cannot be used. What is erased stays so; its log is emptied later.
        """
        if self._engine.dialect.name != "sqlite":
            return
        try:
            with self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except exc.SQLAlchemyError as err:
            raise store_failure(err) from err

    def halt(self, why: str) -> None:
        """Write nothing more, so that nothing more is allowed: it was shown that the log was put back."""
        self._sequencer.halt(why)

    def close(self) -> None:
        """Carry out what waits, then let the database go. Later works are refused."""
        with self._door:
            if self._is_closed:
                return
            self._is_closed = True
            for jobs in self._gathered.values():
                for job in jobs:
                    self._jobs.put(job)
            self._gathered.clear()
            self._jobs.put(None)
        self._thread.join()
        self._dispose()

    def _submit(self, job: _Job) -> None:
        with self._door:  # so that nothing is put behind the end of the queue, where nobody would answer it
            self._check(0)
            self._jobs.put(job)

    def _check(self, gathered: int) -> None:
        """Raise UnavailableError if no work is taken any more, or none beside those that wait."""
        if self._is_closed:
            raise UnavailableError(ErrorCode.NOT_RUNNING, "the database is closed")
        if self._jobs.qsize() + gathered >= MAX_WAITING:
            raise UnavailableError(
                ErrorCode.TOO_MANY,
                f"{MAX_WAITING} changes wait to be recorded already",
                help="send fewer at a time",
            )

    def _drain(self) -> None:
        """Carry out works until the database is closed: the writer's thread."""
        is_open = True
        while is_open:
            jobs, is_open = self._next_group()
            while jobs:
                answers = self._sequencer.run([job.work for job in jobs])
                self._is_healthy = not isinstance(answers[0].error, UnavailableError)
                _deliver(jobs, answers)
                del jobs[: len(answers)]
        self._sequencer.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Wait for works; return those that wait, at most a group, and whether more may come."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        ends = self._clock.monotonic() + PATIENCE_SECONDS
        is_urgent = False
        try:
            while job is not None:
                jobs.append(job)
                is_urgent = is_urgent or not job.is_patient
                if len(jobs) == MAX_GROUP:
                    return jobs, True
                wait = 0 if is_urgent else ends - self._clock.monotonic()
                job = self._jobs.get(timeout=wait) if wait > 0 else self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False

    def _find_log(self, origin: str, entropy: Entropy, signer: Signer | SignerSource, *, alone: bool) -> LogWriter:
        """Return the writer of the log called `origin`, creating node and log if this is the first start.

        Raises:
            IntegrityError: a file that is one node's `alone` holds the log of another name.
        """
        with self._engine.connect() as connection, connection.begin():
            key = signer(connection) if callable(signer) else signer
            node = connection.execute(sa.select(t.node.c.id).where(t.node.c.origin == origin)).scalar()
            if node is not None:
                return LogWriter(node, origin, key, self.payloads)
            if alone and connection.dialect.name == "sqlite":
                _refuse_another_log(connection, origin)
            log = LogWriter(_new_node(connection, origin, entropy), origin, key, self.payloads)
            row = {"id": log.node, "origin": origin, "created_at": rfc3339(self._clock.now())}
            connection.execute(t.node.insert(), row)
            log.create(connection)
            return log

    def _open_log(self) -> None:
        draft = Draft(EntryKind.LOG_OPENED, "charter", None, dict(opened_body(self.log)))
        (answer,) = self._sequencer.run([lambda tx: tx.record(draft)])
        if answer.error is not None:
            raise answer.error

    def _dispose(self) -> None:
        self._engine.dispose()
        self._reader.dispose()


def _deliver(jobs: list[_Job], answers: list[Answer]) -> None:
    """Give each job its answer; those that wait in an event loop get theirs together."""
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Answer]]] = {}
    for job, answer in zip(jobs, answers, strict=False):
        if job.loop is not None and isinstance(job.future, asyncio.Future):
            waiting.setdefault(job.loop, []).append((job.future, answer))
        elif answer.error is not None:
            job.future.set_exception(answer.error)
        else:
            job.future.set_result(answer.value)
    for loop, settled in waiting.items():
        try:
            loop.call_soon_threadsafe(_resolve, settled)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _resolve(settled: list[tuple[asyncio.Future[Any], Answer]]) -> None:
    for future, answer in settled:
        if future.done():
            continue  # its waiter was cancelled
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.value)


def _new_node(connection: sa.Connection, origin: str, entropy: Entropy) -> str:
    """Return the id of a new node: the one that its log's name ends with, so that it has one, if that is free."""
    named = origin.rpartition("/")[2]
    is_id = named.startswith("nod_") and moment_of(named) is not None
    if is_id and connection.execute(sa.select(t.node.c.id).where(t.node.c.id == named)).first() is None:
        return named
    return entropy.identifier("nod")


def _refuse_another_log(connection: sa.Connection, origin: str) -> None:
    """Let no new log begin beside the one that a node's own file holds: nobody would look at the old one again."""
    there = connection.execute(sa.select(t.node.c.origin)).scalar()
    if there is None:
        return
    domain, _, name = there.rpartition("/log/")
    is_of_domain = origin.startswith(f"{domain}/log/")
    raise IntegrityError(
        ErrorCode.EVIDENCE_BROKEN,
        f"the database holds the log `{there}`, and another, `{origin}`, would begin",
        help=f"put `{name}` back into the data folder's file `node`"
        if is_of_domain
        else f"set CHARTER_TRUST_DOMAIN back to `{domain}`",
    )
