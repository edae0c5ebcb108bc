"""Logs of vendors and platforms: a module for each kind of log, and what they share."""
