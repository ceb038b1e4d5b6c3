"""harness: evaluate, align, and promote language models on evidence.

Everything public is here and is loaded when first used, so that `import harness` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        LoopResult as LoopResult,
    )
    from harness.api import (
        Plan as Plan,
    )
    from harness.api import (
        plan_loop as plan_loop,
    )
    from harness.api import (
        run_loop as run_loop,
    )
    from harness.comparison import (
        Candidate as Candidate,
    )
    from harness.comparison import (
        Comparison as Comparison,
    )
    from harness.comparison import (
        compare as compare,
    )
    from harness.config import (
        EvalConfig as EvalConfig,
    )
    from harness.config import (
        GeneratorRef as GeneratorRef,
    )
    from harness.config import (
        LoopConfig as LoopConfig,
    )
    from harness.data.record import (
        Answer as Answer,
    )
    from harness.data.record import (
        Flaw as Flaw,
    )
    from harness.data.record import (
        Record as Record,
    )
    from harness.errors import (
        HarnessError as HarnessError,
    )
    from harness.evaluating import (
        evaluate as evaluate,
    )
    from harness.export import (
        export_model as export_model,
    )
    from harness.hookspecs import (
        hookimpl as hookimpl,
    )
    from harness.plugins import (
        Registry as Registry,
    )
    from harness.plugins import (
        load_registry as load_registry,
    )
    from harness.protocols import (
        Exporter as Exporter,
    )
    from harness.protocols import (
        Filter as Filter,
    )
    from harness.protocols import (
        Generator as Generator,
    )
    from harness.protocols import (
        Judge as Judge,
    )
    from harness.protocols import (
        JudgeUse as JudgeUse,
    )
    from harness.protocols import (
        LossOutput as LossOutput,
    )
    from harness.protocols import (
        Objective as Objective,
    )
    from harness.protocols import (
        RunContext as RunContext,
    )
    from harness.protocols import (
        SequenceBatch as SequenceBatch,
    )
    from harness.protocols import (
        Suite as Suite,
    )
    from harness.protocols import (
        SurveyingFilter as SurveyingFilter,
    )
    from harness.protocols import (
        Updater as Updater,
    )
    from harness.reward_functions import (
        function_judge as function_judge,
    )
    from harness.specs import (
        Config as Config,
    )
    from harness.specs import (
        ExporterSpec as ExporterSpec,
    )
    from harness.specs import (
        FilterSpec as FilterSpec,
    )
    from harness.specs import (
        GeneratorSpec as GeneratorSpec,
    )
    from harness.specs import (
        JudgeSeat as JudgeSeat,
    )
    from harness.specs import (
        JudgeSpec as JudgeSpec,
    )
    from harness.specs import (
        NoConfig as NoConfig,
    )
    from harness.specs import (
        ObjectiveSpec as ObjectiveSpec,
    )
    from harness.specs import (
        SuiteSpec as SuiteSpec,
    )
    from harness.specs import (
        UpdaterSpec as UpdaterSpec,
    )
    from harness.suite_checks import (
        Finding as Finding,
    )
    from harness.suite_checks import (
        validate_suite as validate_suite,
    )
    from harness.train import (
        Trained as Trained,
    )
    from harness.train import (
        train_adapter as train_adapter,
    )
    from harness.types import (
        AdapterCheckpoint as AdapterCheckpoint,
    )
    from harness.types import (
        Completion as Completion,
    )
    from harness.types import (
        EvalReport as EvalReport,
    )
    from harness.types import (
        GateDecision as GateDecision,
    )
    from harness.types import (
        Group as Group,
    )
    from harness.types import (
        Prompt as Prompt,
    )
    from harness.types import (
        Sampling as Sampling,
    )
    from harness.types import (
        Score as Score,
    )
    from harness.types import (
        ScoredGroup as ScoredGroup,
    )
    from harness.types import (
        Update as Update,
    )

_HOMES = {
    "api": "LoopResult Plan plan_loop run_loop",
    "comparison": "Candidate Comparison compare",
    "config": "EvalConfig GeneratorRef LoopConfig",
    "data.record": "Answer Flaw Record",
    "errors": "HarnessError",
    "reward_functions": "function_judge",
    "evaluating": "evaluate",
    "export": "export_model",
    "hookspecs": "hookimpl",
    "plugins": "Registry load_registry",
    "protocols": "Exporter Filter Generator Judge JudgeUse LossOutput Objective RunContext SequenceBatch Suite "
    "SurveyingFilter Updater",
    "specs": "Config ExporterSpec FilterSpec GeneratorSpec JudgeSeat JudgeSpec NoConfig ObjectiveSpec SuiteSpec "
    "UpdaterSpec",
    "suite_checks": "Finding validate_suite",
    "train": "Trained train_adapter",
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
