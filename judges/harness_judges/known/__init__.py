"""Pairs of answers of which the better is known: written for this project, made by mutation, and from fetched data."""
