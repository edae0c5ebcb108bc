"""Proof: what policy allows, over all calls and not only the tested ones, with a counterexample where it fails."""
