"""A trust domain of our own for tests: a stage with its authorities and its bundle.

with a_trust(tmp_path) as (stage, trust):
    trust.own.document()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charter.identity.trust import Trust
from charter.identity.x509_authority import Authorities
from identity_stage import Stage, a_stage

TRUST_DOMAIN = "charter.local"


def open_trust(stage: Stage, trust_domain: str = TRUST_DOMAIN) -> Trust:
    """Return the trust of a stage, as a start of Charter opens it."""
    trust = Trust(trust_domain, stage.ring, Authorities(trust_domain, stage.envelope, stage.entropy))
    stage.database.write(trust.open)
    return trust


@contextmanager
def a_trust(folder: Path, **given: Any) -> Iterator[tuple[Stage, Trust]]:
    """Open a stage and its trust."""
    with a_stage(folder, **given) as stage:
        yield stage, open_trust(stage)
