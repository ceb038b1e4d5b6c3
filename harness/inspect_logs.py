"""Evaluations as logs of inspect_ai, one a suite, written by that library itself: `inspect view` opens them.

What is judged and how it counts stays as it is here: the score `reward` is the suite's weighted one, beside those of
its judges, and the metrics are of the items' means over their epochs. Unscored is inspect's own NaN, not 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness.durable import require_new, written_aside
from harness.errors import HarnessError
from harness.evaluations import Evaluation
from harness.measuring import slug
from harness.types import BASE_POLICY, Completion, Prompt, Score, ScoredGroup, SuiteReport, digest

REWARD = "reward"
"""What inspect shows first: the score that reports and the gate go by."""
ID_LENGTH = 22
"""Of inspect's own ids."""

Format = Literal["eval", "json"]


def export_logs(evaluation: Evaluation, out: Path, *, model: str = "", format: Format = "eval") -> list[Path]:
    """Write a log a suite into the new folder `out`. `model` is what the logs call the model; by default what the
    evaluation's settings call it, else the start of its fingerprint.

    Raises HarnessError where inspect_ai is not installed, ConfigError where `out` is there already.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise HarnessError(
            f"inspect_ai is not installed ({error})", where="export-log", remedy="pip install 'harness-align[inspect]'"
        ) from None
    require_new(out)
    logs = [_log(evaluation, suite, model or evaluation.model or "unknown") for suite in evaluation.report.suites]
    names = [f"{_file_time(log.eval.created)}_{slug(log.eval.task)}_{log.eval.task_id}.{format}" for log in logs]
    with written_aside(out) as draft:
        for log, name in zip(logs, names, strict=True):
            write_eval_log(log, str(draft / name), format=format)
    return [out / name for name in names]


def _file_time(created: str) -> str:
    """As inspect names its files: it finds time, task and id in the name without opening the file."""
    return created.replace(":", "-")


# ---------------------------------------------------------------- one suite


def _log(evaluation: Evaluation, suite: SuiteReport, model: str) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalPlan, EvalResults, EvalSpec, EvalStats
    from inspect_ai.model import GenerateConfig

    groups = evaluation.groups(suite.suite)
    created = datetime.fromtimestamp((evaluation.folders[0] / "report.json").stat().st_mtime, UTC).isoformat(
        "T", "seconds"
    )
    policy = evaluation.report.policy_version
    sampling = groups[0].group.sampling if groups else None
    epochs = max((len(group.rewards) for group in groups), default=1)
    spec = EvalSpec(
        eval_id=digest([policy, suite.fingerprint, model])[:ID_LENGTH],
        run_id=digest([policy, dict(evaluation.identity), model])[:ID_LENGTH],
        task_id=suite.fingerprint[:ID_LENGTH],
        created=created,
        task=suite.suite,
        dataset=EvalDataset(name=suite.suite, samples=len(groups), sample_ids=[g.group.prompt.id for g in groups]),
        model=model,
        model_args={} if policy == BASE_POLICY else {"adapter": policy},
        config=EvalConfig(epochs=epochs, epochs_reducer=["mean"]),
        metadata={
            "role": suite.role,
            "fingerprint": suite.fingerprint,
            "policy_version": policy,
            "judging": dict(suite.judging),
            "identity": dict(evaluation.identity),
        },
    )
    decoding = GenerateConfig(
        temperature=sampling and sampling.temperature,
        top_p=sampling and sampling.top_p,
        max_tokens=sampling and sampling.max_tokens,
    )
    samples = [_sample(group, epoch, model) for group in groups for epoch in range(len(group.rewards))]
    results = EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=_scores(groups))
    return EvalLog(
        status="success",
        eval=spec,
        plan=EvalPlan(config=decoding),
        results=results,
        stats=EvalStats(started_at=created, completed_at=created),
        samples=samples,
    )


# ---------------------------------------------------------------- samples


def _sample(scored: ScoredGroup, epoch: int, model: str) -> Any:
    """One completion of an item."""
    from inspect_ai.log import EvalSample

    prompt, completion = scored.group.prompt, scored.group.completions[epoch]
    asked = [_message(message) for message in prompt.messages]
    output = _output(completion, len(scored.group.prompt_token_ids), model)
    values = {score.judge: _score(score) for score in scored.scores[epoch]}
    return EvalSample(
        id=prompt.id,
        epoch=epoch + 1,
        input=asked,
        target=prompt.target if prompt.reference is None else prompt.reference,
        messages=[*asked, output.message],
        output=output,
        scores={REWARD: _reward(scored.rewards[epoch]), **values},
        metadata=_metadata(prompt),
    )


def _message(message: Mapping[str, Any]) -> Any:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser

    kinds = {
        "system": ChatMessageSystem,
        "developer": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
        "tool": ChatMessageTool,
    }
    if message["role"] not in kinds:
        what = f"inspect_ai knows no message of role {message['role']!r}"
        raise HarnessError(what, where="export-log", remedy=f"Roles are {', '.join(kinds)}.")
    return kinds[message["role"]](content=message["content"])


def _output(completion: Completion, read: int, model: str) -> Any:
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    answer = ChatMessageAssistant(content=completion.text, model=model, source="generate")
    stopped: Any = "max_tokens" if completion.finish_reason == "length" else "stop"
    written = len(completion.token_ids)
    usage = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written) if read else None
    return ModelOutput(model=model, choices=[ChatCompletionChoice(message=answer, stop_reason=stopped)], usage=usage)


def _metadata(prompt: Prompt) -> dict[str, Any]:
    """What inspect has no field for. `cluster` is what its clustered standard errors go by."""
    kept = {name: json.loads(text) for name in ("target", "tools", "schema") if (text := getattr(prompt, name))}
    return {**prompt.metadata, **kept, "cluster": prompt.cluster or prompt.id, "hash": prompt.hash}


# ---------------------------------------------------------------- scores and metrics


def _score(score: Score) -> Any:
    from inspect_ai.scorer import Score as InspectScore

    known = {name: value for name, value in asdict(score).items() if value and name not in _SHOWN}
    explanation = score.explanation or None
    if score.value is None:
        reason = "scoring_failed" if score.status == "failed" else "abstained"
        return InspectScore.unscored(reason=reason, explanation=explanation, metadata=known)
    return InspectScore(value=score.value, explanation=explanation, metadata=known)


_SHOWN = {"judge", "value", "status", "explanation"}


def _reward(reward: float | None) -> Any:
    from inspect_ai.scorer import Score as InspectScore

    return InspectScore.unscored(reason="scoring_failed") if reward is None else InspectScore(value=reward)


def _scores(groups: Sequence[ScoredGroup]) -> list[Any]:
    """Figures of the suite's score and of each judge's."""
    from inspect_ai.log import EvalScore

    columns: dict[str, list[list[float | None]]] = {REWARD: [list(group.rewards) for group in groups]}
    given = [[{s.judge: s.value for s in scores} for scores in group.scores] for group in groups]
    for judge in dict.fromkeys(name for group in given for values in group for name in values):
        columns[judge] = [[values.get(judge) for values in group] for group in given]
    found = []
    for name, epochs in columns.items():
        scored = [
            (group.group.prompt, mean)
            for group, e in zip(groups, epochs, strict=True)
            if (mean := _mean(e)) is not None
        ]
        counts = {"scored_samples": len(scored), "unscored_samples": len(groups) - len(scored)}
        found.append(EvalScore(name=name, scorer=name, reducer="mean", metrics=_metrics(scored), **counts))
    return found


def _mean(epochs: Sequence[float | None]) -> float | None:
    """None unless every epoch is scored, as in the item's own result."""
    known = [value for value in epochs if value is not None]
    return sum(known) / len(known) if known and len(known) == len(epochs) else None


def _metrics(scored: Sequence[tuple[Prompt, float]]) -> dict[str, Any]:
    """By inspect's own functions, the standard error by clusters where there are two or more."""
    from inspect_ai.log import EvalMetric
    from inspect_ai.scorer import SampleScore, accuracy, stderr
    from inspect_ai.scorer import Score as InspectScore

    rows = [
        SampleScore(score=InspectScore(value=value), sample_id=p.id, sample_metadata={"cluster": p.cluster or p.id})
        for p, value in scored
    ]
    metrics: dict[str, Any] = {}
    if rows:
        metrics["accuracy"] = EvalMetric(name="accuracy", value=accuracy()(rows))
    if len({row.sample_metadata["cluster"] for row in rows if row.sample_metadata}) > 1:
        params = {"cluster": "cluster"}
        metrics["stderr"] = EvalMetric(name="stderr", value=stderr(**params)(rows), params=params)
    return metrics
