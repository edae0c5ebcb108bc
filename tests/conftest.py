"""Fixtures every suite may ask for, and how properties are tried."""

from hypothesis import HealthCheck, settings

from masters import aws_url, token
from postgres import database_url, postgres_server, postgres_url

__all__ = ["aws_url", "database_url", "postgres_server", "postgres_url", "token"]

# How fast a machine is decides nothing; and what a property shares between its examples is shared on purpose.
settings.register_profile(
    "charter", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("charter")
