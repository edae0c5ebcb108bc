"""The masters one node was told of, and the change from one to another. Satisfies identity.envelope.Custody.

Which masters may open data keys is said by the setting `CHARTER_MASTER` and by a note in the data folder
(`master.json`), never by the database: who can write rows there must not be able to name a master of their own.

A change of master goes: make the new one; note it as next; wrap all data keys under it in one transaction; note it as
the one. INVARIANT: at each instant both the note and the files lead to whichever master the data keys are under, so a
process that dies anywhere in between starts again; the rows say which of the two it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from charter.adapters.keyfile import put_key, read_key, write_whole
from charter.adapters.master_local import LocalMaster
from charter.adapters.master_place import Place, PlaceKind, Surroundings, open_master, parse_place
from charter.core.errors import ConflictError, ErrorCode, IntegrityError, MalformedError, UnavailableError
from charter.identity.envelope import Master
from charter.identity.sealing import Sealer

NOTE = "master.json"
MAX_NOTE = 4096
_DEFAULT = "file"
_NEXT = ".next"  # of a key file that is about to take its place


class NodeCustody:
    """The masters of one node."""

    def __init__(self, configured: str | None, around: Surroundings) -> None:
        """`configured` is the setting, None where nothing was set.

        Raises:
            MalformedError: it names no place.
            IntegrityError: the note cannot be read.
        """
        self._around = around
        self._folder = around.folder
        self.configured = parse_place(configured, self._folder) if configured else None
        self._found: dict[str, Place] = {}  # by the master's name
        self._changing = threading.Lock()
        self._note()

    def named(self, name: str) -> Master:
        """Return the master called `name`, of those this node was told of.

        Raises:
            IntegrityError: none of them is it.
            UnavailableError: one that could be it cannot be reached.
        """
        others: list[str] = []
        unreachable: UnavailableError | None = None
        for place in self._candidates():
            try:
                master = open_master(place, self._around)
            except UnavailableError as err:
                unreachable = err
                continue
            if master is None:
                others.append(f"{_words(place)} holds none")
                continue
            self._found[master.name] = place
            if master.name == name:
                return master
            others.append(f"{master.where} is `{master.name}`")
        if unreachable is not None:
            raise unreachable
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"the data keys are wrapped under the master `{name}`, but {', and '.join(others)}",
            help="it was lost or exchanged: put the right one back, or name its place in CHARTER_MASTER",
        )

    def first(self, *, make: bool) -> Master:
        """Return the master for new data keys, made if need be.

        Raises:
            IntegrityError: it is missing, or no fit key.
            UnavailableError: it cannot be reached.
        """
        place = next(self._candidates())
        master = open_master(place, self._around, make=make)
        if master is None:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN,
                f"{_words(place)} holds no master key",
                help="put it there; a new one is made by: openssl rand -base64 32",
            )
        self._found[master.name] = place
        return master

    def look(self) -> list[Master]:
        """Return the masters found in the places this node was told of; none is made.

        Raises:
            IntegrityError: what is there is no fit key.
            UnavailableError: a place cannot be reached.
        """
        found = (open_master(place, self._around) for place in self._candidates())
        return [master for master in found if master is not None]

    def old_seals(self) -> Sealer | None:
        """Return what opens seals of the form v1, which were made with the data folder's key file itself."""
        plain = parse_place(_DEFAULT, self._folder)
        if all(place.detail != plain.detail for place in self._candidates()):
            return None
        found = open_master(plain, self._around)
        return found if isinstance(found, LocalMaster) else None

    def settle(self, name: str) -> None:
        """Take note that all data keys are under `name`: finish, or forget, a change that was under way."""
        place = self._found[name]
        if place.kind is PlaceKind.FILE:
            place = self._settle_file(place)
            self._found[name] = place
        wanted = {} if _same(place, parse_place(_DEFAULT, self._folder)) else {"master": place.spec}
        if self._note() != wanted:
            self._write_note(wanted)

    def place_of(self, name: str) -> str:
        """Return where the master `name` was found, as one would set it."""
        return self._found[name].spec

    def agrees(self, name: str) -> bool:
        """Whether the setting, where there is one, names the place of the master `name`."""
        return self.configured is None or _same(self.configured, self._found[name])

    def leftover(self, name: str) -> str | None:
        """Return the data folder's key file, if it is there although the master `name` is elsewhere."""
        plain = parse_place(_DEFAULT, self._folder)
        is_used = _same(plain, self._found[name])
        return None if is_used or not Path(plain.detail).exists() else plain.detail

    @contextmanager
    def change(self) -> Iterator[None]:
        """Keep other changes of master out.

        Raises:
            ConflictError: one is under way.
        """
        if not self._changing.acquire(blocking=False):
            raise ConflictError(ErrorCode.STALE, "the master key is being changed already", help="try again")
        try:
            yield
        finally:
            self._changing.release()

    def prepare(self, now: str, spec: str | None) -> Master:
        """Make ready the master that shall come after `now`: at `spec`, or a new one in the same place.

        Raises:
            MalformedError: `spec` names no place, or Charter cannot make a key in the place that is used.
            ConflictError: it is the same master.
            IntegrityError: there is no key at `spec`.
        """
        old = self._found[now]
        place = parse_place(spec, self._folder) if spec else old
        if place.kind is PlaceKind.FILE and _same(place, old):  # the file's own next is looked for without a note
            place = _next_of(place)
            Path(place.detail).unlink(missing_ok=True)
        elif not spec and place.kind is not PlaceKind.AWS_KMS:
            raise MalformedError(
                ErrorCode.BAD_VALUE,
                f"Charter cannot make another key in {_words(place)}",
                help="make one, then say where it is: charter rotate master --to …",
            )
        elif not _same(place, old):
            self._write_note({"master": old.spec, "next": place.spec})
        master = open_master(place, self._around, make=True)
        if master is None:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN, f"{_words(place)} holds no master key", help="put it there, then try again"
            )
        if master.name == now and spec:
            raise ConflictError(ErrorCode.EXISTS, f"{master.where} is the master already", help="name another place")
        self._found[master.name] = place
        return master

    # --- within ---

    def _candidates(self) -> Iterator[Place]:
        """Yield the places to look at: what the note says, then the setting, then the default; each file's next too."""
        note = self._note()
        told = [parse_place(note[key], self._folder) for key in ("master", "next") if key in note]
        if self.configured is not None:
            told.append(self.configured)
        seen: set[str] = set()
        for place in told or [parse_place(_DEFAULT, self._folder)]:
            for each in (place, _next_of(place)) if place.kind is PlaceKind.FILE else (place,):
                is_missing = each.detail.endswith(_NEXT) and not Path(each.detail).exists()
                if each.detail not in seen and not is_missing:
                    seen.add(each.detail)
                    yield each

    def _settle_file(self, place: Place) -> Place:
        """Let the key file that is used stand under its own name; return the place it is in then."""
        if place.detail.endswith(_NEXT):
            own = _own_of(place)
            put_key(Path(own.detail), Path(place.detail))
            return own
        Path(place.detail + _NEXT).unlink(missing_ok=True)
        return place

    def _note(self) -> dict[str, str]:
        found = read_key(self._folder / NOTE, least=0, most=MAX_NOTE)
        try:
            note = json.loads(found.reveal()) if found else {}
            if not isinstance(note, dict) or not all(isinstance(v, str) for v in note.values()):
                raise TypeError  # noqa: TRY301 - one answer to all that is wrong with it
        except (ValueError, TypeError) as err:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN,
                f"the note `{self._folder / NOTE}` of where the master key is cannot be read",
                help="restore it from your backup, or remove it and set CHARTER_MASTER",
            ) from err
        return note

    def _write_note(self, note: dict[str, str]) -> None:
        path = self._folder / NOTE
        if note:
            write_whole(path, json.dumps(note).encode())
        else:
            path.unlink(missing_ok=True)


def _next_of(place: Place) -> Place:
    detail = place.detail + _NEXT
    return replace(place, spec=f"file:{detail}", detail=detail)


def _own_of(place: Place) -> Place:
    detail = place.detail.removesuffix(_NEXT)
    return replace(place, spec=f"file:{detail}", detail=detail)


def _same(place: Place, other: Place) -> bool:
    return (place.kind, place.detail) == (other.kind, other.detail)


def _words(place: Place) -> str:
    match place.kind:
        case PlaceKind.FILE:
            return f"the file `{place.detail}`"
        case PlaceKind.ENVIRONMENT:
            return f"the variable `{place.detail}`"
        case PlaceKind.SYSTEMD:
            return f"the systemd credential `{place.detail}`"
        case PlaceKind.PKCS11:
            return f"the token of `{place.detail}`"
        case PlaceKind.AWS_KMS:
            return f"the KMS key `{place.detail}`"
