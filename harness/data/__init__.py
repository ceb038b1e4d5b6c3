"""Data that deserves training: reading it, looking for what is wrong with it, and writing what is left."""
