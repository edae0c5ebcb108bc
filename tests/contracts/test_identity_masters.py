"""The Master port, on all five kinds of places: a file, a variable, a systemd credential, a token, a cloud."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.master_local import key_from_text
from charter.adapters.master_place import PlaceKind, parse_place
from charter.adapters.pkcs11_uri import parse_token_address
from charter.core.errors import ErrorCode, IntegrityError, MalformedError, UnavailableError
from charter.core.values import Secret
from charter.identity.envelope import Master
from charter.identity.sealing import KEY_BYTES, SealBrokenError
from masters import KINDS, SOFTHSM, Machine, a_machine

KEY = Secret(bytes(range(32)))
CONTEXT = "charter/data-key/dek_1"


@pytest.fixture(params=KINDS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """Give a machine with one place of each kind in turn."""
    found = a_machine(tmp_path, request, (request.param,))
    found.another(request.param)
    return found


@pytest.fixture
def kind(machine: Machine) -> str:
    """Give the kind in turn."""
    return next(iter(machine.specs)).rpartition("-")[0]


@pytest.fixture
def spec(machine: Machine) -> str:
    """Give the place as a setting says it."""
    return next(iter(machine.specs.values()))


@pytest.fixture
def master(machine: Machine, spec: str) -> Master:
    """Give the master at the place, made if Charter makes it."""
    return machine.open(spec)


def test_what_is_wrapped_is_given_back(master: Master) -> None:
    wrapped = master.wrap(KEY, CONTEXT)
    assert master.unwrap(wrapped, CONTEXT) == KEY
    assert wrapped.isascii()
    assert len(wrapped) < 2000


def test_no_two_wrappings_are_alike_and_none_shows_the_key(master: Master) -> None:
    one, other = master.wrap(KEY, CONTEXT), master.wrap(KEY, CONTEXT)
    assert one != other
    assert KEY.reveal() not in base64.urlsafe_b64decode(one + "==")


def test_it_opens_again_under_the_same_name(machine: Machine, master: Master, spec: str) -> None:
    again = machine.open(spec, make=False)
    assert (again.name, again.kind) == (master.name, master.kind)
    assert again.unwrap(master.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_another_key_of_the_kind_has_another_name_and_opens_nothing(
    machine: Machine, master: Master, kind: str
) -> None:
    other = machine.open(machine.another(kind))
    assert other.name != master.name
    with pytest.raises(SealBrokenError):
        other.unwrap(master.wrap(KEY, CONTEXT), CONTEXT)


def test_what_was_wrapped_for_something_else_does_not_open(master: Master) -> None:
    with pytest.raises(SealBrokenError):
        master.unwrap(master.wrap(KEY, CONTEXT), CONTEXT + "!")


@pytest.mark.parametrize("at", [0, 8, 20, 40, -2])
def test_what_was_altered_does_not_open(master: Master, at: int) -> None:
    wrapped = master.wrap(KEY, CONTEXT)
    changed = wrapped[:at] + ("A" if wrapped[at] != "A" else "B") + wrapped[at:][1:]
    with pytest.raises(SealBrokenError):
        master.unwrap(changed, CONTEXT)


@pytest.mark.parametrize("text", ["", "A", "AAAA", "!!", "é", "A" * 400])
def test_what_is_no_wrapping_does_not_open(master: Master, text: str) -> None:
    with pytest.raises(SealBrokenError):
        master.unwrap(text, CONTEXT)


def test_its_name_tells_its_kind_and_nothing_secret(machine: Machine, master: Master, kind: str) -> None:
    shown = f"{master!r} {master} {master.name} {master.where}"
    assert master.kind == kind
    for secret in (*machine.variables.values(), *_files(machine.folder)):
        assert secret not in shown or Path(secret).is_dir()


def _files(folder: Path) -> list[str]:
    return [path.read_bytes().hex() for path in folder.rglob("*") if path.is_file()]


def test_a_place_that_is_empty_is_none(machine: Machine, kind: str) -> None:
    if kind == "file":
        with pytest.raises(AssertionError):
            machine.open(f"file:{machine.folder}/missing", make=False)
    elif kind in ("environment", "systemd"):
        machine.variables.clear()
        with pytest.raises(AssertionError):
            machine.open(next(iter(machine.specs.values())), make=True)
    else:
        missing = {"pkcs11": machine.another("pkcs11"), "aws-kms": "aws-kms:alias/missing"}[kind]
        with pytest.raises(IntegrityError, match=r"holds no key|is gone or disabled"):
            machine.open(missing, make=False)


# --- what is particular to one kind ---


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first, again = machine.open("file"), machine.open("file")
    found = (tmp_path / "master.key").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o600, KEY_BYTES)
    assert first.name == again.name
    assert [p.name for p in tmp_path.iterdir()] == ["master.key"]


def test_a_first_start_that_broke_off_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "master.key.new").write_bytes(b"half")
    assert Machine(tmp_path).open("file").name == Machine(tmp_path).open("file").name


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    machine = Machine(tmp_path)
    machine.open("file")
    (tmp_path / "master.key").chmod(mode)
    with pytest.raises(IntegrityError, match=f"can be used by others than its owner \\(mode {mode:04o}\\)") as caught:
        machine.open("file")
    assert str(caught.value.help).startswith("chmod 600")


@pytest.mark.parametrize("mode", [0o444, 0o460, 0o404])
def test_a_systemd_credential_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    machine = Machine(tmp_path)
    spec = machine.another("systemd")
    (tmp_path / "credentials" / "key-0").chmod(mode)
    with pytest.raises(IntegrityError, match="can be used by others"):
        machine.open(spec)


@pytest.mark.parametrize("size", [0, 1, KEY_BYTES - 1, KEY_BYTES + 1, 4096])
def test_a_key_file_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_bytes(b"k" * size)
    with pytest.raises(IntegrityError, match="is not 32 bytes long"):
        Machine(tmp_path).open("file")
    assert path.stat().st_size == size


def test_a_link_or_a_pipe_in_a_key_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"k" * KEY_BYTES)
    (tmp_path / "master.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError):
        Machine(tmp_path).open("file")
    (tmp_path / "master.key").unlink()
    os.mkfifo(tmp_path / "master.key", 0o600)
    with pytest.raises(IntegrityError, match="is no plain file"):
        Machine(tmp_path).open("file")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such file or directory") as caught:
        Machine(tmp_path / "missing").open("file")
    assert caught.value.code is ErrorCode.STORE_FAILED


def test_the_same_bytes_are_the_same_master_wherever_they_are_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    in_file = machine.open("file")
    machine.variables["CHARTER_MASTER_KEY"] = (tmp_path / "master.key").read_bytes().hex()
    assert machine.open("environment").name == in_file.name


@pytest.mark.parametrize(
    "text",
    [
        KEY.reveal(),
        KEY.reveal().hex().encode(),
        base64.b64encode(KEY.reveal()) + b"\n",
        b" " + base64.urlsafe_b64encode(KEY.reveal()),
    ],
)
def test_a_key_may_be_written_raw_in_hex_or_in_base64(text: bytes) -> None:
    assert key_from_text(text, "it") == KEY


@given(st.binary(max_size=300).filter(lambda text: len(text) != KEY_BYTES and len(text.strip()) < 43))
def test_what_is_no_key_is_refused_without_being_shown(text: bytes) -> None:
    said = "^the master key in the variable is not 32 bytes, nor their hex or base64$"
    with pytest.raises(IntegrityError, match=said):
        key_from_text(text, "the variable")


@pytest.mark.parametrize("kinds", [("pkcs11",)])
def test_a_wrong_pin_is_told_without_being_shown(tmp_path: Path, request: pytest.FixtureRequest, kinds: Any) -> None:
    machine = a_machine(tmp_path, request, kinds)
    spec = machine.another("pkcs11")
    machine.variables["CHARTER_MASTER_PIN"] = "wrong-pin"
    with pytest.raises(MalformedError, match="does not take the PIN") as caught:
        machine.open(spec)
    assert "wrong-pin" not in f"{caught.value.detail} {caught.value.help}"
    machine.variables.clear()
    with pytest.raises(IntegrityError, match="there is no PIN for the token"):
        machine.open(spec)


def test_a_pin_may_stand_in_a_file_of_its_own(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    machine = a_machine(tmp_path, request, ("pkcs11",))
    spec = machine.another("pkcs11")
    pin = tmp_path / "pin"
    pin.write_text(machine.variables.pop("CHARTER_MASTER_PIN") + "\n")
    pin.chmod(0o600)
    assert machine.open(f"{spec}&pin-source=file:{pin}").kind == "pkcs11"
    pin.chmod(0o644)
    with pytest.raises(IntegrityError, match="can be used by others"):
        machine.open(f"{spec}&pin-source=file:{pin}")


def test_a_token_key_cannot_be_taken_out(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    import pkcs11

    machine = a_machine(tmp_path, request, ("pkcs11",))
    spec = machine.another("pkcs11")
    address = parse_token_address(spec)
    machine.open(spec)
    with (
        pkcs11.lib(SOFTHSM)
        .get_token(token_label=address.token)
        .open(user_pin=machine.variables["CHARTER_MASTER_PIN"]) as s
    ):
        key = next(iter(s.get_objects({pkcs11.Attribute.LABEL: address.object})))
        with pytest.raises(pkcs11.PKCS11Error):
            _ = key[pkcs11.Attribute.VALUE]


def test_a_token_key_that_could_be_taken_out_is_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    import pkcs11

    machine = a_machine(tmp_path, request, ("pkcs11",))
    spec = machine.another("pkcs11")
    address = parse_token_address(spec)
    pin = machine.variables["CHARTER_MASTER_PIN"]
    with pkcs11.lib(SOFTHSM).get_token(token_label=address.token).open(user_pin=pin, rw=True) as session:
        soft = {pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False}
        session.generate_key(pkcs11.KeyType.AES, 256, label=address.object, store=True, template=soft)
    with pytest.raises(IntegrityError, match="can be taken out of the token"):
        machine.open(spec)


def test_a_module_that_is_not_there_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"CHARTER_MASTER_PIN": "1"})
    with pytest.raises(UnavailableError, match=r"cannot be used by way of `/no/such\.so`") as caught:
        machine.open("pkcs11:token=charter;object=m?module-path=/no/such.so")
    assert caught.value.code is ErrorCode.MASTER_UNAVAILABLE


def test_a_cloud_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="cannot be used: EndpointConnectionError") as caught:
        Machine(tmp_path).open("aws-kms:arn:aws:kms:eu-central-1:123456789012:key/1234")
    assert caught.value.code is ErrorCode.MASTER_UNAVAILABLE


def test_a_cloud_key_that_was_disabled_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    import boto3

    machine = a_machine(tmp_path, request, ("aws-kms",))
    spec = machine.another("aws-kms")
    boto3.client("kms").disable_key(KeyId=spec.rpartition("/")[2])
    with pytest.raises(IntegrityError, match="is disabled"):
        machine.open(spec)


# --- places as settings say them ---


@pytest.mark.parametrize(
    ("spec", "kind", "detail"),
    [
        ("file", PlaceKind.FILE, "/data/master.key"),
        ("file:/etc/charter/key", PlaceKind.FILE, "/etc/charter/key"),
        ("environment", PlaceKind.ENVIRONMENT, "CHARTER_MASTER_KEY"),
        ("systemd:mine", PlaceKind.SYSTEMD, "mine"),
        ("aws-kms:alias/charter", PlaceKind.AWS_KMS, "alias/charter"),
    ],
)
def test_a_place_is_read(spec: str, kind: PlaceKind, detail: str) -> None:
    found = parse_place(spec, Path("/data"))
    assert (found.kind, found.detail) == (kind, detail)


@pytest.mark.parametrize(
    "spec",
    [
        *("", "vault", "File", "x" * 2000, "file:relative", "file:/x.next", "environment:HOME"),
        *("environment:AWS_SECRET", "systemd:../etc", "systemd:.x", "aws-kms", "aws-kms:", "aws-kms:a b", "pkcs11:"),
    ],
)
def test_what_is_no_place_is_refused(spec: str) -> None:
    with pytest.raises(MalformedError):
        parse_place(spec, Path("/data"))


@given(st.text(max_size=200))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    for spec in (text, f"pkcs11:{text}", f"pkcs11:token=a;object=b?module-path=/m&{text}", f"systemd:{text}"):
        with contextlib.suppress(MalformedError):
            assert parse_place(spec, Path("/data")).spec == spec


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("pkcs11:token=a;object=b?module-path=/m&pin-value=1234", "holds a PIN"),
        ("pkcs11:token=a?module-path=/m", "lacks `object`"),
        ("pkcs11:token=a;object=b", "lacks `module-path`"),
        ("pkcs11:token=a;token=c;object=b?module-path=/m", "unknown, repeated"),
        ("pkcs11:token=a;object=b;slot-id=1?module-path=/m", "unknown, repeated"),
        ("pkcs11:token=a;object=b?module-path=m.so", "no absolute path"),
        ("pkcs11:token=a;object=b;type=private?module-path=/m", "another type"),
        ("pkcs11:token=a;object=b?module-path=/m&pin-source=|cat", "unknown, repeated"),
        ("pkcs11:token=%ff;object=b?module-path=/m", "no UTF-8"),
        ("pkcs11:token=%00;object=b?module-path=/m", "zero byte"),
    ],
)
def test_a_uri_that_leaves_something_open_is_refused(uri: str, why: str) -> None:
    with pytest.raises(MalformedError, match=why) as caught:
        parse_token_address(uri)
    assert "1234" not in caught.value.detail
