"""Filters of what must not be learnt: personal data, secrets, unsafe content."""
