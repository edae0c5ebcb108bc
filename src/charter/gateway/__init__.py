"""The one pipeline every governed call runs through, and the wires that feed it."""
