"""The master key in its file, and the seals it puts on secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.keystore import KEY_BYTES, MasterKey
from charter.core.entropy import SystemEntropy
from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.core.values import Secret

ENTROPY = SystemEntropy()
SECRET = Secret(b"a private key of thirty-two byte")


def a_master(folder: Path) -> MasterKey:
    return MasterKey.open(folder / "master.key", ENTROPY)


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first, again = a_master(tmp_path), a_master(tmp_path)
    found = (tmp_path / "master.key").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o600, KEY_BYTES)
    assert first.name == again.name
    assert again.unseal(first.seal(SECRET, "x"), "x") == SECRET
    assert [p.name for p in tmp_path.iterdir()] == ["master.key"]


def test_a_first_start_that_broke_off_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "master.key.new").write_bytes(b"half")
    assert a_master(tmp_path).unseal(a_master(tmp_path).seal(SECRET, "x"), "x") == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_master_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    a_master(tmp_path)
    (tmp_path / "master.key").chmod(mode)
    with pytest.raises(IntegrityError, match=f"can be used by others than its owner \\(mode {mode:04o}\\)") as caught:
        a_master(tmp_path)
    assert caught.value.help
    assert caught.value.help.startswith("chmod 600")


@pytest.mark.parametrize("size", [0, 1, KEY_BYTES - 1, KEY_BYTES + 1, 4096])
def test_a_master_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_bytes(b"k" * size)
    with pytest.raises(IntegrityError, match="is not 32 bytes long"):
        a_master(tmp_path)
    assert path.stat().st_size == size


def test_a_link_or_a_pipe_in_the_master_keys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"k" * KEY_BYTES)
    (tmp_path / "master.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError):
        a_master(tmp_path)
    (tmp_path / "master.key").unlink()
    os.mkfifo(tmp_path / "master.key", 0o600)
    with pytest.raises(IntegrityError, match="is no plain file"):
        a_master(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such file or directory") as caught:
        MasterKey.open(tmp_path / "missing" / "master.key", ENTROPY)
    assert caught.value.code is ErrorCode.STORE_FAILED


def test_a_lost_or_exchanged_master_key_is_told_apart_from_altered_data(tmp_path: Path) -> None:
    sealed = a_master(tmp_path).seal(SECRET, "charter/signing-key/token/abc")
    (tmp_path / "master.key").unlink()
    other = a_master(tmp_path)
    with pytest.raises(IntegrityError, match="was sealed under the master key") as caught:
        other.unseal(sealed, "charter/signing-key/token/abc")
    assert "lost or exchanged" in str(caught.value.help)


@given(st.binary(min_size=1, max_size=100), st.text(max_size=40), st.data())
def test_what_is_sealed_opens_for_its_own_context_and_no_change_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, secret: bytes, context: str, data: st.DataObject
) -> None:
    master = a_master(tmp_path_factory.getbasetemp())
    sealed = master.seal(Secret(secret), context)
    assert master.unseal(sealed, context).reveal() == secret
    assert master.seal(Secret(secret), context) != sealed
    with pytest.raises(IntegrityError):
        master.unseal(sealed, context + "!")
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:at] + data.draw(st.sampled_from("Aa0._-")) + sealed[at + 1 :]
    if changed != sealed:
        with pytest.raises(IntegrityError):
            master.unseal(changed, context)


@given(st.text(max_size=80))
def test_no_text_opens_by_chance(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with pytest.raises(IntegrityError):
        a_master(tmp_path_factory.getbasetemp()).unseal(text, "x")


def test_a_master_key_does_not_show_itself(tmp_path: Path) -> None:
    master = a_master(tmp_path)
    raw = (tmp_path / "master.key").read_bytes()
    for shown in (repr(master), str(master), master.name, master.seal(SECRET, "x")):
        assert raw.hex() not in shown
        assert repr(raw) not in shown
