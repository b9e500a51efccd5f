"""Examples that run: each is a story told by the project's real commands."""
