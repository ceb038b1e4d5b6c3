"""Finding components: load plugins one by one, keep a broken one from hurting the others, and remember who gave what.

Installing a plugin never changes a run that does not name it: plugins add names, and a name claimed twice is an
error only for runs that use it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pluggy
from pydantic import ValidationError

from harness import hookspecs
from harness.errors import ConfigError, HarnessError, PluginError, did_you_mean
from harness.protocols import Objective, RunContext
from harness.specs import (
    CheckSpec,
    ComponentSpec,
    Config,
    ExporterSpec,
    Family,
    FilterSpec,
    GeneratorSpec,
    JudgeSpec,
    ObjectiveSpec,
    SuiteSpec,
    UpdaterSpec,
)

DISTRIBUTION = "harness-align"
BUILTINS = ("harness_plugins.plugin", "harness_judges.plugin", "harness_suites.plugin")
SPEC_OF_HOOK: Mapping[str, type[ComponentSpec[Any]]] = {
    "harness_register_generators": GeneratorSpec,
    "harness_register_judges": JudgeSpec,
    "harness_register_objectives": ObjectiveSpec,
    "harness_register_updaters": UpdaterSpec,
    "harness_register_suites": SuiteSpec,
    "harness_register_checks": CheckSpec,
    "harness_register_exporters": ExporterSpec,
    "harness_register_filters": FilterSpec,
}
KINDS = tuple(spec.kind for spec in SPEC_OF_HOOK.values())

log = logging.getLogger("harness")
M = TypeVar("M", bound=Config)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a component comes from: a distribution and version, or a local file and the digest of its text."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Entry:
    spec: ComponentSpec[Any]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """A plugin, or a part of one, that was left out, and why."""

    origin: Origin
    error: str

    def __str__(self) -> str:
        return f"plugin {self.origin.plugin} ({self.origin}): {self.error}"


@dataclass(frozen=True)
class Sources:
    """What a registry was loaded from, so that another process can load the same."""

    local_files: tuple[Path, ...] = ()
    disabled: tuple[str, ...] = ()
    third_party: bool = True


@dataclass
class Registry:
    """All components by kind and name. `problems` says what could not be loaded."""

    sources: Sources = field(default_factory=Sources)

    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager("harness"))
    problems: list[Problem] = field(default_factory=list)
    _entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.manager.add_hookspecs(hookspecs)

    # ------------------------------------------------------------ registration

    def add(self, plugin: Any, origin: Origin) -> None:
        """Register one plugin, all or nothing. Raises PluginError when it breaks the contract."""
        where = f"plugin {origin.plugin} ({origin})"
        if self.manager.is_registered(plugin):
            raise PluginError("the same module is already loaded as another plugin", where=where)
        try:
            self.manager.register(plugin, name=f"{origin.plugin}@{origin.distribution}")
            self.manager.check_pending()
            specs = list(self._specs(plugin))
        except (Exception, SystemExit) as error:  # a third party's code: whatever it raises is its own report
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise PluginError(_brief(error), where=where) from error
        for spec in specs:
            self._entries.setdefault((spec.kind, spec.name), []).append(Entry(spec, origin))

    def _specs(self, plugin: Any) -> Iterator[ComponentSpec[Any]]:
        for caller in self.manager.get_hookcallers(plugin) or ():
            if (expected := SPEC_OF_HOOK.get(caller.name)) is None:
                continue
            for implementation in caller.get_hookimpls():
                if implementation.plugin is not plugin:
                    continue
                specs: Any = implementation.function()
                for spec in specs:
                    if not isinstance(spec, expected):
                        raise PluginError(f"{caller.name} returned {type(spec).__name__}, not {expected.__name__}")
                    if not (isinstance(spec.config, type) and issubclass(spec.config, Config)):
                        raise PluginError(f"{spec.kind} {spec.name}: config must be a subclass of harness.Config")
                    yield spec

    # ------------------------------------------------------------ look-up

    def entries(self, kind: str | None = None) -> list[Entry]:
        found = [e for (k, _), es in self._entries.items() if kind in (None, k) for e in es]
        return sorted(found, key=lambda e: (KINDS.index(e.spec.kind), e.spec.name))

    def names(self, kind: str) -> list[str]:
        return sorted(name for k, name in self._entries if k == kind)

    def conflicts(self) -> list[str]:
        return [self._conflict(*key, entries) for key, entries in self._entries.items() if len(entries) > 1]

    def objective_family(self, name: str) -> Family:
        """The kind of data that this objective reads."""
        spec = self.get("objective", name).spec
        assert isinstance(spec, ObjectiveSpec)
        return spec.family

    def judge_families(self, name: str, config: Mapping[str, Any]) -> set[str]:
        """What the judge's verdicts come from: its own family or, of a judge whose settings have seats, those of the
        judges that take them."""
        from harness.seats import seats  # it stands on this module

        settings = self.config("judge", name, config)
        seated = [{s.family} if s.family else self.judge_families(s.name, s.config) for s in seats(settings)]
        spec = self.get("judge", name).spec
        own = spec.family(settings) if isinstance(spec, JudgeSpec) and spec.family is not None else None
        return set().union(*seated) or {own or name}

    def get(self, kind: str, name: str) -> Entry:
        """The component of that name. Raises PluginError if it is unknown or claimed twice."""
        entries = self._entries.get((kind, name), [])
        if not entries:
            broken = "".join(f" Not loaded: {problem}." for problem in self.problems)
            raise PluginError(f"unknown {kind} {name!r}", remedy=did_you_mean(name, self.names(kind)) + broken)
        if len(entries) > 1:
            raise PluginError(self._conflict(kind, name, entries), remedy="Leave one out with --disable-plugin.")
        return entries[0]

    @staticmethod
    def _conflict(kind: str, name: str, entries: Sequence[Entry]) -> str:
        claims = " and ".join(f"{e.origin} (plugin {e.origin.plugin})" for e in entries)
        return f"{kind} {name!r} is claimed by {claims}"

    def config(self, kind: str, name: str, config: Mapping[str, Any], *, where: str = "") -> Config:
        """The component's settings, checked and with defaults filled in."""
        return validate(self.get(kind, name).spec.config, config, where=where or f"{kind} {name}")

    def create(self, kind: str, name: str, config: Mapping[str, Any], context: RunContext, *, where: str = "") -> Any:
        """Make the component. Raises ConfigError for bad settings, naming field, value and remedy."""
        return self.get(kind, name).spec.create(self.config(kind, name, config, where=where), context)

    # ------------------------------------------------------------ observers

    def add_commands(self, cli: Any) -> None:
        """Let every plugin add its subcommands; one that raises is logged and the others still do."""
        for implementation in self.manager.hook.harness_register_commands.get_hookimpls():
            try:
                implementation.function(*(cli for _ in implementation.argnames))
            except (Exception, SystemExit):  # as with observers
                log.exception("commands of plugin %s failed", implementation.plugin_name)

    def notify(self, event: str, **arguments: Any) -> None:
        """Tell every observer; one that raises is logged and the others still hear it."""
        caller = getattr(self.manager.hook, event)
        for implementation in caller.get_hookimpls():
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception:  # observers look on: they must not be able to stop a run
                log.exception("observer %s of plugin %s failed", event, implementation.plugin_name)


