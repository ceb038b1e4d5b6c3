"""What updaters train with: steps, resuming, early stopping, references, several processes."""
