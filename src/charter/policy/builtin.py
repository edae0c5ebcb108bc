"""The rules every slice holds, whatever its charter and guardrails say.

They are Cedar like all others, the same text for every principal: what differs stands in the principal's attributes.
"""

from __future__ import annotations

from typing import Final

from charter.policy.cedar_text import annotation, quoted

ENVIRONMENT: Final = "built-in/environment"
DATA: Final = "built-in/data"
RESTRAINED: Final = "built-in/restrained"

RESTRAINED_ROLE: Final = "owner"  # the human role of teams.yaml that answers for a restrained principal's calls

BUILT_IN: Final = {
    ENVIRONMENT: (
        f"{annotation('id', ENVIRONMENT)}\n"
        "forbid (principal, action, resource)\n"
        "unless { principal.environment == resource.environment };\n"
    ),
    DATA: (
        f"{annotation('id', DATA)}\n"
        "forbid (principal, action, resource)\n"
        "unless {\n"
        "  principal.reads.containsAll(resource.reads) &&\n"
        "  principal.writes.containsAll(resource.writes) &&\n"
        "  principal.sends.containsAll(resource.sends)\n"
        "};\n"
    ),
    RESTRAINED: (
        f"{annotation('id', RESTRAINED)}\n"
        f"{annotation('approval', RESTRAINED_ROLE)}\n"
        "forbid (principal, action, resource)\n"
        'when { principal.restrained && action in [Charter::Action::"write", Charter::Action::"irreversible"] }\n'
        f"unless {{ context.approvals.contains({quoted(RESTRAINED_ROLE)}) }};\n"
    ),
}
