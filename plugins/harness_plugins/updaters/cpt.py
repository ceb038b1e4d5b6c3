"""Continued pretraining: the model reads raw text of a domain and learns to predict every token of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from harness.errors import ConfigError, UpdateError
from harness.types import ScoredGroup
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup
from harness_plugins.training.updater import AdapterUpdater, Selection


class CptUpdater(AdapterUpdater):
    """Trains on documents: groups whose prompt has no messages and whose completions are texts."""

    name = "cpt"

    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        documents, unscored, below = [], 0, 0
        for scored in groups:
            if scored.group.prompt.messages:
                raise ConfigError(
                    f"prompt {scored.group.prompt.id} is a chat, and cpt trains on raw text",
                    where="cpt",
                    remedy='Give rows of {"text": ...}, or use sft.',
                )
            for completion, reward in zip(scored.group.completions, scored.rewards, strict=True):
                unscored += reward is None
                if reward is not None and reward >= self.config.min_reward and completion.token_ids:
                    ids = (*scored.group.prompt_token_ids, *completion.token_ids)
                    documents.append((f"{len(documents)} {scored.group.prompt.id}", ids))
                elif reward is not None:
                    below += 1
        if not documents:
            raise UpdateError(
                f"none of {len(groups)} documents has a reward of at least {self.config.min_reward} "
                f"({unscored} are unscored)",
                where="cpt",
                remedy="Lower min_reward, or look at the judges' verdicts.",
            )
        size = min(self.config.block_size, self.context_length())
        blocks = tuple(replace(block, origin=name) for name, ids in documents for block in cut(ids, size))
        first = blocks[0]
        return Selection(
            blocks,
            {
                "update/documents": float(len(documents)),
                "update/blocks": float(len(blocks)),
                "update/unscored": float(unscored),
                "update/below_min_reward": float(below),
            },
            first.prompt_token_ids + first.completions[0].token_ids,
        )

    def context_length(self) -> int:
        """Of the model, in tokens that a block may have learnt: longer ones would be left out whole."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self.context.require_model().path, local_files_only=True)
        return int(getattr(config.get_text_config(), "max_position_embeddings", self.config.block_size))

    def batches(self, groups: Sequence[TrainingGroup], random_order: Random) -> Iterator[Sequence[TrainingGroup]]:
        """Blocks in a random order, as many a step as hold `tokens_per_step` tokens."""
        batch: list[TrainingGroup] = []
        tokens = 0
        for block in random_order.sample(groups, len(groups)):
            size = len(block.completions[0].token_ids)
            if batch and tokens + size > self.config.tokens_per_step:
                yield batch
                batch, tokens = [], 0
            batch.append(block)
            tokens += size
        if batch:
            yield batch


def cut(token_ids: Sequence[int], size: int) -> Iterator[TrainingGroup]:
    """A document in blocks of at most `size` learnt tokens. A block starts with the last token of the one before it, so
    that every token but the first is learnt exactly once."""
    for start in range(0, len(token_ids) - 1, size):
        learnt = tuple(token_ids[start + 1 : start + 1 + size])
        yield TrainingGroup((token_ids[start],), (TrainingCompletion(learnt),))
