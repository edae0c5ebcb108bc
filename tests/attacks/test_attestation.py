"""Real processes that pretend: each is told apart by the kernel, or refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from charter.adapters.process import Peer
from charter.core.errors import UnauthenticatedError
from workloads import (
    AS_USER,
    CONNECT,
    DIAL,
    LIBRARIES,
    STAY,
    a_child,
    a_listener,
    a_unit,
    an_open_folder,
    can_make_units,
    hear,
    say,
)

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="starts children of other users, which root alone can")
PYTHON = str(Path(sys.executable).resolve())


@contextmanager
def a_visitor(*arguments: str, code: str = CONNECT) -> Iterator[tuple[Popen[bytes], socket.socket]]:
    """Yield a child that connected, and the connection; `arguments` come behind the socket's path."""
    with (
        an_open_folder() as folder,
        a_listener(folder / "s") as listener,
        a_child(str(folder / "s"), *arguments, code=code) as child,
    ):
        connection, _ = listener.accept()
        with connection:
            yield child, connection


def becomes(child: Popen[bytes], program: str) -> None:
    """Wait until the child runs another program; it ends itself if it never does."""
    while str(Path(f"/proc/{child.pid}/exe").readlink()).removesuffix(" (deleted)") != program:
        assert child.poll() is None
        time.sleep(0.005)


def test_a_process_is_told_by_its_user_group_program_and_digest() -> None:
    with a_visitor() as (child, connection), Peer.of(connection) as peer:
        found = peer.process()
        assert (found.pid, found.uid, found.gid) == (child.pid, os.getuid(), os.getgid())
        assert found.path == PYTHON
        assert peer.digest() == hashlib.sha256(Path(PYTHON).read_bytes()).hexdigest()


@AS_ROOT
def test_another_user_is_another_user() -> None:
    code = LIBRARIES + AS_USER.format(uid=4711) + DIAL + STAY
    with a_visitor(code=code) as (_, connection), Peer.of(connection) as peer:
        assert (peer.process().uid, peer.process().gid) == (4711, 4711)


@AS_ROOT
def test_one_who_becomes_another_user_after_connecting_is_refused() -> None:
    """Root connects, then turns into a user: what the kernel noted is not what runs."""
    turn = "sys.stdin.readline();" + AS_USER.format(uid=4711) + "print('now', flush=True);"
    with a_visitor(code=LIBRARIES + DIAL + turn + STAY) as (child, connection), Peer.of(connection) as peer:
        assert peer.process().uid == 0
        say(child, b"go\n")
        assert hear(child) == b"now\n"
        with pytest.raises(UnauthenticatedError, match="changed its user"):
            peer.process()


def test_one_who_turns_into_another_program_is_refused() -> None:
    """A stranger connects, hands the socket to a friend, and then becomes the trusted program by `exec`."""
    turn = "sys.stdin.readline(); os.execv('/bin/cat', ['cat'])"
    with a_visitor(code=LIBRARIES + DIAL + turn) as (child, connection), Peer.of(connection) as peer:
        assert peer.process().path == PYTHON
        say(child, b"go\n")
        becomes(child, str(Path("/bin/cat").resolve()))
        assert peer.is_alive
        with pytest.raises(UnauthenticatedError, match="another program"):
            peer.process()


def test_one_that_ended_is_nobody_even_if_its_number_was_given_away() -> None:
    """The socket lives on in a child; the process that connected has gone, and its number may be anyone's."""
    leave = "sys.stdin.readline(); os.fork() and os._exit(0);"
    with a_visitor(code=LIBRARIES + DIAL + leave + STAY) as (child, connection), Peer.of(connection) as peer:
        say(child, b"go\n")
        child.wait()
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):  # the connection is still open
            connection.recv(1)
        assert not peer.is_alive
        with pytest.raises(UnauthenticatedError, match="has ended"):
            peer.process()
        with pytest.raises(UnauthenticatedError, match="has ended"):
            peer.digest()
        with pytest.raises(UnauthenticatedError):
            Peer.of(connection)


def test_a_number_that_was_reused_is_told_by_when_its_process_started() -> None:
    """Where the kernel gives no descriptor of the peer, the number is all there is: it must be the same process."""
    with a_visitor() as (_, connection), Peer.of(connection) as peer:
        peer._started = "1"
        with pytest.raises(UnauthenticatedError, match="has ended"):
            peer.process()


def test_a_stopped_process_is_still_itself() -> None:
    with a_visitor() as (child, connection), Peer.of(connection) as peer:
        os.kill(child.pid, signal.SIGSTOP)
        assert peer.process().pid == child.pid
        os.kill(child.pid, signal.SIGCONT)


def test_a_program_that_was_replaced_on_disk_has_no_path(tmp_path: Path) -> None:
    """Its path now means another file. Its digest is still that of what runs."""
    program, fresh = tmp_path / "agent", tmp_path / "fresh"
    shutil.copy("/bin/cat", program)
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    code = LIBRARIES + DIAL + "os.execv(sys.argv[2], ['agent'])"
    with a_visitor(str(program), code=code) as (child, connection):
        becomes(child, str(program))
        fresh.write_bytes(b"something else")
        fresh.rename(program)
        with Peer.of(connection) as peer:
            assert peer.process().path is None
            assert peer.digest() == digest


@AS_ROOT
def test_a_program_in_a_file_system_of_its_own_has_no_path(tmp_path: Path) -> None:
    """In a mount namespace, anyone can call any program by the trusted one's path."""
    trusted, evil = tmp_path / "trusted", tmp_path / "evil"
    shutil.copy("/bin/cat", trusted)
    shutil.copy("/bin/cat", evil)
    hide = (
        "libc=ctypes.CDLL(None); assert libc.unshare(0x00020000) == 0;"
        "assert libc.mount(b'none', b'/', None, 0x44000, None) == 0;"
        "assert libc.mount(sys.argv[2].encode(), sys.argv[3].encode(), None, 4096, None) == 0;"
    )
    code = LIBRARIES + hide + DIAL + "os.execv(sys.argv[3], ['trusted'])"
    with a_visitor(str(evil), str(trusted), code=code) as (child, connection):
        becomes(child, str(trusted))  # which is what it would like to be taken for
        with Peer.of(connection) as peer:
            assert peer.process().path is None


@pytest.mark.skipif(not can_make_units(), reason="makes control groups, which only root can, and not everywhere")
def test_a_unit_is_the_processes_own_or_its_parents() -> None:
    start = "p=subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]); print(p.pid, flush=True); p.wait()"
    with a_visitor(CONNECT, code=LIBRARIES + start) as (parent, connection):
        child = int(hear(parent))
        with Peer.of(connection) as peer:
            assert peer.process().unit is None
            with a_unit("system.slice/refund-agent.service", parent.pid):
                assert peer.process().unit == "refund-agent.service"
                with a_unit("system.slice/other.service", child):
                    assert peer.process().unit == "other.service"
            with a_unit("user.slice/user-0.slice/user@0.service/refund-agent.service", child):
                assert peer.process().unit is None
        os.kill(child, signal.SIGKILL)


def test_a_socket_that_leads_to_no_process_is_refused() -> None:
    with socket.socket(socket.AF_INET) as listener, socket.socket(socket.AF_INET) as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        connection, _ = listener.accept()
        with connection, pytest.raises(UnauthenticatedError, match="not of this machine"):
            Peer.of(connection)
