"""Log-probabilities of given texts by a transformers model: the prompt of several is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup, split
from harness_plugins.models.shared_prefix import completion_logps

ROW_TOKENS = 2048
"""Of a prompt with its texts. Attention over a longer row costs more than a second copy of the prompt."""


@torch.inference_mode()
def text_logps(model: Any, prompt_ids: Sequence[int], texts: Sequence[Sequence[int]]) -> tuple[tuple[float, ...], ...]:
    """Of each token of each text after the prompt, fp32, natural log. The head is applied to nothing else."""
    group = TrainingGroup(tuple(prompt_ids), tuple(TrainingCompletion(tuple(ids)) for ids in texts))
    found: list[tuple[float, ...]] = []
    for part in split(group, ROW_TOKENS):
        logps_N_T, _ = completion_logps(model, Row((part,)))
        lengths = [len(completion.token_ids) for completion in part.completions]
        found += [tuple(logps_T[:n]) for logps_T, n in zip(logps_N_T.tolist(), lengths, strict=True)]
    return tuple(found)
