"""Losses over token log-probabilities: pure functions of a `SequenceBatch`, one family a file.

With N completions and T tokens, m the mask, and the sizes of the whole optimizer step in the denominator, the losses
of a step's micro-batches sum exactly to the loss of the step, however it was cut.
"""
