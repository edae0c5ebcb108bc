"""Where a master key may live, as a setting says it, and how one is opened there.

file, file:/etc/charter/master.key          a file that Charter's user alone can read (the default)
environment, environment:CHARTER_MASTER_KEY_2
systemd, systemd:NAME                       a credential in $CREDENTIALS_DIRECTORY
pkcs11:token=…;object=…?module-path=…       a key in a token (RFC 7512)
aws-kms:KEY                                 an id, an ARN or alias/NAME
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from charter.adapters.keyfile import make_key, read_key
from charter.adapters.master_kms import KmsMaster
from charter.adapters.master_local import MAX_TEXT, LocalMaster, key_from_text
from charter.adapters.master_pkcs11 import TokenMaster
from charter.adapters.pkcs11_uri import TokenAddress, parse_token_address
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, IntegrityError, MalformedError
from charter.core.values import Secret
from charter.identity.envelope import Master
from charter.identity.sealing import KEY_BYTES

KEY_VARIABLE, PIN_VARIABLE, CREDENTIALS_VARIABLE = "CHARTER_MASTER_KEY", "CHARTER_MASTER_PIN", "CREDENTIALS_DIRECTORY"
MAX_PLACE = 1024
MAX_PIN = 256
_VARIABLE = re.compile(r"CHARTER_MASTER_KEY(?:_[A-Z0-9_]{1,40})?")
_CREDENTIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]{1,512}")


class PlaceKind(StrEnum):
    """The kinds of places."""

    FILE = "file"
    ENVIRONMENT = "environment"
    SYSTEMD = "systemd"
    PKCS11 = "pkcs11"
    AWS_KMS = "aws-kms"


@dataclass(frozen=True, slots=True)
class Place:
    """One place, as the setting says it and as it is understood."""

    spec: str
    kind: PlaceKind
    detail: str  # the file's path, the variable, the credential, the URI, the KMS key
    address: TokenAddress | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What opening a master needs of the machine."""

    folder: Path  # the data folder
    variable: Callable[[str], str | None]
    entropy: Entropy


def parse_place(spec: str, folder: Path) -> Place:
    """Return the place that `spec` names; `file` alone is `master.key` in `folder`.

    Raises:
        MalformedError: it names none.
    """
    kind, _, rest = spec.partition(":")
    if len(spec) > MAX_PLACE or kind not in list(PlaceKind):
        raise _wrong(spec, "names no place a master key can be in")
    match PlaceKind(kind):
        case PlaceKind.FILE:
            rest = rest or str(folder / "master.key")
            _must(rest.startswith("/") and "\x00" not in rest, spec, "needs an absolute path")
            _must(not rest.endswith(".next"), spec, "must not end with `.next`: that is the name of a key to come")
        case PlaceKind.ENVIRONMENT:
            rest = rest or KEY_VARIABLE
            _must(bool(_VARIABLE.fullmatch(rest)), spec, f"needs a variable called {KEY_VARIABLE} or {KEY_VARIABLE}_…")
        case PlaceKind.SYSTEMD:
            rest = rest or "charter-master-key"
            _must(bool(_CREDENTIAL.fullmatch(rest)), spec, "needs the name of a credential")
        case PlaceKind.PKCS11:
            return Place(spec, PlaceKind.PKCS11, spec, parse_token_address(spec))
        case PlaceKind.AWS_KMS:
            _must(bool(_KMS_KEY.fullmatch(rest)), spec, "needs a key's id, ARN or alias/NAME")
    return Place(spec, PlaceKind(kind), rest)


def open_master(place: Place, around: Surroundings, *, make: bool = False) -> Master | None:
    """Return the master at `place`, or None if there is none; `make` it where Charter can: in a file, in a token.

    Raises:
        IntegrityError: what is there is no fit key.
        UnavailableError: the place cannot be reached.
        MalformedError: a token does not take its PIN.
    """
    match place.kind:
        case PlaceKind.FILE:
            return _from_file(Path(place.detail), around, make=make)
        case PlaceKind.ENVIRONMENT:
            text = around.variable(place.detail)
            return _local(place, f"the variable `{place.detail}`", text.encode() if text else None, around)
        case PlaceKind.SYSTEMD:
            return _local(place, f"the systemd credential `{place.detail}`", _credential(place.detail, around), around)
        case PlaceKind.PKCS11:
            assert place.address is not None  # noqa: S101 - as parse_place makes it
            return TokenMaster.open(place.address, _pin(place.address, around), around.entropy, make=make)
        case PlaceKind.AWS_KMS:
            return KmsMaster.open(place.detail)


def _from_file(path: Path, around: Surroundings, *, make: bool) -> LocalMaster | None:
    secret = read_key(path)
    if secret is None and make:
        make_key(path, Secret(around.entropy.bytes(KEY_BYTES)))
        secret = read_key(path)
    return LocalMaster.of("file", f"`{path}`", secret, around.entropy) if secret else None


def _local(place: Place, where: str, text: bytes | None, around: Surroundings) -> LocalMaster | None:
    if not text:
        return None
    return LocalMaster.of(place.kind.value, where, key_from_text(text, where), around.entropy)


def _credential(name: str, around: Surroundings) -> bytes | None:
    """Return a systemd credential. Its group bits may be the mask of the access list that lets Charter's user in."""
    folder = around.variable(CREDENTIALS_VARIABLE)
    if not folder:
        return None
    found = read_key(Path(folder, name), least=1, most=MAX_TEXT, closed_to=stat.S_IRWXO | stat.S_IWGRP)
    return found.reveal() if found else None


def _pin(address: TokenAddress, around: Surroundings) -> Secret:
    if address.pin_source is not None:
        found = read_key(address.pin_source, least=1, most=MAX_PIN)
        text = found.reveal().strip() if found else b""
    else:
        text = (around.variable(PIN_VARIABLE) or "").encode()
    if not text:
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"there is no PIN for the token `{address.token}`",
            help=f"name a file in pin-source, or set {PIN_VARIABLE}",
        )
    return Secret(text)


def _must(is_so: bool, spec: str, why: str) -> None:
    if not is_so:
        raise _wrong(spec, why)


def _wrong(spec: str, why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE,
        f"the master {spec[:80]!a} {why}",
        help="write file, file:/PATH, environment, systemd, systemd:NAME, pkcs11:… or aws-kms:KEY",
    )
