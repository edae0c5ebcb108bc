"""Fixtures every suite may ask for, and how properties are tried."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from databases import share_statements
from masters import aws_url, token
from postgres import database_url, empty_url, postgres_server, postgres_tables, postgres_template, postgres_url

__all__ = [
    "aws_url",
    "database_url",
    "empty_url",
    "postgres_server",
    "postgres_tables",
    "postgres_template",
    "postgres_url",
    "token",
]

# How fast a machine is decides nothing; and what a property shares between its examples is shared on purpose.
_EASY = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile("quick", max_examples=50, deadline=None, suppress_health_check=_EASY)
settings.register_profile("thorough", max_examples=300, deadline=None, suppress_health_check=_EASY)
settings.load_profile("quick")  # make test-all asks for the other

# No test needs the authorities of the machine, and each client of httpx would load them all: here is one, of no use.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("nobody.pem"))

share_statements()


@pytest.hookimpl(trylast=True)  # the others were shuffled by then
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that take longest begin first."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
