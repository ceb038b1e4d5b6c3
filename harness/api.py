"""The verbs as typed calls: everything the command line does, for scripts and notebooks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from harness import assets
from harness.config import DEFAULTS, GeneratorRef, LoopConfig, apply_sets, merge
from harness.errors import ConfigError, HarnessError, StoreError
from harness.identity import run_identity
from harness.launching import make_updater
from harness.loop import Incumbent, Loop, as_target
from harness.measuring import slug
from harness.plugins import Registry, load_registry, validate
from harness.protocols import Generator, ModelRef, Progress, RunContext, SilentProgress, Suite
from harness.sampler import Sampler
from harness.seats import explicit_generator
from harness.separation import training_files, without_excluded, without_leaks
from harness.specs import GeneratorSpec
from harness.store import RunStore
from harness.suites import load_suite, with_judge_settings
from harness.toml_files import read_toml
from harness.types import digest
from harness.validation import check_loop

RUNS = Path("runs")


@dataclass(frozen=True)
class Plan:
    """A loop, resolved: every default filled in, every name looked up, nothing started."""

    config: LoopConfig
    suites: tuple[Suite, ...]
    model: ModelRef
    identity: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The run's default name: the same settings give the same name, so the same command finds its run again."""
        return f"{slug(Path(self.config.suite).name)}-{digest(self.identity)[:8]}"

    @property
    def toml(self) -> str:
        return tomli_w.dumps(_without_none(self.config.model_dump(mode="json")))


@dataclass(frozen=True)
class LoopResult:
    """How a loop ended. `already_finished`: nothing was left to do."""

    folder: Path
    incumbent: Incumbent
    outcomes: tuple[str, ...]
    digest: str
    already_finished: bool = field(default=False)
    confirmation: str = ""
    """What fresh items said of what was promoted: `promoted` (confirmed), `inconclusive`, `rejected` (refuted and
    rolled back), or "" where none were kept back or nothing was promoted."""


# ---------------------------------------------------------------- the loop


