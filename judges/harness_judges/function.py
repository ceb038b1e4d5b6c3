"""The `function` judge: a Python function by its file or module, imported when a run uses it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, did_you_mean
from harness.plugins import load_module
from harness.protocols import Judge, RunContext
from harness.reward_functions import function_judge
from harness.store import artifact_digest
from harness_judges.settings import FunctionConfig, PythonObject

NAME = "function"
WHERE = "judge function"


def make(config: FunctionConfig, context: RunContext) -> Judge:
    """Raises ConfigError or PluginError where there is no such function, or its file cannot be imported."""
    spec = function_judge(load(config, callable, where=WHERE, what="function"), name=NAME)
    judge: Judge = spec.create(spec.config(), context)
    return judge


def load(config: PythonObject, fits: Callable[[Any], bool], *, where: str, what: str) -> Any:
    """What the settings name in a file or module. Raises ConfigError, for `where`, unless it `fits`: is a `what`."""
    if config.name is not None:
        module: Any = load_module(Path(config.path), where=where)
        name = config.name
    else:
        module_name, _, name = config.path.partition(":")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # import runs somebody's code
            raise ConfigError(
                f"{module_name} cannot be imported ({type(error).__name__}: {error})",
                where=where,
                remedy="Install the package that holds it, or mend it.",
            ) from error
    found = getattr(module, name, None)
    if not fits(found):
        own = [key for key, value in vars(module).items() if fits(value) and not key.startswith("_")]
        raise ConfigError(f"{config.path} has no {what} {name!r}", where=where, remedy=did_you_mean(name, own))
    return found


def content(config: PythonObject) -> str:
    """Digest of the file that is named, found without importing anything. What it imports is not covered."""
    file = Path(config.path) if config.name is not None else module_file(config.path.partition(":")[0])
    if not file.is_file():
        raise ConfigError("no such file", where=f"{WHERE}, {file}", remedy="Give the path of a Python file.")
    return artifact_digest(file)


def module_file(module: str) -> Path:
    """Where a module lies. `importlib.util.find_spec` would import the packages that it is in."""
    parts = module.split(".")
    folders: Any = None
    found: ModuleSpec | None = None
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        specs = (finder.find_spec(name, folders) for finder in sys.meta_path)
        found = next((spec for spec in specs if spec is not None), None)
        if found is None:
            break
        folders = found.submodule_search_locations
    if found is None or not found.has_location or found.origin is None:
        raise ConfigError(
            f"there is no module {module}", where=WHERE, remedy="Install the package that holds it, or name a file."
        )
    return Path(found.origin)
