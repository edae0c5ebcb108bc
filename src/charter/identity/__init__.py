"""Identities and the credentials that prove them: clients, tokens, signing keys."""