def plan_loop(
    config: Mapping[str, Any] | Path | None = None,
    *,
    sets: Sequence[str] = (),
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Resolve a config (a mapping, a TOML file, or None) with `sets` (`key=value` strings, which win).

    Fetches the model and the suites' data where they are not cached. Raises HarnessError for anything that is wrong.
    """
    registry = registry or load_registry()
    progress = progress or SilentProgress()
    where = str(config) if isinstance(config, Path) else "config"
    given = read_toml(config) if isinstance(config, Path) else dict(config or {})
    head = apply_sets(merge(given), [text for text in sets if text.partition("=")[0].strip() == "suite"])
    if not isinstance(head.get("suite"), str):
        raise ConfigError("no suite is named", where=where, remedy="Give one with --suite; see `harness suites`.")
    target = as_target(find_suite(head["suite"], registry, RunContext(progress=progress)))
    values = _layers([DEFAULTS, target.recipe, given], sets)
    folder = config.parent if isinstance(config, Path) else Path()
    resolved = _resolve_names(validate(LoopConfig, values, where=where), registry, folder)
    context = RunContext(progress=progress, seed=resolved.seed, components=registry)
    beside = (find_suite(name, registry, context) for name in resolved.beside)
    suites = with_judge_settings((target, *beside), resolved.judges)
    files = training_files(resolved, context)
    suites = without_excluded(resolved, suites, files)
    check_loop(resolved, suites, registry, context)
    suites = without_leaks(resolved, suites, files, progress)
    model = assets.model(resolved.model, progress)
    return Plan(resolved, suites, model, run_identity(resolved, suites, model, registry))


def run_loop(
    config: Plan | Mapping[str, Any] | Path,
    *,
    runs: Path = RUNS,
    run: str | None = None,
    resume: bool = False,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> LoopResult:
    """Run (or continue, or find finished) a loop in `runs/run`. Raises StoreError when an unfinished run is there and
    `resume` is False, or when it was started with other settings."""
    registry = registry or load_registry()
    progress = progress or SilentProgress()
    plan = config if isinstance(config, Plan) else plan_loop(config, registry=registry, progress=progress)
    folder = Path(runs) / (run or plan.name)
    store = _open_store(folder, plan, resume)
    finished = store.finished(plan.config.rounds)
    context = RunContext(
        model=plan.model,
        seed=plan.config.seed,
        adapter=plan.config.adapter,
        progress=progress,
        components=registry,
        run=folder,
    )
    for number, stage in enumerate(plan.config.stages):  # refuses settings that only the updater itself understands
        where = f"stages.{number}.config"
        make_updater(registry, stage.updater, stage.config, context, plan.config.launcher, where=where)
    sampler = Sampler(lambda: start_generator(plan.config.generator, registry, context))
    with store.lock(), closing(sampler):
        before = len(store.entries)
        incumbent = Loop(plan.config, plan.suites, store, registry, context, sampler).run()
    finished = finished and len(store.entries) == before  # what was promoted may have waited for its confirmation
    if not finished:
        registry.notify("harness_loop_finished", run=folder.name, incumbent=incumbent.version)
    outcomes = tuple(store.entries[i, "commit"].data["outcome"] for i in range(1, store.committed() + 1))
    said = [entry.data["outcome"] for (_, step), entry in store.entries.items() if step == "confirmation"]
    return LoopResult(folder, incumbent, outcomes, store.digest(), finished, "".join(said))


def _open_store(folder: Path, plan: Plan, resume: bool) -> RunStore:
    if not RunStore.exists(folder):
        return RunStore.create(folder, plan.identity, plan.toml)
    store = RunStore.open(folder)
    store.require_identity(plan.identity)
    if not store.finished(plan.config.rounds) and not resume:
        raise StoreError(
            f"this run is unfinished ({max(store.committed(), 0)} of {plan.config.rounds} rounds)",
            where=str(folder),
            remedy="Continue it with --resume, or start another with --run NAME.",
        )
    return store


# ---------------------------------------------------------------- resolving


def find_suite(name: str, registry: Registry, context: RunContext) -> Suite:
    """A suite by plugin name, or by folder if the name has a path separator or is a folder with a suite.toml.

    `PLUGIN:TASK` is a suite that its plugin makes from the setting `task`, of whatever others know by that name.
    """
    folder = Path(name)
    plugin, colon, task = name.partition(":")
    if colon and "/" not in plugin:
        made: Suite = registry.create("suite", plugin, {"task": task}, context, where=f"suite {name}")
        return made
    if "/" in name or (folder / "suite.toml").is_file():
        return load_suite(folder, context.progress)
    suite: Suite = registry.create("suite", name, {}, context)
    return suite


def _layers(layers: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> dict[str, Any]:
    """Later layers win, `sets` last. An adapter of another `peft_type` replaces earlier ones, whose fields it lacks."""
    values = apply_sets(merge(*layers), sets)
    adapter = values.get("adapter")
    chosen = adapter.get("peft_type") if isinstance(adapter, dict) else None
    fitting = [
        {
            k: v
            for k, v in layer.items()
            if k != "adapter" or not isinstance(v, Mapping) or v.get("peft_type", chosen) == chosen
        }
        for layer in layers
    ]
    return apply_sets(merge(*fitting), sets)


def _resolve_names(config: LoopConfig, registry: Registry, folder: Path) -> LoopConfig:
    """`auto`, paths (from `folder`) and every component's defaults made explicit: what is stored is what ran."""
    generator = resolve_generator(config.generator)
    written = explicit_generator(generator.name, generator.config, registry, where="[generator]")
    generator = GeneratorRef(name=generator.name, config=written)
    stages = []
    for number, stage in enumerate(config.stages):
        if stage.generator != "policy":
            registry.get("generator", stage.generator)
        settings = registry.config("updater", stage.updater, stage.config, where=f"stages.{number}.config")
        data = None if stage.data is None else str((folder / stage.data).resolve())
        stages.append(stage.model_copy(update={"config": settings.model_dump(mode="json"), "data": data}))
    uses = []
    for number, use in enumerate(config.data.filters):
        settings = registry.config("filter", use.name, use.config, where=f"data.filters.{number}.config")
        uses.append(use.model_copy(update={"config": settings.model_dump(mode="json")}))
    chosen = config.data.model_copy(update={"filters": uses})
    return config.model_copy(update={"generator": generator, "stages": stages, "data": chosen})


def resolve_generator(generator: GeneratorRef) -> GeneratorRef:
    """With what `auto` stands for on this machine."""
    if generator.name != "auto":
        return generator
    name = "vllm" if importlib.util.find_spec("vllm") else "transformers"
    return GeneratorRef(name=name, config=generator.config)


def policy_model(name: str, ref: GeneratorRef, registry: Registry, progress: Progress) -> ModelRef:
    """The model that this generator samples: on this machine, unless the generator says that a server holds it."""
    spec = registry.get("generator", ref.name).spec
    if isinstance(spec, GeneratorSpec) and spec.served is not None:
        return spec.served(registry.config("generator", ref.name, ref.config, where="[generator]"), name)
    return assets.model(name, progress)


def start_generator(ref: GeneratorRef, registry: Registry, context: RunContext) -> Generator:
    generator: Generator = registry.create("generator", ref.name, ref.config, context, where="[generator]")
    return generator


def _without_none(value: Any) -> Any:
    """TOML has no null; a key that is left out means the same."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


__all__ = ["HarnessError", "LoopResult", "Plan", "find_suite", "plan_loop", "run_loop"]
