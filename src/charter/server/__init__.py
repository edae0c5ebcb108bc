"""HTTP: OAuth, the gateways' endpoints, the control API."""
