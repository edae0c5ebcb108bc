"""The outside world behind the ports: database, Cedar, upstreams, analytics."""
