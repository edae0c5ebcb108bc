"""`charter up`, from start to end: alone on its folder, stopped in order, killed in the middle of its work."""

from __future__ import annotations

from pathlib import Path

from terminal import Terminal


def test_a_second_server_on_one_folder_is_refused_and_harms_nothing(estate: Terminal) -> None:
    with estate.up() as server:
        error = estate.refused("up", expect=5)

        assert error["detail"].startswith(f"process {server.process.pid} is using the data folder `")
        assert estate.ask("kill", "note-keeper", "--reason", "the first one still obeys")["after"] == "revoked"


def test_the_data_folder_may_stand_deeper_than_a_socket_may_be_named(tmp_path: Path) -> None:
    deep = Terminal.at(tmp_path).but("--data", "/".join(["a-folder-with-a-long-name" * 2] * 3))

    with deep.up() as server:
        assert deep.ask("console")["url"].startswith(f"{server.url}/sign-in/")  # the running server alone can say it
