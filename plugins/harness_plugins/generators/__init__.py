"""Generators: prompts in, groups of completions out."""
