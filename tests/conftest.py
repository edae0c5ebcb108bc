"""Fixtures every suite may ask for."""

from masters import aws_url, token
from postgres import database_url, postgres_server, postgres_url

__all__ = ["aws_url", "database_url", "postgres_server", "postgres_url", "token"]
