"""TRL's GRPOTrainer on the groups' prompts, rewarded by our judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.errors import ConfigError, HarnessError
from harness.judging import Bench
from harness.protocols import RunContext
from harness.seats import make_judge
from harness.types import BASE_POLICY, AdapterCheckpoint, Sampling, ScoredGroup
from harness_plugins.trl.configs import RewardingJudge, TrlGrpoConfig
from harness_plugins.trl.judged import JudgedSampling, prompt_text
from harness_plugins.trl.updater import Job, TrlUpdater


class TrlGrpoUpdater(TrlUpdater):
    """Lets GRPOTrainer sample, with transformers, and train on the prompts of the groups.

    The completions that the groups already have are not used. GRPOTrainer takes prompts as text: a prompt's is its
    decoded token ids, and the update is refused unless the tokenizer turns it into the same ids again. Its schemas do
    not constrain the sampling. GRPOTrainer leaves out the prompts that fill no batch at the end of an epoch, and gives
    an unscored completion no part in its group's mean and no advantage.
    """

    name = "trl-grpo"
    trl_config = "GRPOConfig"

    def __init__(self, config: TrlGrpoConfig, context: RunContext) -> None:
        super().__init__(config, context)
        self.bench = seat(config.judges, context)

    def job(self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, seed: int) -> Job:
        from harness.chat import load_generation_config, load_tokenizer, stop_ids

        if not groups:
            raise HarnessError("there are no prompts to train on", where=self.name)
        sampling = self.sampling(groups)
        completions = self.config.n or max(len(scored.group.completions) for scored in groups)
        if completions < 2:
            raise ConfigError(
                "the groups have one completion a prompt, and GRPO compares at least two",
                where=self.name,
                remedy="Set n, such as n = 8.",
            )
        path = self.context.require_model().path
        tokenizer = load_tokenizer(path)
        rows = [{"prompt": prompt_text(tokenizer, scored.group), "group": i} for i, scored in enumerate(groups)]
        stops = stop_ids(tokenizer, load_generation_config(path))
        start = parent.version if parent else BASE_POLICY
        judged = JudgedSampling(self.bench, [scored.group for scored in groups], tokenizer, stops, sampling, start)

        def make_trainer(model: Any, tokenizer: Any, args: Any) -> Any:
            from datasets import Dataset
            from trl import GRPOTrainer

            model.generation_config.eos_token_id = sorted(stops)
            return GRPOTrainer(
                model=model,
                reward_funcs=[judged.reward],
                args=args,
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
            )

        first = groups[0].group
        return Job(
            make_trainer,
            {
                "per_device_train_batch_size": min(self.config.groups_per_step, len(groups)) * completions,
                "num_generations": completions,
                "max_completion_length": sampling.max_tokens,
                "temperature": sampling.temperature,
                "remove_unused_columns": False,
            },
            lambda: {"update/groups": float(len(groups)), **judged.metrics()},
            first.prompt_token_ids + first.completions[0].token_ids,
        )

    def sampling(self, groups: Sequence[ScoredGroup]) -> Sampling:
        """How GRPOTrainer is to sample. Raises HarnessError where the groups do not agree on it and it is not set."""
        given = {name: self.config.args.get(name) for name in ("top_p", "top_k", "min_p")}
        result = Sampling(**{name: value for name, value in given.items() if value is not None})
        for name in ("temperature", "max_tokens"):
            values = sorted({getattr(scored.group.sampling, name) for scored in groups})
            chosen = getattr(self.config, name) or (values[0] if len(values) == 1 else 0)
            if not chosen:
                raise HarnessError(
                    f"the groups were sampled with {name} {' and '.join(map(str, values))}",
                    where="trl-grpo",
                    remedy=f"Set the updater's {name}.",
                )
            result = replace(result, **{name: chosen})
        return result


def seat(judges: Sequence[RewardingJudge], context: RunContext) -> Bench:
    """The judges at work. Raises ConfigError when there are none, or when one is named twice."""
    names = [judge.name for judge in judges]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"a judge is named twice: {', '.join(names)}" if names else "GRPOTrainer samples, and no judge is named",
            where="trl-grpo",
            remedy='Name each judge once, such as judges = [{name = "exact"}].',
        )
    made = {judge.name: make_judge(judge, context, where="trl-grpo, judge") for judge in judges}
    return Bench(made, {judge.name: judge.weight for judge in judges})
