"""Completions that come near the token limit: how many there are, and what is taken off their rewards."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import ConfigError
from harness.types import Completion, ScoredGroup


def was_cut_off(completion: Completion) -> bool:
    return completion.finish_reason == "length"


def soft_punishment(length: int, limit: int, buffer: int) -> float:
    """0 up to limit - buffer tokens, from there on a line down to -1 at the limit, and -1 above it (DAPO,
    arXiv:2503.14476, equation 13). `buffer` is above 0."""
    return max(-1.0, min(0.0, (limit - buffer - length) / buffer))


def punished_rewards(scored: ScoredGroup, buffer: int) -> tuple[float | None, ...]:
    """The group's rewards with the punishment added. An unscored completion stays unscored."""
    limit = scored.group.sampling.max_tokens
    if buffer > limit:
        raise ConfigError(
            f"overlong_buffer = {buffer} is longer than the sampling limit of {limit} tokens",
            where="group",
            remedy="Set it to the length in which completions are to be told to end.",
        )
    return tuple(
        None if reward is None else reward + soft_punishment(len(completion.token_ids), limit, buffer)
        for completion, reward in zip(scored.group.completions, scored.rewards, strict=True)
    )


def count_overlong(groups: Sequence[ScoredGroup], buffer: int) -> int:
    """Completions that were cut off or, with a buffer, that are long enough to be punished."""
    return sum(
        soft_punishment(len(completion.token_ids), scored.group.sampling.max_tokens, buffer) < 0
        if buffer
        else was_cut_off(completion)
        for scored in groups
        for completion in scored.group.completions
    )
