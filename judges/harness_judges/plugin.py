"""The built-in judges. Those that are deterministic are rules: the same text gets the same verdict for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.hookspecs import hookimpl
from harness.protocols import Judge, RunContext
from harness.specs import CheckSpec, JudgeSpec, NoConfig
from harness.types import KnownPair
from harness_judges.llm.settings import AskingConfig, LlmConfig, PairwiseConfig, RankConfig
from harness_judges.settings import (
    CascadeConfig,
    ElsewhereConfig,
    ExactConfig,
    FormatConfig,
    FunctionConfig,
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


def _tool_call(config: ToolCallConfig, context: RunContext) -> Judge:
    from harness_judges.tool_call.judge import tool_call_judge

    return tool_call_judge(config)


def _json_schema(config: NoConfig, context: RunContext) -> Judge:
    from harness_judges.json_schema import json_schema_judge

    return json_schema_judge()


def _exact(config: ExactConfig, context: RunContext) -> Judge:
    from harness_judges.text import exact_judge

    return exact_judge(config)


def _regex(config: RegexConfig, context: RunContext) -> Judge:
    from harness_judges.text import regex_judge

    return regex_judge(config)


def _length(config: LengthConfig, context: RunContext) -> Judge:
    from harness_judges.heuristics import length_judge

    return length_judge(config)


def _repetition(config: RepetitionConfig, context: RunContext) -> Judge:
    from harness_judges.heuristics import repetition_judge

    return repetition_judge(config)


def _language(config: LanguageConfig, context: RunContext) -> Judge:
    from harness_judges.language import language_judge

    return language_judge(config)


def _refusal(config: RefusalConfig, context: RunContext) -> Judge:
    from harness_judges.refusal import refusal_judge

    return refusal_judge(config)


def _readability(config: ReadabilityConfig, context: RunContext) -> Judge:
    from harness_judges.readability import readability_judge

    return readability_judge(config)


def _format(config: FormatConfig, context: RunContext) -> Judge:
    from harness_judges.format import format_judge

    return format_judge(config)


def _panel(config: PanelConfig, context: RunContext) -> Judge:
    from harness_judges.panel import PanelJudge

    return PanelJudge(config, context)


def _cascade(config: CascadeConfig, context: RunContext) -> Judge:
    from harness_judges.cascade import CascadeJudge

    return CascadeJudge(config, context)


def _function(config: FunctionConfig, context: RunContext) -> Judge:
    from harness_judges.function import make

    return make(config, context)


def _function_content(config: FunctionConfig) -> str:
    from harness_judges.function import content

    return content(config)


def _similarity(config: SimilarityConfig, context: RunContext) -> Judge:
    from harness_judges.similarity import SimilarityJudge

    return SimilarityJudge(config, context)


def _similarity_content(config: SimilarityConfig) -> str:
    from harness_judges.similarity import content

    return content(config)


def _reward_model(config: RewardModelConfig, context: RunContext) -> Judge:
    from harness_judges.reward_model import RewardModelJudge

    return RewardModelJudge(config, context)


def _reward_model_content(config: RewardModelConfig) -> str:
    from harness_judges.reward_model import content

    return content(config)


def _llm(config: LlmConfig, context: RunContext) -> Judge:
    from harness_judges.llm.pointwise import LlmJudge

    return LlmJudge(config, context)


def _llm_pairwise(config: PairwiseConfig, context: RunContext) -> Judge:
    from harness_judges.llm.pairwise import PairwiseJudge

    return PairwiseJudge(config, context)


def _llm_rank(config: RankConfig, context: RunContext) -> Judge:
    from harness_judges.llm.ranking import RankJudge

    return RankJudge(config, context)


def _llm_content(config: AskingConfig) -> str:
    from harness_judges.llm.content import content

    return content(config)


def _llm_family(config: AskingConfig) -> str:
    return config.family or config.model


def _elsewhere(config: ElsewhereConfig, context: RunContext) -> Judge:
    from harness_judges.elsewhere import ElsewhereJudge

    return ElsewhereJudge(config, context.run)


@hookimpl
def harness_register_judges() -> Iterable[JudgeSpec]:
    return [
        JudgeSpec("tool_call", "Are these the calls that were due?", _tool_call, ToolCallConfig, deterministic=True),
        JudgeSpec("json_schema", "Is this JSON that satisfies the schema?", _json_schema, deterministic=True),
        JudgeSpec("exact", "Is this one of the acceptable answers?", _exact, ExactConfig, deterministic=True),
        JudgeSpec("regex", "Does the pattern match?", _regex, RegexConfig, deterministic=True),
        JudgeSpec("length", "Is the length within bounds?", _length, LengthConfig, deterministic=True),
        JudgeSpec(
            "repetition", "How free of repeated n-grams is this?", _repetition, RepetitionConfig, deterministic=True
        ),
        JudgeSpec("language", "Is this in the right language?", _language, LanguageConfig, deterministic=True),
        JudgeSpec("refusal", "Does this decline, or comply?", _refusal, RefusalConfig, deterministic=True),
        JudgeSpec(
            "readability", "Is this as easy to read as asked?", _readability, ReadabilityConfig, deterministic=True
        ),
        JudgeSpec("format", "Does this have the form that is asked for?", _format, FormatConfig, deterministic=True),
        JudgeSpec("panel", "What do several judges say together?", _panel, PanelConfig, deterministic=True),
        JudgeSpec("cascade", "What says the first judge that is sure?", _cascade, CascadeConfig, deterministic=True),
        JudgeSpec(
            "function",
            "What does a Python function give this?",
            _function,
            FunctionConfig,
            content=_function_content,
        ),
        JudgeSpec(
            "similarity",
            "How close in meaning is this to the reference?",
            _similarity,
            SimilarityConfig,
            content=_similarity_content,
        ),
        JudgeSpec(
            "reward_model",
            "What does a trained reward model give this?",
            _reward_model,
            RewardModelConfig,
            content=_reward_model_content,
        ),
        JudgeSpec(
            "llm",
            "What does a model say of this, by a rubric?",
            _llm,
            LlmConfig,
            content=_llm_content,
            family=_llm_family,
        ),
        JudgeSpec(
            "llm_pairwise",
            "Is this better than the reference, or its siblings? Asked in both orders",
            _llm_pairwise,
            PairwiseConfig,
            content=_llm_content,
            family=_llm_family,
        ),
        JudgeSpec(
            "llm_rank",
            "Where in its group does a model put this?",
            _llm_rank,
            RankConfig,
            content=_llm_content,
            family=_llm_family,
        ),
        JudgeSpec("elsewhere", "What did those say who judged it elsewhere?", _elsewhere, ElsewhereConfig),
    ]


@hookimpl
def harness_register_checks() -> Iterable[CheckSpec]:
    return [
        CheckSpec("written", "Pairs written for this project, of four kinds", _check("written"), SampleConfig),
        CheckSpec("grounded", "HaluEval: supported by the passage, or made up", _check("grounded"), SampleConfig),
        CheckSpec("tool-calls", "Right calls, and the same made wrong", _check("tool_calls"), SampleConfig),
    ]


def _check(name: str) -> Callable[[SampleConfig, RunContext], Sequence[KnownPair]]:
    def create(config: SampleConfig, context: RunContext) -> Sequence[KnownPair]:
        from harness_judges.known import pairs

        found: Sequence[KnownPair] = getattr(pairs, name)(config, context)
        return found

    return create
