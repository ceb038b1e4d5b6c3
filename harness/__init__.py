"""harness: evaluate, align, and promote language models on evidence."""
