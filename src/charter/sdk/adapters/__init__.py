"""One module for each agent framework; each imports its framework, and none imports another."""
