"""Filters of training data. Each says what it has against a record; what follows from it is not theirs to decide."""
