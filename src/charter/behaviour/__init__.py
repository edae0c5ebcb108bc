"""Behaviour: what principals usually do, how unlike that an act is and why, and what may follow of it."""
