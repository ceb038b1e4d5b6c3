"""What this package registers. Nothing heavy is imported until a run names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from harness.hookspecs import hookimpl
from harness.plugins import make_objective
from harness.protocols import Generator, Objective, RunContext, Updater
from harness.specs import Config, GeneratorSpec, NoConfig, ObjectiveSpec, UpdaterSpec
from harness_plugins.configs_generators import ScriptedConfig, TransformersConfig, VllmConfig
from harness_plugins.configs_objectives import (
    BetaConfig,
    CispoConfig,
    ClippedConfig,
    CpoConfig,
    DapoConfig,
    DiscopopConfig,
    DpoConfig,
    ExoConfig,
    GspoConfig,
    KtoConfig,
    MixtureConfig,
    OrpoConfig,
    RobustDpoConfig,
    SimpoConfig,
)
from harness_plugins.configs_training import GroupConfig, PreferenceConfig, SftConfig, UnpairedConfig
from harness_plugins.trl.configs import TrlDpoConfig, TrlGrpoConfig, TrlKtoConfig, TrlSftConfig


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
        ObjectiveSpec("nll", "Negative log-likelihood of the completion", _objective("nll", "Nll"), family="sft"),
        ObjectiveSpec(
            "dft", "Likelihood weighted by the model's own probability", _objective("dft", "Dft"), family="sft"
        ),
        _preference("dpo", "Direct preference optimization; label_smoothing makes it cDPO", "dpo", "Dpo", DpoConfig),
        _preference("dpo_norm", "DPO on log-ratios per token", "dpo", "DpoNorm", DpoConfig),
        _preference("robust_dpo", "DPO unbiased under flipped labels", "dpo", "RobustDpo", RobustDpoConfig),
        _preference("ipo", "A target for the margin per token", "ipo", "Ipo", BetaConfig),
        _preference("hinge", "SLiC: a margin that is enough", "hinge", "Hinge", BetaConfig),
        _preference("exo", "Reverse KL to the softened preference", "exo", "Exo", ExoConfig),
        _preference("nca", "Holds up the chosen's likelihood", "nca", "Nca", BetaConfig),
        _preference("sppo", "Log-ratios regressed onto wins", "sppo", "Sppo", BetaConfig),
        _preference("apo_zero", "Chosen up, rejected down", "apo", "ApoZero", BetaConfig),
        _preference("apo_down", "Both down, the rejected further", "apo", "ApoDown", BetaConfig),
        _preference("discopop", "Logistic and exponential, blended", "discopop", "Discopop", DiscopopConfig),
        _preference("simpo", "No reference, per token, with a margin", "simpo", "Simpo", SimpoConfig),
        _preference("cpo", "DPO without reference, and likelihood", "cpo", "Cpo", CpoConfig),
        _preference("orpo", "Odds ratio and likelihood, no reference", "orpo", "Orpo", OrpoConfig),
        _preference("chosen_nll", "Likelihood of the chosen, for mixtures", "mixture", "ChosenNll", NoConfig),
        ObjectiveSpec("mixture", "Several preference losses, weighted", _mixture, MixtureConfig, family="preference"),
        _unpaired_objective("kto", "Prospect theory: gains and losses against the KL", "kto", "Kto"),
        _unpaired_objective("apo_zero_unpaired", "KTO with a reference point of 0", "kto", "ApoZeroUnpaired"),
        _unpaired_objective("bco", "The reward as a classifier of good and bad", "bco", "Bco"),
        ObjectiveSpec("grpo", "Clipped surrogate, mean per completion", _objective("grpo", "Grpo"), ClippedConfig),
        ObjectiveSpec("dr_grpo", "GRPO without its length bias", _objective("grpo", "DrGrpo"), ClippedConfig),
        ObjectiveSpec("dapo", "GRPO by token, higher upper clip", _objective("grpo", "Dapo"), DapoConfig),
        ObjectiveSpec("bnpo", "GRPO by token", _objective("grpo", "Bnpo"), ClippedConfig),
        ObjectiveSpec("gspo", "GRPO with one ratio a completion", _objective("gspo", "Gspo"), GspoConfig),
        ObjectiveSpec(
            "cispo", "Policy gradient, capped weights, no token dropped", _objective("cispo", "Cispo"), CispoConfig
        ),
        ObjectiveSpec("rloo", "REINFORCE, leave-one-out, by sequence", _objective("rloo", "Rloo"), ClippedConfig),
    ]


@hookimpl
def harness_register_updaters() -> Iterable[UpdaterSpec]:
    return [
        UpdaterSpec("sft", "Fine-tuning on accepted completions", _sft, SftConfig, family="sft"),
        UpdaterSpec("preference", "DPO and its family, on pairs", _preferences, PreferenceConfig, family="preference"),
        UpdaterSpec("unpaired", "KTO and its family, on single verdicts", _unpaired, UnpairedConfig, family="unpaired"),
        UpdaterSpec("group", "Group-relative reinforcement learning", _group, GroupConfig, family="group"),
        UpdaterSpec("trl-sft", "TRL's SFTTrainer, on accepted completions", _trl("sft", "TrlSftUpdater"), TrlSftConfig),
        UpdaterSpec("trl-dpo", "TRL's DPOTrainer, on pairs", _trl("dpo", "TrlDpoUpdater"), TrlDpoConfig),
        UpdaterSpec("trl-kto", "TRL's KTOTrainer, on single verdicts", _trl("kto", "TrlKtoUpdater"), TrlKtoConfig),
        UpdaterSpec("trl-grpo", "TRL's GRPOTrainer, sampling anew", _trl("grpo", "TrlGrpoUpdater"), TrlGrpoConfig),
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


def _preference(name: str, summary: str, module: str, cls: str, config: type[Config]) -> ObjectiveSpec:
    return ObjectiveSpec(name, summary, _objective(module, cls), config, family="preference")


def _unpaired_objective(name: str, summary: str, module: str, cls: str) -> ObjectiveSpec:
    return ObjectiveSpec(name, summary, _objective(module, cls), KtoConfig, family="unpaired")


def _objective(module: str, name: str) -> Callable[[Any, RunContext], Objective]:
    def create(config: Any, context: RunContext) -> Objective:
        from importlib import import_module

        make = getattr(import_module(f"harness_plugins.objectives.{module}"), name)
        objective: Objective = make() if isinstance(config, NoConfig) else make(config)
        return objective

    return create


def _mixture(config: MixtureConfig, context: RunContext) -> Objective:
    from harness_plugins.objectives.mixture import Mixture

    return Mixture(
        [(p.objective, p.weight, make_objective(p.objective, p.config, context, "preference")) for p in config.parts]
    )


def _sft(config: SftConfig, context: RunContext) -> Updater:
    from harness_plugins.sft import SftUpdater

    return SftUpdater(config, context)


def _preferences(config: PreferenceConfig, context: RunContext) -> Updater:
    from harness_plugins.preference import PreferenceUpdater

    return PreferenceUpdater(config, context)


def _unpaired(config: UnpairedConfig, context: RunContext) -> Updater:
    from harness_plugins.unpaired import UnpairedUpdater

    return UnpairedUpdater(config, context)


def _group(config: GroupConfig, context: RunContext) -> Updater:
    from harness_plugins.group import GroupUpdater

    return GroupUpdater(config, context)


def _trl(module: str, name: str) -> Callable[[Any, RunContext], Updater]:
    def create(config: Any, context: RunContext) -> Updater:
        from importlib import import_module

        updater: Updater = getattr(import_module(f"harness_plugins.trl.{module}"), name)(config, context)
        return updater

    return create
