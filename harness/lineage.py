"""Where an adapter comes from: its model, each step of its training, and what the gate saw of each.

What is not known is None or empty here, and the model card says so.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import assets
from harness.api import find_suite
from harness.checkpoints import open_checkpoint
from harness.config import LoopConfig, Stage
from harness.data_step import handed_over
from harness.errors import HarnessError
from harness.identity import named_objectives
from harness.measuring import round_report
from harness.plugins import DISTRIBUTION, Registry, validate
from harness.protocols import ModelRef, RunContext
from harness.records import read_decision
from harness.sampling_step import derive_seed
from harness.store import RunStore
from harness.types import BASE_POLICY, digest


@dataclass(frozen=True)
class SuiteFacts:
    """A suite that was evaluated on or trained from. `license` is None where the suite cannot be looked at any more."""

    name: str
    version: str
    role: str
    license: str | None


@dataclass(frozen=True)
class Result:
    """One suite before and after a step: mean scores, and the gate's estimate of the change with its bounds."""

    suite: str
    role: str
    before: float | None
    after: float | None
    change: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Step:
    """One training of the adapter. `round` is None for one that no loop made, `outcome` where no gate has judged."""

    round: int | None
    updater: str
    config: Mapping[str, Any]
    source: str
    """What the completions are: `reference`, the name of the generator that sampled them, or that of a file or run."""
    prompts: Mapping[str, int]
    """Training prompts by suite; empty where no suite was drawn from."""
    groups: int
    completions: int | None
    parent: str
    version: str
    figures: Mapping[str, float]
    seed: int
    data_digest: str | None = None
    """Of the groups, as an adapter's own record has it, or of the file; what a run sampled is in the run's digest."""
    from_file: bool = False
    """Whether the completions are the rows of a file that a stage of a loop named."""
    outcome: str | None = None
    sentence: str = ""
    results: tuple[Result, ...] = ()

    @property
    def objectives(self) -> tuple[str, ...]:
        """The one that its settings name, and those that are parts of it."""
        return tuple(sorted(named_objectives(self.config)))


@dataclass(frozen=True)
class Lineage:
    """Everything that the model card says. `steps` are in the order of training; the last one made `version`."""

    version: str
    model: str
    fingerprint: str
    license: str | None
    """Of the base model, where it is known."""
    adapter: Mapping[str, Any]
    """The PEFT settings that the first step started from; empty where they are not known."""
    steps: tuple[Step, ...]
    suites: tuple[SuiteFacts, ...] = ()
    judges: Mapping[str, str] = field(default_factory=dict)
    """Origin (distribution and version) by name."""
    components: Mapping[str, str] = field(default_factory=dict)
    """The same for everything else that took part."""
    alpha: float | None = None
    confirmation: str = ""
    """What items that no round had seen said of it, where the loop asked them."""
    config_digest: str | None = None
    run: str | None = None
    run_digest: str | None = None
    trained_with: str | None = None
    """Version of harness."""
    exported_with: str = field(default_factory=lambda: importlib.metadata.version(DISTRIBUTION))


def run_lineage(store: RunStore, index: int, model: ModelRef, registry: Registry, context: RunContext) -> Lineage:
    """Of the adapter that round `index` of a run made: the promoted rounds before it, which it goes on from, and it."""
    identity = store.identity
    config = validate(LoopConfig, identity["config"], where=str(store.folder))
    promoted = {upto for upto in range(1, index) if store.incumbent_round(upto=upto) == upto}
    components = {name: str(origin) for name, origin in identity["components"].items()}
    steps = tuple(_round(store, i, config) for i in [*sorted(promoted), index])
    return Lineage(
        version=steps[-1].version,
        model=public_name(model.name),
        fingerprint=model.fingerprint,
        license=base_license(model.name),
        adapter=dict(config.adapter),
        steps=steps,
        suites=_suites(store, config, registry, context),
        judges={k.removeprefix("judge "): v for k, v in components.items() if k.startswith("judge ")},
        components={k: v for k, v in components.items() if not k.startswith("judge ")},
        alpha=config.gate.alpha,
        confirmation=_confirmation(store, index),
        config_digest=digest(identity["config"]),
        run=store.folder.resolve().name,
        run_digest=store.digest(),
        trained_with=identity["harness"],
    )


