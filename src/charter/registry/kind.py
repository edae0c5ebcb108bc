"""The kinds of AI principals, and where they run: words that options of commands take, so this module loads at once."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The seven kinds of AI principal."""

    COPILOT = "copilot"
    DEVELOPER_ASSISTANT = "developer-assistant"
    SAAS_FEATURE = "saas-feature"
    WORKFLOW = "workflow"
    AGENT = "agent"
    MODEL_INTEGRATION = "model-integration"
    BROWSER_AGENT = "browser-agent"


class Environment(StrEnum):
    """Where a principal runs and a system lives; the three are kept apart."""

    SANDBOX = "sandbox"
    STAGING = "staging"
    PRODUCTION = "production"