def load_registry(
    *, local_files: Sequence[Path] = (), disabled: Sequence[str] = (), third_party: bool = True, builtins: bool = True
) -> Registry:
    """Built-ins, then installed plugins (entry-point group `harness`), then local files.

    An installed plugin that fails is recorded in `problems`; a local file was asked for, so its failure raises.
    `disabled` holds plugin or distribution names. Without `builtins` it holds what others brought: enough to list their
    commands.
    """
    registry = Registry(Sources(tuple(local_files), tuple(disabled), third_party))
    version = importlib.metadata.version(DISTRIBUTION)
    for module in BUILTINS if builtins else ():
        registry.add(importlib.import_module(module), Origin(module.partition(".")[0], DISTRIBUTION, version))
    for point in importlib.metadata.entry_points(group="harness") if third_party else ():
        distribution = point.dist
        origin = Origin(
            point.name, distribution.name if distribution else "unknown", distribution.version if distribution else "?"
        )
        if point.name in disabled or origin.distribution in disabled:
            continue
        try:
            plugin = point.load()
        except (Exception, SystemExit) as error:  # import runs a third party's code
            registry.problems.append(Problem(origin, f"import failed: {_brief(error)}"))
            continue
        try:
            registry.add(plugin, origin)
        except PluginError as error:
            registry.problems.append(Problem(origin, error.what))
    for file in local_files:
        registry.add(*_load_file(file))
    return registry


def _load_file(file: Path) -> tuple[Any, Origin]:
    module = load_module(file, where=f"--plugin {file}")
    return module, Origin(file.stem, str(file), hashlib.sha256(file.read_bytes()).hexdigest()[:12])


def load_module(file: Path, *, where: str) -> ModuleType:
    """Run a local Python file. Raises PluginError when there is none, or when it raises."""
    if not file.is_file():
        raise PluginError("no such file", where=where, remedy="Give the path of a Python file.")
    name = f"harness_local_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError("not a Python file", where=where, remedy="Give a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PluginError(f"import failed: {_brief(error)}", where=where, remedy="Mend the file.") from error
    return module


def make_objective(
    name: str, config: Mapping[str, Any], context: RunContext, family: Family | None = None
) -> Objective:
    """The objective of that name, for an updater or as a part of another objective. Raises ConfigError when the context
    has no registry, or when it is not of the `family` that is asked for."""
    if context.components is None:
        raise ConfigError(f"no registry to find objective {name!r} in", remedy="Set RunContext.components.")
    if family is not None and (found := context.components.objective_family(name)) != family:
        raise ConfigError(f"{name!r} is of family {found}, not {family}", where="objective", remedy="Name another.")
    objective: Objective = context.components.create("objective", name, config, context)
    return objective


def validate(model: type[M], values: Mapping[str, Any], *, where: str) -> M:
    """`model(**values)`, with pydantic's report turned into one line: where, field, value, remedy."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            remedy = did_you_mean(str(first["loc"][-1]), _fields_at(model, first["loc"]))
            raise ConfigError(f"unknown key {path!r}{more}", where=where, remedy=remedy) from None
        if first["type"] == "missing":
            raise ConfigError(f"{path} is missing{more}", where=where, remedy="Add it.") from None
        shown = repr(first["input"])
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{path or 'value'} = {shown}: {message}{more}", where=where, remedy="Correct it.") from None


def _fields_at(model: type[Config], path: Sequence[str | int]) -> list[str]:
    """Field names of the (possibly nested) model in which the last key of `path` was looked for."""
    import typing

    for key in path[:-1]:
        if not isinstance(key, str) or key not in model.model_fields:
            continue
        annotation = model.model_fields[key].annotation
        candidates = [annotation, *typing.get_args(annotation)]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, Config)]
        if not nested:
            return []
        model = nested[0]
    return [info.alias or name for name, info in model.model_fields.items()]


def _brief(error: BaseException) -> str:
    """One line that says what happened: pluggy puts the point of its reports last, everyone else first."""
    if isinstance(error, HarnessError):
        return error.what
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "; ".join(lines) if isinstance(error, pluggy.PluginValidationError) else "".join(lines[:1])
    return f"{type(error).__name__}: {text}".rstrip(": ")
