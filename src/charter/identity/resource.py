"""Resource indicators (RFC 8707): what access tokens are made out to, as the agent's side and the doors name it."""

from __future__ import annotations

RESOURCE_PATH = "/mcp/"
ALL_PATH = "/mcp"  # all MCP systems of a principal together
DECISION_PATH = "/access/v1"
SPANS_PATH = "/otlp"


def resource_of(issuer: str, system: str) -> str:
    """Return the resource indicator of a system: its MCP endpoint."""
    return f"{issuer}{RESOURCE_PATH}{system}"


def all_of(issuer: str) -> str:
    """Return the resource indicator of all MCP systems together: each call there is decided as one to its system."""
    return f"{issuer}{ALL_PATH}"


def decisions_of(issuer: str) -> str:
    """Return the resource indicator of the decision API: tokens for it are enforcement points' own."""
    return f"{issuer}{DECISION_PATH}"


def spans_of(issuer: str) -> str:
    """Return the resource indicator of the door for spans: a token for it says whose they are, and opens nothing."""
    return f"{issuer}{SPANS_PATH}"
