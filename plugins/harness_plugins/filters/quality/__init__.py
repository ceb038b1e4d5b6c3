"""Filters of text that is not worth learning: spam, repetition, boilerplate, broken formats, odd lengths."""
