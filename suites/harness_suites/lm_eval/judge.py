"""The `lm_eval` judge: a task's own filters and metrics, on answers that were generated."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, PluginError, did_you_mean
from harness.training_data import file_digest
from harness.types import Group, Prompt, Score, digest
from harness_suites.lm_eval.settings import ResultConfig
from harness_suites.lm_eval.task import is_file, load_task, where_of

NAME = "lm_eval"


class LmEvalJudge:
    """What `process_results` of the task says of an answer that is cut where the task stops it, and passed through the
    task's filter. Only metrics that are a share of 1 for a single item can be taken, and more of them must be better.
    """

    def __init__(self, config: ResultConfig) -> None:
        self.task = load_task(config.task)
        self.where = where_of(config.task)
        if self.task.OUTPUT_TYPE != "generate_until":
            raise ConfigError(
                f"its output is {self.task.OUTPUT_TYPE}: there is no answer to score",
                where=self.where,
                remedy="Use the judges choice or likelihood.",
            )
        metrics = list(self.task.aggregation())
        self.metric = config.metric or metrics[0]
        if self.metric not in metrics:
            remedy = did_you_mean(self.metric, metrics)
            raise ConfigError(f"the task has no metric {self.metric!r}", where=self.where, remedy=remedy)
        if self.task.higher_is_better().get(self.metric) is False:
            raise ConfigError(f"less of {self.metric} is better", where=self.where, remedy="Name another metric.")
        filters = {ensemble.name: ensemble for ensemble in self.task._filters}
        self.filter = config.filter or next(iter(filters))
        if self.filter not in filters:
            remedy = did_you_mean(self.filter, list(filters))
            raise ConfigError(f"the task has no filter {self.filter!r}", where=self.where, remedy=remedy)
        self._ensemble = filters[self.filter]

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(self._score(group.prompt, c.text) for c in group.completions) for group in groups]

    def _score(self, prompt: Prompt, text: str) -> Score:
        doc = json.loads(prompt.target or "{}").get("doc")
        if doc is None:
            return Score.abstained(NAME, "the item is not of a task of lm-evaluation-harness")
        results = self.results(doc, text)
        value = results.get(self.metric)
        if not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
            raise PluginError(
                f"metric {self.metric} of item {prompt.id} is {value!r}, which is no share of 1",
                where=self.where,
                remedy="Name another metric, one that says something of a single item.",
            )
        why = ", ".join(f"{name} {found}" for name, found in results.items())
        label = {0.0: "wrong", 1.0: "ok"}.get(float(value), "partly")
        return Score(NAME, float(value), label=label, explanation=f"{why} (filter {self.filter})")

    def results(self, doc: Mapping[str, Any], text: str) -> Mapping[str, Any]:
        """The task's metrics of one answer, by name."""
        from lm_eval.api.instance import Instance
        from lm_eval.models.utils import postprocess_generated_text

        cut = postprocess_generated_text(text, self.task.config.generation_kwargs["until"], None)
        request = Instance("generate_until", doc, ("", {}), 0, (self.task.task_name, 0, 1), resps=[cut])
        self._ensemble.apply([request])
        found: Mapping[str, Any] = self.task.process_results(doc, [request.filtered_resps[self.filter]])
        return found


def content(config: ResultConfig) -> str:
    """Of the package's version, and of the task's file where it has one."""
    load_task(config.task)  # which says what to do where the package is missing
    version = importlib.metadata.version("lm_eval")
    return digest([version, file_digest(Path(config.task)) if is_file(config.task) else ""])
