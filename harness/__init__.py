"""harness: evaluate, align, and promote language models on evidence.

Everything public is here and is loaded when first used, so that `import harness` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import LoopResult, Plan, evaluate, plan_loop, run_loop
    from harness.config import EvalConfig, GeneratorRef, LoopConfig
    from harness.errors import HarnessError
    from harness.hookspecs import hookimpl
    from harness.plugins import Registry, load_registry
    from harness.protocols import (
        Generator,
        Judge,
        JudgeUse,
        LossOutput,
        Objective,
        RunContext,
        SequenceBatch,
        Suite,
        Updater,
    )
    from harness.reward_functions import function_judge
    from harness.specs import Config, GeneratorSpec, JudgeSpec, NoConfig, ObjectiveSpec, SuiteSpec, UpdaterSpec
    from harness.types import (
        AdapterCheckpoint,
        Completion,
        EvalReport,
        GateDecision,
        Group,
        Prompt,
        Sampling,
        Score,
        ScoredGroup,
        Update,
    )

_HOMES = {
    "api": "LoopResult Plan evaluate plan_loop run_loop",
    "config": "EvalConfig GeneratorRef LoopConfig",
    "errors": "HarnessError",
    "reward_functions": "function_judge",
    "hookspecs": "hookimpl",
    "plugins": "Registry load_registry",
    "protocols": "Generator Judge JudgeUse LossOutput Objective RunContext SequenceBatch Suite Updater",
    "specs": "Config GeneratorSpec JudgeSpec NoConfig ObjectiveSpec SuiteSpec UpdaterSpec",
    "types": "AdapterCheckpoint Completion EvalReport GateDecision Group Prompt Sampling Score ScoredGroup Update",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"harness.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