def _round(store: RunStore, index: int, config: LoopConfig) -> Step:
    stage = config.stage_of(index)
    groups = handed_over(store, index)
    done = [store.entry(index, step) for step in ("judge", "data", "update")]
    standing = store.incumbent_round(upto=index - 1)
    target = next(iter(store.identity["suites"]))
    decided = (index, "decision") in store.entries
    decision = store.load(index, "decision", read_decision) if decided else None
    return Step(
        round=index,
        updater=stage.updater,
        config=stage.config,
        source=_source(stage, config),
        data_digest=store.identity.get("data", {}).get(f"round {index}"),
        from_file=stage.data is not None,
        prompts={} if stage.data else {name or target: count for name, count, _ in config.sources(index)},
        groups=len(groups),
        completions=sum(len(group.rewards) for group in groups),
        parent=_version(store, standing) if standing else BASE_POLICY,
        version=_version(store, index),
        figures={name: value for entry in done if entry is not None for name, value in entry.data.items()},
        seed=derive_seed(config.seed, index),
        outcome=decision.outcome if decision else None,
        sentence=decision.sentence if decision else "",
        results=_results(store, index, standing) if decided else (),
    )


def _source(stage: Stage, config: LoopConfig) -> str:
    if stage.data is not None:
        return Path(stage.data).name
    return config.generator.name if stage.generator == "policy" else stage.generator


def _results(store: RunStore, index: int, standing: int) -> tuple[Result, ...]:
    before, after = (round_report(store, i) for i in (standing, index))
    checks = {check.name: check for check in store.load(index, "decision", read_decision).checks}
    results = []
    for suite in after.suites:
        earlier, check = before.suite(suite.suite), checks.get(f"{suite.role} {suite.suite} vs incumbent")
        bounds = (check.estimate, check.lower, check.upper) if check else (None, None, None)
        results.append(Result(suite.suite, suite.role, earlier.mean if earlier else None, suite.mean, *bounds))
    return tuple(results)


def _confirmation(store: RunStore, index: int) -> str:
    entry = store.entry(index, "confirmation")
    return str(entry.data["sentence"]) if entry else ""


def _version(store: RunStore, index: int) -> str:
    """Of a round's adapter."""
    return store.load(index, "update", open_checkpoint).version


def _suites(store: RunStore, config: LoopConfig, registry: Registry, context: RunContext) -> tuple[SuiteFacts, ...]:
    """The licence is not in the run, so it is taken from the suite where that is still the one of then."""
    facts = []
    named = zip(store.identity["suites"].items(), [config.suite, *config.beside], strict=True)
    for (name, stored), where in named:
        try:
            suite = find_suite(where, registry, context)
            found = suite.license if (suite.name, suite.version) == (name, stored["version"]) else None
        except HarnessError as error:
            context.progress.note(f"the licence of suite {name} is left open: {error}")
            found = None
        facts.append(SuiteFacts(name, stored["version"], stored["role"], found))
    return tuple(facts)


def alone_lineage(version: str, model: ModelRef, record: Mapping[str, Any] | None) -> Lineage:
    """Of an adapter by itself: what the `training.json` beside it says, or nothing."""
    steps: tuple[Step, ...] = ()
    components: Mapping[str, str] = {}
    if record is not None:
        rounds = "".join(f", round {index}" for index in record["rounds"])
        step = Step(
            round=None,
            updater=record["updater"],
            config=record["config"],
            source=Path(record["data"]).name + rounds,
            prompts={},
            groups=record["groups"],
            completions=None,
            parent=record["parent"],
            version=version,
            figures=record["metrics"],
            seed=record["seed"],
            data_digest=record["data_digest"],
        )
        steps, components = (step,), record["components"]
    return Lineage(
        version=version,
        model=public_name(model.name),
        fingerprint=model.fingerprint,
        license=base_license(model.name),
        adapter=record["adapter"] if record else {},
        steps=steps,
        components=components,
        trained_with=record["harness"] if record else None,
    )


def public_name(model: str) -> str:
    """A model's name as others know it: an asset's, a hub repository's, or of a folder its last part."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() or folder.is_absolute() else model.partition("@")[0]


def base_license(model: str) -> str | None:
    return next((asset.license for asset in assets.list_assets() if asset.name == model), None)
