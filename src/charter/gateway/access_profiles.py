"""Draft profiles of the decision API: off unless switched on, each by its name and the number of its draft.

A draft may change in any way. A later one gets a switch of its own beside the former, which stays for one release.
"""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """The drafts there are, of August 2026 (github.com/openid/authzen at e287920)."""

    ACCESS_REQUEST = "access-request:1"  # AuthZEN Access Request and Approval Profile, Draft 1
    COAZ_MCP = "coaz-mcp:1"  # COAZ Framework and COAZ-MCP binding, Draft 1
    OBLIGATIONS = "obligations:1"  # AuthZEN Profile for Obligations, Draft 1


OBLIGATION_TYPES = ("step-up", "notification", "session_termination", "custom")
ACCESS_REQUEST_CAPABILITY = "urn:openid:authzen:capability:access-request"
