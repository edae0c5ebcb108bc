"""Processes for tests of attestation: children that connect to a unix socket and stay until they are told to end.

with a_listener(path) as listener, a_child(path) as child:
    connection, _ = listener.accept()
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charter.core.canonical import canonical
from charter.registry.declared import WORKLOAD
from charter.registry.principal import ClientKey
from charter.registry.standing import Standing
from charter.registry.workload import Workload
from fakes import FixedClock

LIBRARIES = "import ctypes,os,socket,subprocess,sys;"
AS_USER = "os.setgroups([]); os.setgid({uid}); os.setuid({uid});"
DIAL = "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); os.set_inheritable(s.fileno(), True);"
STAY = "sys.stdin.read()"
CONNECT = LIBRARIES + DIAL + STAY
CGROUPS = Path("/sys/fs/cgroup/systemd")


def workload_key(principal_id: str, standing: Standing = Standing.ACTIVE, **selectors: object) -> ClientKey:
    """Return the credential that a charter's selectors are."""
    wanted = Workload.model_validate(selectors).conditions
    members = {"kty": WORKLOAD, "selectors": canonical(wanted).decode()}
    name = f"{principal_id} {members['selectors']}"
    return ClientKey(f"crd_{name}", principal_id, name, members, standing, FixedClock().now())


@contextmanager
def a_listener(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(8)
        listener.settimeout(20)
        yield listener


@contextmanager
def a_child(*arguments: str, code: str = CONNECT, program: str = sys.executable) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Python child; it is ended by its own id, at the latest when the block is left."""
    child = subprocess.Popen([program, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield child
    finally:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()


def say(child: subprocess.Popen[bytes], line: bytes) -> None:
    assert child.stdin is not None
    child.stdin.write(line)
    child.stdin.flush()


def hear(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


@contextmanager
def an_open_folder() -> Iterator[Path]:
    """Yield a folder that every user may pass through: pytest's own are closed to others."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="charter-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def a_unit(name: str, pid: int) -> Iterator[None]:
    """Put a process into a unit, as the system's manager does: a control group below `system.slice`."""
    group = CGROUPS / name
    made = [each for each in (*reversed(group.parents), group) if CGROUPS in each.parents and not each.exists()]
    group.mkdir(parents=True)
    try:
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):
            (CGROUPS / "cgroup.procs").write_text(str(pid))
        for each in reversed(made):
            with contextlib.suppress(OSError):
                each.rmdir()


def can_make_units() -> bool:
    return os.getuid() == 0 and os.access(CGROUPS / "cgroup.procs", os.W_OK)
