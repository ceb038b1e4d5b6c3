"""A judge and an objective in one file: what a third party ships."""

from __future__ import annotations

from typing import Any

import harness


class PoliteConfig(harness.Config):
    """Settings of the `polite` judge."""

    words: tuple[str, ...] = ("please", "thank you")
    """What a polite answer says; each is worth an equal share."""


class Polite:
    """Share of the polite words that an answer has."""

    def __init__(self, config: PoliteConfig) -> None:
        self.words = config.words

    def score(self, groups: Any) -> list[tuple[harness.Score, ...]]:
        return [tuple(self._score(c.text) for c in group.completions) for group in groups]

    def _score(self, text: str) -> harness.Score:
        said = [word for word in self.words if word in text.lower()]
        label = "ok" if len(said) == len(self.words) else "curt"
        return harness.Score("polite", len(said) / len(self.words), label=label)


def reinforce(batch: harness.SequenceBatch) -> harness.LossOutput:
    """REINFORCE (Williams 1992) without clipping: -sum A_n log p(completion n) / N."""
    logps_N = (batch.logps_N_T * batch.mask_N_T).sum(-1)
    assert batch.advantages_N is not None
    return harness.LossOutput(-(batch.advantages_N * logps_N).sum() / batch.totals.sequences)


@harness.hookimpl
def harness_register_judges() -> list[harness.JudgeSpec]:
    summary = "Does it say please and thank you?"
    return [harness.JudgeSpec("polite", summary, lambda config, _: Polite(config), PoliteConfig, deterministic=True)]


@harness.hookimpl
def harness_register_objectives() -> list[harness.ObjectiveSpec]:
    return [harness.ObjectiveSpec("reinforce", "Plain REINFORCE", lambda config, _: reinforce)]
