"""Updaters: scored groups in, a checkpoint out."""
