"""Evaluations of tiny suites by a scripted generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import evaluating
from harness.config import EvalConfig, GeneratorRef
from harness.eval_plan import EvalPlan, plan_evaluation
from harness.plugins import load_registry
from harness.protocols import SilentProgress

SCRIPT = {"default": ["a", "b", "c"], "pick": "random"}
REGISTRY = load_registry(third_party=False)


def planned(suites: list[Path], model: Path, *, script: dict[str, Any] | None = None, **options: Any) -> EvalPlan:
    config = EvalConfig(epochs=3, temperature=1.0)
    generator = GeneratorRef(name="scripted", config=script or SCRIPT)
    named = {"model": str(model), "generator": generator, "config": config, **options}
    return plan_evaluation([str(suite) for suite in suites], registry=REGISTRY, **named)


def run(folder: Path, plan: EvalPlan, **options: Any) -> evaluating.Evaluated:
    [done] = evaluating.run_evaluations({folder: plan}, registry=REGISTRY, progress=SilentProgress(), **options)
    return done
