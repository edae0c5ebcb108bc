"""The registry: principals, systems, charters, standing, and the estate files they come from."""
