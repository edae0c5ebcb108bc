"""`changes` of teams.yaml: whether what widens authority is applied only once the right person has said yes.

    changes: {reviewed: required, central: security-lead, team_up_to: low}

Without it, a plan names whose yes a change should have, and apply asks nobody.
"""

from __future__ import annotations

from typing import Literal

from charter.registry.field import Model, Role


class ChangeTerms(Model):
    """What the organisation asks of changes."""

    reviewed: Literal["required"]
    central: Role  # says yes to what concerns everybody: teams, roles, issuers, rules, guardrails, patterns, systems
    team_up_to: Literal["low", "medium", "high", "critical"] = "low"  # within a pattern, the owner's team says yes
