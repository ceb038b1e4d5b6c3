"""What a run is: everything that its outcome depends on, by content where it has any."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config import DataConfig, EvalConfig, LoopConfig, Stage
from harness.evaluation import suite_fingerprint
from harness.independence import uses_for
from harness.judging import judges_fingerprint
from harness.plugins import DISTRIBUTION, Registry
from harness.protocols import ModelRef, Suite
from harness.seats import named_generators, named_judges, seat_identities
from harness.training_data import file_digest
from harness.types import Prompt, digest


def run_identity(config: LoopConfig, suites: Sequence[Suite], model: ModelRef, registry: Registry) -> dict[str, Any]:
    """What a run is: two runs with equal identities are the same run. It covers the content of what is named."""
    named = {("generator", name) for name in named_generators(config.generator.name, config.generator.config, registry)}
    for stage in config.stages:
        named |= {("updater", stage.updater)} | {("objective", name) for name in named_objectives(stage.config)}
        named |= {("judge", name) for name in named_judges("updater", stage.updater, stage.config, registry)}
        if stage.data is not None and not stage.data.endswith(".parquet"):
            named.add(("generator", "reference"))  # which tokenizes the rows
        elif stage.generator != "policy":
            named.add(("generator", stage.generator))
    named |= {("filter", use.name) for use in config.data.filters}
    for use in (use for suite in suites for use in suite.judges):
        named |= {("judge", name) for name in named_judges("judge", use.name, use.config, registry)}
    stages = [_relocatable(stage) for stage in config.stages]
    rounds = [(index, config.stage_of(index).data) for index in range(1, config.rounds + 1)]
    settings = config.model_copy(update={"stages": stages}).model_dump(mode="json")
    if config.data == DataConfig():  # a run is what it was before there was such a section
        del settings["data"]
    del settings["judging"]["max_failed"]  # a limit that was reached may be raised to go on
    return {
        "config": settings,
        "contents": _contents(config, registry),
        "data": {f"round {index}": file_digest(Path(data)) for index, data in rounds if data is not None},
        "model": model.fingerprint,
        "suites": {s.name: suite_identity(s, registry, config.eval) for s in suites},
        "components": {f"{kind} {name}": str(registry.get(kind, name).origin) for kind, name in sorted(named)},
        "harness": importlib.metadata.version(DISTRIBUTION),
    }


def _contents(config: LoopConfig, registry: Registry) -> dict[str, str]:
    """Digests of the files that settings name, and of the judges that updaters seat: other content under the same path
    would be another run."""
    found = {}
    for number, stage in enumerate(config.stages):
        spec = registry.get("updater", stage.updater).spec
        settings = registry.config("updater", stage.updater, stage.config)
        if spec.content is not None:
            found[f"stages.{number}"] = spec.content(settings)
        if seated := seat_identities(settings, registry):
            found[f"stages.{number}.judges"] = digest(seated)
    for number, use in enumerate(config.data.filters):
        spec = registry.get("filter", use.name).spec
        if spec.content is not None:
            found[f"data.filters.{number}"] = spec.content(registry.config("filter", use.name, use.config))
    if config.launcher is not None and config.launcher.config_file is not None:
        found["launcher"] = file_digest(config.launcher.config_file)
    for path in config.gate.calibrations:
        found[f"gate.calibrations {path.name}"] = file_digest(path)
    return {name: content for name, content in found.items() if content}


def _relocatable(stage: Stage) -> Stage:
    """The stage with the bare name of its file: the file's content is what counts, wherever it lies."""
    return stage if stage.data is None else stage.model_copy(update={"data": Path(stage.data).name})


def named_objectives(config: Any) -> set[str]:
    """Every objective that an updater's settings name, those that are parts of others too."""
    if isinstance(config, Mapping):
        own = {config["objective"]} if isinstance(config.get("objective"), str) else set()
        return own.union(*map(named_objectives, config.values()))
    return set().union(*map(named_objectives, config)) if isinstance(config, (list, tuple)) else set()


def suite_identity(suite: Suite, registry: Registry, config: EvalConfig) -> dict[str, Any]:
    """Everything about a suite that a round's samples, rewards or decision depend on."""
    gold = uses_for(suite, "gold")
    return {
        "version": suite.version,
        "role": suite.role,
        "margins": [suite.margin, suite.anchor_margin, suite.floor],
        "rule": suite.rule,
        "items": digest([suite_fingerprint(suite, registry, config), [i.cluster or i.id for i in suite.items]])[:16],
        "train": digest(
            [[_content(prompt) for prompt in suite.train], judges_fingerprint(uses_for(suite, "train"), registry)]
        )[:16],
        **({"gold": judges_fingerprint(gold, registry)[:16]} if gold else {}),
    }


def _content(prompt: Prompt) -> list[Any]:
    return [prompt.id, prompt.hash, dict(prompt.metadata)]
