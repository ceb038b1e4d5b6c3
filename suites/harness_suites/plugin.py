"""The built-in suites, registered as any third party's would be."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.hookspecs import hookimpl
from harness.protocols import Judge, RunContext, Suite
from harness.specs import JudgeSpec, SuiteSpec
from harness.suites import folder_spec
from harness_suites.lm_eval.settings import ResultConfig, TaskConfig

_HERE = Path(__file__).parent


@hookimpl
def harness_register_suites() -> Iterable[SuiteSpec]:
    tasks = ("tool_calls", "tool_calls_live", "structured_output", "grounded_qa", "instruction_following", "chat")
    kept = ("general", "perplexity", "refusal", "over_refusal", "jailbreak", "incidents")
    bridge = SuiteSpec("lm_eval", "lm_eval:TASK, any task of lm-evaluation-harness", _lm_eval_suite, TaskConfig)
    return [*(folder_spec(_HERE / name) for name in tasks + kept), bridge]


@hookimpl
def harness_register_judges() -> Iterable[JudgeSpec]:
    return [
        JudgeSpec(
            "lm_eval",
            "What does the task's own scoring in lm-evaluation-harness say?",
            _lm_eval_judge,
            ResultConfig,
            content=_lm_eval_content,
            deterministic=True,
        )
    ]


def _lm_eval_suite(config: Any, context: RunContext) -> Suite:
    suite: Suite = import_module("harness_suites.lm_eval.build").make_suite(config, context)
    return suite


def _lm_eval_judge(config: Any, context: RunContext) -> Judge:
    judge: Judge = import_module("harness_suites.lm_eval.judge").LmEvalJudge(config)
    return judge


def _lm_eval_content(config: Any) -> str:
    found: str = import_module("harness_suites.lm_eval.judge").content(config)
    return found
