"""Filters of what training data do to training: leaked test items, contradicting labels, difficulty."""
