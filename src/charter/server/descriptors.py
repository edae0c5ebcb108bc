"""How many files and connections this process may have open, and who gets them.

INVARIANT: strangers' connections leave descriptors for the operator, the store and the upstreams, however few there
are.
"""

from __future__ import annotations

import resource

ENOUGH = 65_536  # more than this is never asked for
MOST = 4_096  # connections at one door
_SHARE = 8  # of all descriptors: four doors with this share each leave half of them for the rest


def take_descriptors() -> None:
    """Let this process open as many files as the machine's administrator allows it to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Return how many connections one door may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(1, min(MOST, soft // _SHARE))
