"""Evidence: an append-only Merkle log of what each principal did, provable to those who trust no operator."""
