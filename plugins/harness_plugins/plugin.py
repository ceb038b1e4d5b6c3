"""What this package registers. Nothing heavy is imported until a run names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from harness.hookspecs import hookimpl
from harness.protocols import Generator, Objective, RunContext, Updater
from harness.specs import GeneratorSpec, NoConfig, ObjectiveSpec, UpdaterSpec
from harness_plugins.configs_generators import ScriptedConfig, TransformersConfig, VllmConfig
from harness_plugins.configs_training import ClippedConfig, DapoConfig, GroupConfig, SftConfig


@hookimpl
def harness_register_generators() -> Iterable[GeneratorSpec]:
    return [
        GeneratorSpec("vllm", "vLLM in this process, on CPU or CUDA", _vllm, VllmConfig),
        GeneratorSpec("transformers", "transformers, one prefill a group", _transformers, TransformersConfig),
        GeneratorSpec("reference", "Gold answers as completions: demonstrations", _reference),
        GeneratorSpec("scripted", "Answers from its settings, for tests", _scripted, ScriptedConfig),
    ]


@hookimpl
def harness_register_objectives() -> Iterable[ObjectiveSpec]:
    return [
        ObjectiveSpec("nll", "Negative log-likelihood of the completion", _nll, family="sft"),
        ObjectiveSpec("grpo", "Clipped surrogate, mean per completion", _objective("grpo", "Grpo"), ClippedConfig),
        ObjectiveSpec("dr_grpo", "GRPO without its length bias", _objective("grpo", "DrGrpo"), ClippedConfig),
        ObjectiveSpec("dapo", "GRPO by token, higher upper clip", _objective("grpo", "Dapo"), DapoConfig),
        ObjectiveSpec("rloo", "REINFORCE, leave-one-out, by sequence", _objective("rloo", "Rloo"), ClippedConfig),
    ]


@hookimpl
def harness_register_updaters() -> Iterable[UpdaterSpec]:
    return [
        UpdaterSpec("sft", "Fine-tuning on accepted completions", _sft, SftConfig, family="sft"),
        UpdaterSpec("group", "Group-relative reinforcement learning", _group, GroupConfig, family="group"),
    ]


def _vllm(config: VllmConfig, context: RunContext) -> Generator:
    from harness_plugins.generators.vllm_generator import create_vllm

    return create_vllm(config, context)


def _transformers(config: TransformersConfig, context: RunContext) -> Generator:
    from harness_plugins.generators.transformers_generator import create_transformers

    return create_transformers(config, context)


def _reference(config: NoConfig, context: RunContext) -> Generator:
    from harness_plugins.generators.reference import create_reference

    return create_reference(config, context)


def _scripted(config: ScriptedConfig, context: RunContext) -> Generator:
    from harness_plugins.generators.scripted import create_scripted

    return create_scripted(config, context)


def _nll(config: NoConfig, context: RunContext) -> Objective:
    from harness_plugins.objectives.nll import Nll

    return Nll()


def _objective(module: str, name: str) -> Callable[[Any, RunContext], Objective]:
    def create(config: Any, context: RunContext) -> Objective:
        from importlib import import_module

        objective: Objective = getattr(import_module(f"harness_plugins.objectives.{module}"), name)(config)
        return objective

    return create


def _sft(config: SftConfig, context: RunContext) -> Updater:
    from harness_plugins.sft import SftUpdater

    return SftUpdater(config, context)


def _group(config: GroupConfig, context: RunContext) -> Updater:
    from harness_plugins.group import GroupUpdater

    return GroupUpdater(config, context)
