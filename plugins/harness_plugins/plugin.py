"""What this package registers. Nothing heavy is imported until a run names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from harness.hookspecs import hookimpl
from harness.plugins import make_objective
from harness.protocols import ModelRef, Objective, RunContext
from harness.specs import Config, ExporterSpec, FilterSpec, GeneratorSpec, NoConfig, ObjectiveSpec, UpdaterSpec
from harness.types import digest
from harness_plugins.exporters import AdapterExporter, MergedConfig, MergedExporter
from harness_plugins.filters.duplicates.specs import SPECS as DUPLICATES
from harness_plugins.filters.learning.specs import SPECS as LEARNING
from harness_plugins.filters.privacy.specs import SPECS as PRIVACY
from harness_plugins.filters.quality.specs import SPECS as QUALITY
from harness_plugins.generators.configs import RayConfig, ScriptedConfig, ServerConfig, TransformersConfig, VllmConfig
from harness_plugins.objectives.configs import (
    BetaConfig,
    BradleyTerryConfig,
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
from harness_plugins.training.configs import reference_content
from harness_plugins.trl.configs import TrlDpoConfig, TrlGrpoConfig, TrlKtoConfig, TrlRewardConfig, TrlSftConfig
from harness_plugins.updaters.configs import (
    CptConfig,
    GroupConfig,
    PreferenceConfig,
    RewardModelConfig,
    SftConfig,
    UnpairedConfig,
)


@hookimpl
def harness_register_generators() -> Iterable[GeneratorSpec]:
    return [
        GeneratorSpec(
            "vllm",
            "vLLM in this process, on CPU or CUDA",
            _lazy("generators.vllm_generator", "create_vllm"),
            VllmConfig,
        ),
        GeneratorSpec(
            "transformers",
            "transformers, one prefill a group",
            _lazy("generators.transformers_generator", "create_transformers"),
            TransformersConfig,
        ),
        GeneratorSpec(
            "server",
            "Any server with OpenAI's chat completions; for evaluation",
            _lazy("generators.server", "ServerGenerator"),
            ServerConfig,
            served=_served,
        ),
        GeneratorSpec(
            "ray",
            "Another generator in several workers, through Ray",
            _lazy("generators.ray_generator", "create_ray"),
            RayConfig,
        ),
        GeneratorSpec(
            "reference",
            "Gold answers as completions: demonstrations",
            _lazy("generators.reference", "create_reference"),
        ),
        GeneratorSpec(
            "scripted",
            "Answers from its settings, for tests",
            _lazy("generators.scripted", "create_scripted"),
            ScriptedConfig,
        ),
    ]


@hookimpl
def harness_register_objectives() -> Iterable[ObjectiveSpec]:
    return [
        ObjectiveSpec("nll", "Negative log-likelihood of the completion", _objective("nll", "Nll"), family="sft"),
        ObjectiveSpec(
            "dft",
            "Likelihood weighted by the model's own probability",
            _objective("dft", "Dft"),
            family="sft",
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
        ObjectiveSpec(
            "bradley_terry",
            "Reward models: the chosen's reward above the rejected's",
            _objective("bradley_terry", "BradleyTerry"),
            BradleyTerryConfig,
            family="reward",
        ),
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
        UpdaterSpec(
            "cpt",
            "Continued pretraining on raw text, packed",
            _lazy("updaters.cpt", "CptUpdater"),
            CptConfig,
            family="sft",
            launchable=True,
        ),
        UpdaterSpec(
            "sft",
            "Fine-tuning on accepted completions",
            _lazy("updaters.sft", "SftUpdater"),
            SftConfig,
            family="sft",
            launchable=True,
        ),
        UpdaterSpec(
            "preference",
            "DPO and its family, on pairs",
            _lazy("updaters.preference", "PreferenceUpdater"),
            PreferenceConfig,
            content=reference_content,
            family="preference",
            launchable=True,
        ),
        UpdaterSpec(
            "unpaired",
            "KTO and its family, on single verdicts",
            _lazy("updaters.unpaired", "UnpairedUpdater"),
            UnpairedConfig,
            content=reference_content,
            family="unpaired",
            launchable=True,
        ),
        UpdaterSpec(
            "group",
            "Group-relative reinforcement learning",
            _lazy("updaters.group", "GroupUpdater"),
            GroupConfig,
            content=reference_content,
            family="group",
            launchable=True,
        ),
        UpdaterSpec(
            "reward_model",
            "A scalar head on pairs, for the judge reward_model",
            _lazy("updaters.reward_model", "RewardModelUpdater"),
            RewardModelConfig,
            family="reward",
            makes="reward_model",
        ),
        UpdaterSpec(
            "trl-sft", "TRL's SFTTrainer, on accepted completions", _lazy("trl.sft", "TrlSftUpdater"), TrlSftConfig
        ),
        UpdaterSpec("trl-dpo", "TRL's DPOTrainer, on pairs", _lazy("trl.dpo", "TrlDpoUpdater"), TrlDpoConfig),
        UpdaterSpec("trl-kto", "TRL's KTOTrainer, on single verdicts", _lazy("trl.kto", "TrlKtoUpdater"), TrlKtoConfig),
        UpdaterSpec(
            "trl-reward",
            "TRL's RewardTrainer, for the judge reward_model",
            _lazy("trl.reward", "TrlRewardUpdater"),
            TrlRewardConfig,
            makes="reward_model",
        ),
        UpdaterSpec("trl-grpo", "TRL's GRPOTrainer, sampling anew", _lazy("trl.grpo", "TrlGrpoUpdater"), TrlGrpoConfig),
    ]


@hookimpl
def harness_register_exporters() -> Iterable[ExporterSpec]:
    return [
        ExporterSpec("merged", "A whole model: the adapter added to its weights", MergedExporter, MergedConfig),
        ExporterSpec("adapter", "The PEFT adapter, with its model's tokenizer", AdapterExporter, library="peft"),
    ]


@hookimpl
def harness_register_filters() -> Iterable[FilterSpec]:
    return [*QUALITY, *PRIVACY, *DUPLICATES, *LEARNING]


def _lazy(module: str, name: str) -> Callable[[Any, RunContext], Any]:
    """`create` of a component whose module is imported when a run names it."""

    def create(config: Any, context: RunContext) -> Any:
        return getattr(import_module(f"harness_plugins.{module}"), name)(config, context)

    return create


def _served(config: ServerConfig, name: str) -> ModelRef:
    """A model that only a server has, by where the server is, if a setting says so, and what it calls the model."""
    model = config.model or name
    return ModelRef(model, None, digest(["server", config.base_url, model, config.revision]))


def _preference(name: str, summary: str, module: str, cls: str, config: type[Config]) -> ObjectiveSpec:
    return ObjectiveSpec(name, summary, _objective(module, cls), config, family="preference")


def _unpaired_objective(name: str, summary: str, module: str, cls: str) -> ObjectiveSpec:
    return ObjectiveSpec(name, summary, _objective(module, cls), KtoConfig, family="unpaired")


def _objective(module: str, name: str) -> Callable[[Any, RunContext], Objective]:
    def create(config: Any, context: RunContext) -> Objective:
        make = getattr(import_module(f"harness_plugins.objectives.{module}"), name)
        objective: Objective = make() if isinstance(config, NoConfig) else make(config)
        return objective

    return create


def _mixture(config: MixtureConfig, context: RunContext) -> Objective:
    from harness_plugins.objectives.mixture import Mixture

    return Mixture(
        [(p.objective, p.weight, make_objective(p.objective, p.config, context, "preference")) for p in config.parts]
    )
