"""A base and what is trained on it: loading, saving, merging, and the forward pass over packed rows."""
