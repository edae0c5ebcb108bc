"""Finding AI in use that nobody registered."""
