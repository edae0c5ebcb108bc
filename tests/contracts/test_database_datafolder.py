"""The data folder has one holder at a time, is private, and says clearly why it cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from charter.adapters.datafolder import DataFolder, holder
from charter.core.errors import ConflictError, ErrorCode, UnavailableError

HOLD = """
import sys, pathlib
from charter.adapters.datafolder import DataFolder
DataFolder.open(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_new_folder_is_private_and_kept_out_of_git(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "estate" / ".charter") as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert "*" in folder.file(".gitignore").read_text().splitlines()


def test_a_folder_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with DataFolder.open(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_second_process_is_told_who_has_the_folder_until_that_one_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=f"process {child.pid} is using the data folder") as caught:
            DataFolder.open(tmp_path)
        assert caught.value.code is ErrorCode.ALREADY_RUNNING
        assert holder(tmp_path) == child.pid
        child.kill()
    assert holder(tmp_path) is None
    DataFolder.open(tmp_path).close()


def test_the_same_process_cannot_open_it_twice(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path), pytest.raises(ConflictError, match=f"process {os.getpid()}"):
        DataFolder.open(tmp_path)


def test_a_file_in_the_folders_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    with pytest.raises(UnavailableError, match=r"the data folder `.*data` cannot be used: file exists"):
        DataFolder.open(tmp_path / "data")


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="cannot be used"):
        DataFolder.open(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    assert holder(tmp_path) is None
