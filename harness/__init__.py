"""harness: evaluate, align, and promote language models on evidence.

Everything public is here and is loaded when first used, so that `import harness` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        LoopResult as LoopResult,
        Plan as Plan,
        evaluate as evaluate,
        plan_loop as plan_loop,
        run_loop as run_loop,
    )
    from harness.config import (
        EvalConfig as EvalConfig,
        GeneratorRef as GeneratorRef,
        LoopConfig as LoopConfig,
    )
    from harness.errors import (
        HarnessError as HarnessError,
    )
    from harness.reward_functions import (
        function_judge as function_judge,
    )
    from harness.hookspecs import (
        hookimpl as hookimpl,
    )
    from harness.plugins import (
        Registry as Registry,
        load_registry as load_registry,
    )
    from harness.protocols import (
        Generator as Generator,
        Judge as Judge,
        JudgeUse as JudgeUse,
        LossOutput as LossOutput,
        Objective as Objective,
        RunContext as RunContext,
        SequenceBatch as SequenceBatch,
        Suite as Suite,
        Updater as Updater,
    )
    from harness.specs import (
        Config as Config,
        GeneratorSpec as GeneratorSpec,
        JudgeSpec as JudgeSpec,
        NoConfig as NoConfig,
        ObjectiveSpec as ObjectiveSpec,
        SuiteSpec as SuiteSpec,
        UpdaterSpec as UpdaterSpec,
    )
    from harness.types import (
        AdapterCheckpoint as AdapterCheckpoint,
        Completion as Completion,
        EvalReport as EvalReport,
        GateDecision as GateDecision,
        Group as Group,
        Prompt as Prompt,
        Sampling as Sampling,
        Score as Score,
        ScoredGroup as ScoredGroup,
        Update as Update,
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
