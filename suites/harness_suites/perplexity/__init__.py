"""Held-out passages from Wikipedia, and others to read."""
