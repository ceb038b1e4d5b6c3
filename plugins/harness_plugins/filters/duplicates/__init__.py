"""Filters of what is there more than once, or too often: the same, nearly the same, of the same meaning or topic."""
