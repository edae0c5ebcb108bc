"""Policy: grants compiled to Cedar, guardrails, slices, decisions and their reasons."""
