"""The built-in judges. Those that are deterministic are rules: the same text gets the same verdict for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from harness.hookspecs import hookimpl
from harness.protocols import Judge, RunContext
from harness.specs import CheckSpec, JudgeSpec, NoConfig
from harness_judges.llm.settings import AskingConfig, LlmConfig, PairwiseConfig, RankConfig
from harness_judges.settings import (
    CascadeConfig,
    ElsewhereConfig,
    ExactConfig,
    FormatConfig,
    FunctionConfig,
    GroundedConfig,
    InstructionsConfig,
    JsonFieldsConfig,
    LanguageConfig,
    LengthConfig,
    PanelConfig,
    ReadabilityConfig,
    RefusalConfig,
    RegexConfig,
    RepetitionConfig,
    RewardModelConfig,
    SampleConfig,
    SimilarityConfig,
    ToolCallConfig,
)


def _rule(module: str, name: str) -> Callable[[Any, RunContext], Judge]:
    """`create` of a judge that depends on nothing but its settings; its module is imported when a run names it."""

    def create(config: Any, context: RunContext) -> Judge:
        make = getattr(import_module(f"harness_judges.{module}"), name)
        judge: Judge = make() if isinstance(config, NoConfig) else make(config)
        return judge

    return create


def _lazy(module: str, name: str) -> Callable[[Any, RunContext], Any]:
    """`create` of a component that is handed the run as well."""

    def create(config: Any, context: RunContext) -> Any:
        return getattr(import_module(f"harness_judges.{module}"), name)(config, context)

    return create


def _content(module: str) -> Callable[[Any], str]:
    def content(config: Any) -> str:
        found: str = import_module(f"harness_judges.{module}").content(config)
        return found

    return content


def _family(config: AskingConfig) -> str:
    return config.family or config.model


@hookimpl
def harness_register_judges() -> Iterable[JudgeSpec]:
    return [
        JudgeSpec(
            "tool_call",
            "Are these the calls that were due?",
            _rule("tool_call.judge", "tool_call_judge"),
            ToolCallConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "json_schema",
            "Is this JSON that satisfies the schema?",
            _rule("json_schema", "json_schema_judge"),
            deterministic=True,
        ),
        JudgeSpec(
            "json_fields",
            "Does this JSON say what it should?",
            _rule("json_fields", "json_fields_judge"),
            JsonFieldsConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "instructions",
            "Are the constraints met that can be checked?",
            _rule("instructions.judge", "instructions_judge"),
            InstructionsConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "incident",
            "Does this failure of the past come back?",
            _rule("incident", "incident_judge"),
            deterministic=True,
        ),
        JudgeSpec(
            "exact",
            "Is this one of the acceptable answers?",
            _rule("text", "exact_judge"),
            ExactConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "grounded",
            "Is this right, and do the sentences that it cites say so?",
            _rule("grounded", "grounded_judge"),
            GroundedConfig,
            deterministic=True,
        ),
        JudgeSpec("regex", "Does the pattern match?", _rule("text", "regex_judge"), RegexConfig, deterministic=True),
        JudgeSpec(
            "length",
            "Is the length within bounds?",
            _rule("heuristics", "length_judge"),
            LengthConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "repetition",
            "How free of repeated n-grams is this?",
            _rule("heuristics", "repetition_judge"),
            RepetitionConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "language",
            "Is this in the right language?",
            _rule("language", "language_judge"),
            LanguageConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "refusal",
            "Does this decline, or comply?",
            _rule("refusal", "refusal_judge"),
            RefusalConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "readability",
            "Is this as easy to read as asked?",
            _rule("readability", "readability_judge"),
            ReadabilityConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "format",
            "Does this have the form that is asked for?",
            _rule("format", "format_judge"),
            FormatConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "panel",
            "What do several judges say together?",
            _lazy("panel", "PanelJudge"),
            PanelConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "cascade",
            "What says the first judge that is sure?",
            _lazy("cascade", "CascadeJudge"),
            CascadeConfig,
            deterministic=True,
        ),
        JudgeSpec(
            "function",
            "What does a Python function give this?",
            _lazy("function", "make"),
            FunctionConfig,
            content=_content("function"),
        ),
        JudgeSpec(
            "similarity",
            "How close in meaning is this to the reference?",
            _lazy("similarity", "SimilarityJudge"),
            SimilarityConfig,
            content=_content("similarity"),
        ),
        JudgeSpec(
            "reward_model",
            "What does a trained reward model give this?",
            _lazy("reward_model", "RewardModelJudge"),
            RewardModelConfig,
            content=_content("reward_model"),
        ),
        JudgeSpec(
            "llm",
            "What does a model say of this, by a rubric?",
            _lazy("llm.pointwise", "LlmJudge"),
            LlmConfig,
            content=_content("llm.content"),
            family=_family,
        ),
        JudgeSpec(
            "llm_pairwise",
            "Is this better than the reference, or its siblings? Asked in both orders",
            _lazy("llm.pairwise", "PairwiseJudge"),
            PairwiseConfig,
            content=_content("llm.content"),
            family=_family,
        ),
        JudgeSpec(
            "llm_rank",
            "Where in its group does a model put this?",
            _lazy("llm.ranking", "RankJudge"),
            RankConfig,
            content=_content("llm.content"),
            family=_family,
        ),
        JudgeSpec(
            "elsewhere",
            "What did those say who judged it elsewhere?",
            _lazy("elsewhere", "ElsewhereJudge"),
            ElsewhereConfig,
            waits=True,
        ),
    ]


@hookimpl
def harness_register_checks() -> Iterable[CheckSpec]:
    return [
        CheckSpec(
            "written", "Pairs written for this project, of four kinds", _lazy("known.pairs", "written"), SampleConfig
        ),
        CheckSpec(
            "grounded", "HaluEval: supported by the passage, or made up", _lazy("known.pairs", "grounded"), SampleConfig
        ),
        CheckSpec(
            "tool-calls", "Right calls, and the same made wrong", _lazy("known.pairs", "tool_calls"), SampleConfig
        ),
    ]
