"""TRL's GRPOTrainer on the groups' prompts, rewarded by our judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, HarnessError
from harness.judging import Bench
from harness.protocols import RunContext
from harness.types import BASE_POLICY, AdapterCheckpoint, Sampling, ScoredGroup, Update
from harness_plugins.trl.arguments import check_args, require_trl, trl_arguments
from harness_plugins.trl.configs import JudgeSeat, TrlGrpoConfig
from harness_plugins.trl.judged import JudgedSampling, prompt_text


class TrlGrpoUpdater:
    """Lets GRPOTrainer sample, with transformers, and train on the prompts of the groups.

    The completions that the groups already have are not used. GRPOTrainer takes prompts as text: a prompt's is its
    decoded token ids, and the update is refused unless the tokenizer turns it into the same ids again. Its schemas do
    not constrain the sampling. GRPOTrainer leaves out the prompts that fill no batch at the end of an epoch, and gives
    an unscored completion no part in its group's mean and no advantage.
    """

    def __init__(self, config: TrlGrpoConfig, context: RunContext) -> None:
        require_trl()
        from trl import GRPOConfig

        check_args(config.args, GRPOConfig, where="trl-grpo")
        self.config = config
        self.context = context
        self.bench = seat(config.judges, context)

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness.chat import load_generation_config, load_tokenizer, stop_ids
        from harness_plugins.trl.common import fit_with_trl

        if not groups:
            raise HarnessError("there are no prompts to train on", where="trl-grpo")
        sampling = self.sampling(groups)
        completions = self.config.n or max(len(scored.group.completions) for scored in groups)
        if completions < 2:
            raise ConfigError(
                "the groups have one completion a prompt, and GRPO compares at least two",
                where="trl-grpo",
                remedy="Set n, such as n = 8.",
            )
        path = self.context.require_model().path
        tokenizer = load_tokenizer(path)
        texts = [prompt_text(tokenizer, scored.group) for scored in groups]
        stops = stop_ids(tokenizer, load_generation_config(path))
        start = parent.version if parent else BASE_POLICY
        judged = JudgedSampling(self.bench, [scored.group for scored in groups], tokenizer, stops, sampling, start)

        def make_trainer(model: Any, tokenizer: Any, folder: str) -> Any:
            from datasets import Dataset
            from trl import GRPOConfig, GRPOTrainer

            args = trl_arguments(
                GRPOConfig,
                self.config,
                folder=folder,
                seed=seed,
                batch=min(self.config.groups_per_step, len(groups)) * completions,
                num_generations=completions,
                max_completion_length=sampling.max_tokens,
                temperature=sampling.temperature,
                remove_unused_columns=False,
            )
            model.generation_config.eos_token_id = sorted(stops)
            rows = [{"prompt": text, "group": index} for index, text in enumerate(texts)]
            return GRPOTrainer(
                model=model,
                reward_funcs=[judged.reward],
                args=args,
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
            )

        first = groups[0].group
        return fit_with_trl(
            self.context,
            self.config,
            make_trainer,
            parent=parent,
            out=out,
            seed=seed,
            probe_token_ids=first.prompt_token_ids + first.completions[0].token_ids,
            metrics=lambda: {"update/groups": float(len(groups)), **judged.metrics()},
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


def seat(judges: Sequence[JudgeSeat], context: RunContext) -> Bench:
    """The judges at work. Raises ConfigError when there are none, or when one is named twice."""
    names = [judge.name for judge in judges]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"a judge is named twice: {', '.join(names)}" if names else "GRPOTrainer samples, and no judge is named",
            where="trl-grpo",
            remedy='Name each judge once, such as judges = [{name = "exact"}].',
        )
    if context.components is None:
        raise ConfigError("judges cannot be made here", where="trl-grpo", remedy="Give the context its components.")
    made = {
        judge.name: context.components.create(
            "judge", judge.name, judge.config, context, where=f"trl-grpo, judge {judge.name}"
        )
        for judge in judges
    }
    return Bench(made, {judge.name: judge.weight for judge in judges})
