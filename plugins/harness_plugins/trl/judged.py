"""Our judges as a TRL reward function: TRL's completions become groups of ours, and the rewards go back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from harness.chat import decode
from harness.errors import HarnessError, UpdateError
from harness.judging import Bench
from harness.types import Completion, Group, Sampling


class JudgedSampling:
    """The judges over what TRL samples from the prompts of `groups`, and what came of it."""

    def __init__(
        self,
        bench: Bench,
        groups: Sequence[Group],
        tokenizer: Any,
        stop_ids: Collection[int],
        sampling: Sampling,
        policy_version: str,
    ) -> None:
        self.bench, self.groups, self.tokenizer = bench, groups, tokenizer
        self.stop_ids, self.sampling, self.policy_version = stop_ids, sampling, policy_version
        self.completions = self.tokens = self.unscored = self.batches = self.with_signal = 0

    def reward(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        group: Sequence[int],
        trainer_state: Any,
        **columns: Any,
    ) -> list[float | None]:
        """In TRL's signature: one reward a completion, None where it is unknown. `group` is the row's group, by index.

        The judges see the token ids, decoded as ours are: TRL's text can differ from it in spaces.
        """
        places: dict[int, list[int]] = {}
        for place, index in enumerate(group):
            places.setdefault(index, []).append(place)
        policy = f"{self.policy_version}+{trainer_state.global_step}"
        sampled = [
            self.sampled(self.groups[index], [completion_ids[i] for i in where], policy)
            for index, where in places.items()
        ]
        rewards: list[float | None] = [None] * len(completion_ids)
        for where, scored in zip(places.values(), self.bench.score(sampled), strict=True):
            for place, value in zip(where, scored.rewards, strict=True):
                rewards[place] = value
            self.with_signal += len({value for value in scored.rewards if value is not None}) > 1
        self.batches += len(sampled)
        self.completions += len(rewards)
        self.tokens += sum(len(ids) for ids in completion_ids)
        self.unscored += rewards.count(None)
        return rewards

    def sampled(self, group: Group, ids_G: Sequence[Sequence[int]], policy: str) -> Group:
        completions = tuple(
            Completion(
                decode(self.tokenizer, ids), tuple(ids), finish_reason="stop" if ids[-1] in self.stop_ids else "length"
            )
            for ids in ids_G
        )
        return Group(group.prompt, group.prompt_token_ids, completions, policy, self.sampling, "trl-grpo")

    def metrics(self) -> dict[str, float]:
        """Raises UpdateError when no group told its completions apart."""
        if self.completions and not self.with_signal:
            raise UpdateError(
                f"no group has signal: in each of {self.batches} all rewards are equal or unknown "
                f"({self.unscored} of {self.completions} completions are unscored)",
                where="trl-grpo",
                remedy="Use prompts that are neither too easy nor too hard, more completions, or finer rewards.",
            )
        return {
            "update/completions": float(self.completions),
            "update/groups_without_signal": float(self.batches - self.with_signal),
            "update/unscored": float(self.unscored),
            "update/tokens": float(self.tokens),
        }


def prompt_text(tokenizer: Any, group: Group) -> str:
    """The text that the tokenizer, called as TRL calls it, turns into exactly this prompt's token ids.

    Raises HarnessError when there is none.
    """
    wanted = list(group.prompt_token_ids)
    for start in (0, 1):  # some tokenizers begin every text with a token of their own
        text = tokenizer.decode(wanted[start:], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if tokenizer(text=[text])["input_ids"][0] == wanted:
            return str(text)
    raise HarnessError(
        "this prompt's text is not tokenized into its token ids again, and GRPOTrainer takes text",
        where=f"prompt {group.prompt.id}",
        remedy="Use the updater `group` for this model.",
    )
