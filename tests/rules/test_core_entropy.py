"""Identifiers: no two are the same, whichever thread or process asks for them."""

from __future__ import annotations

import os
import threading

from charter.core.entropy import SystemEntropy


def test_no_two_threads_are_given_the_same_identifier() -> None:
    made: list[str] = []

    def make() -> None:
        entropy = SystemEntropy()
        made.extend([entropy.identifier("x") for _ in range(2_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({each[-16:] for each in made}) == len(made) == 8_000


def test_a_process_that_was_forked_makes_identifiers_of_its_own() -> None:
    SystemEntropy().identifier("x")  # so that random bits are at hand
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, SystemEntropy().identifier("x").encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert theirs[-16:] != SystemEntropy().identifier("x")[-16:]
