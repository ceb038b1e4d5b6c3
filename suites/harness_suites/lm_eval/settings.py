"""Settings of the bridge. Importing this does not import lm-evaluation-harness."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt

from harness.specs import Config


class TaskConfig(Config):
    """A task as a suite. `lm_eval:TASK` is short for the first of these settings."""

    task: str = Field(min_length=1)
    """A task of the package, or the path of a task's YAML file (it ends in .yaml or .yml)."""
    num_fewshot: NonNegativeInt | None = None
    """Examples before each question. Default: the task's own, else none."""
    chat: bool = False
    """Ask for choices through the model's chat template; what is generated is always asked for so."""
    metric: str | None = None
    """Default: the first of the task's metrics that says something of a single item."""


class ResultConfig(Config):
    """What the task's own scoring says of an answer that was generated."""

    task: str = Field(min_length=1)
    """As in the suite."""
    metric: str | None = None
    """Default: the task's first."""
    filter: str | None = None
    """The task's filter that the answer passes through. Default: its first."""
