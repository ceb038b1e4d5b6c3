"""A suite from a task: which kind it is of, how it is judged, and how answers are drawn."""

from __future__ import annotations

from typing import Any

from harness.errors import ConfigError, did_you_mean
from harness.protocols import JudgeUse, Progress, RunContext, Suite
from harness.types import Prompt, Sampling
from harness_suites.lm_eval.settings import TaskConfig
from harness_suites.lm_eval.task import ROLLING, load_task, prompts_of, where_of

NORMALIZE = {"acc": "none", "acc_norm": "characters", "acc_bytes": "bytes"}
"""The package's metrics of choices, as the judge `choice` calls them."""

SAMPLING = {"do_sample", "until", "max_gen_toks", "temperature", "top_p", "top_k", "min_p"}


def build(
    progress: Progress, task: str, num_fewshot: int | None = None, chat: bool = False
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """The items of a task, for a suite.toml of one's own; there are none to train on. Its `kind` must be that of the
    task: "generate" for generate_until, else "likelihood"."""
    return (), prompts_of(task, num_fewshot=num_fewshot, chat=chat)


def make_suite(config: TaskConfig, context: RunContext) -> Suite:
    task = load_task(config.task)
    generates = task.OUTPUT_TYPE == "generate_until"
    return Suite(
        name=where_of(task.task_name),
        version=str(task.VERSION),
        role="regression",
        kind="generate" if generates else "likelihood",
        items=prompts_of(config.task, num_fewshot=config.num_fewshot, chat=config.chat),
        judges=(_judge(task, config),),
        sampling=_sampling(task) if generates else Sampling(),
        summary=f"lm-evaluation-harness: {task.task_name} ({task.OUTPUT_TYPE})",
    )


def _judge(task: Any, config: TaskConfig) -> JudgeUse:
    if task.OUTPUT_TYPE == "generate_until":
        return JudgeUse("lm_eval", {"task": config.task, "metric": config.metric}, use="eval")
    known = list(NORMALIZE) if task.OUTPUT_TYPE == "multiple_choice" else []
    metric = config.metric or next((name for name in task.aggregation() if name in known), None)
    if known and metric in known:
        return JudgeUse("choice", {"normalize": NORMALIZE[metric]}, use="eval")
    if known or metric is not None:
        raise ConfigError(
            f"metric {metric!r} cannot be had from log-probabilities of given texts"
            if metric
            else f"none of its metrics is one of {', '.join(known)}",
            where=where_of(config.task),
            remedy=did_you_mean(metric or "", known) if known else "Leave metric out: the likelihood itself is taken.",
        )
    return JudgeUse("likelihood", {"per": "byte" if task.OUTPUT_TYPE == ROLLING else "token"}, use="eval")


def _sampling(task: Any) -> Sampling:
    """The task's generation settings. What it is stopped by is cut off by the judge."""
    from lm_eval.models.utils import normalize_gen_kwargs

    given = normalize_gen_kwargs(task.config.generation_kwargs)
    if unknown := sorted(set(given) - SAMPLING):
        raise ConfigError(
            f"answers cannot be drawn with {', '.join(unknown)}",
            where=where_of(task.task_name),
            remedy="Leave it out of generation_kwargs, in a YAML file of your own.",
        )
    drawn = {key: given[key] for key in ("top_p", "top_k", "min_p") if key in given and given["do_sample"]}
    temperature = float(given.get("temperature", 1.0)) if given["do_sample"] else 0.0
    return Sampling(temperature=temperature, max_tokens=given["max_gen_toks"], **drawn)
