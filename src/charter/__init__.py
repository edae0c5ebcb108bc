"""Charter: identity governance for AI systems.

Every AI principal gets a charter, an identity of its own, policy enforced outside the model, evidence anyone can
verify, and authority that can be withdrawn at once. The folders are floors: each imports downwards only
(see docs/architecture.md).
"""

__version__ = "0.1.0"
