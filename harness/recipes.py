"""What to run with what is at hand: answers in, a commented loop config out. Pure.

at hand                          stages
demonstrations                   sft, then preference
pairs                            preference; robust_dpo where labels are noisy
single verdicts (feedback)       unpaired: kto, which noise in labels hurts least
raw text of a domain             cpt (must hold, need not gain), then a short sft, then preference
goal: strict JSON, tool calls    sft on gold answers that judges accept, what else is at hand, then group
little memory                    the same over 4-bit weights
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import ConfigError

DataKind = Literal["demos", "pairs", "feedback", "text", "prompts"]
Hardware = Literal["cpu", "gpu-small", "gpu", "cluster"]
Goal = Literal["tool-calls", "json", "chat", "domain"]

SMALL_MODEL = "smollm2-135m"
"""The one model that trains on two cores in 16 bits."""
FILES: tuple[DataKind, ...] = ("pairs", "feedback", "text")
"""Kinds that a suite does not hold, so that a file must be named."""


@dataclass(frozen=True)
class Answers:
    """What is wanted and what is at hand. `data`: each kind with its file (as the config names it), or None."""

    suite: str
    goal: Goal
    data: Mapping[DataKind, str | None]
    model: str = SMALL_MODEL
    hardware: Hardware = "cpu"
    noisy: bool = False

    @property
    def strict(self) -> bool:
        """Whether right and wrong can be told by a program, so that rewards can be trained on."""
        return self.goal in ("tool-calls", "json")

    @property
    def little_memory(self) -> bool:
        return self.hardware == "gpu-small" or (self.hardware == "cpu" and self.model != SMALL_MODEL)


@dataclass(frozen=True)
class Size:
    """How much a round takes: demonstrations, prompts and completions a prompt, rounds, tokens of a packed row."""

    demos: int
    prompts: int
    n: int
    rounds: int
    row: int


SIZES: Mapping[Hardware, Size] = {
    "cpu": Size(256, 32, 8, 2, 1024),
    "gpu-small": Size(256, 32, 8, 2, 512),
    "gpu": Size(1024, 128, 8, 4, 4096),
    "cluster": Size(4096, 512, 16, 4, 8192),
}


@dataclass(frozen=True)
class Setting:
    """A line of the config, and why it is so. `off`: written as a comment, to be switched on by hand."""

    key: str
    value: Any
    why: str = ""
    off: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the config. `config` becomes its sub-table of that name."""

    header: str
    why: str
    settings: tuple[Setting, ...]
    config: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The tables of a config, in the order in which they are written."""

    answers: Answers
    tables: tuple[Table, ...]

    @property
    def stages(self) -> list[Table]:
        return [table for table in self.tables if table.header == "[[stages]]"]

    @property
    def toml(self) -> str:
        kinds = ", ".join(self.answers.data)
        head = f"# For {self.answers.goal} from {kinds} on {self.answers.hardware}. Every line may be changed;"
        lines = [head, "# `harness loop FILE --dry-run` prints all that there is."]
        for table in self.tables:
            lines += ["", f"# {table.why}", *([table.header] if table.header else []), *_lines(table.settings)]
            if table.config:
                lines += ["", "[stages.config]", *_lines(table.config)]
        return "\n".join(lines) + "\n"

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """(what, why) of every table and setting that has a reason; stages are counted from 0."""
        found: list[tuple[str, str]] = []
        stages = iter(range(len(self.tables)))
        for table in self.tables:
            name = f"stages.{next(stages)}" if table.header == "[[stages]]" else table.header.strip("[]")
            found.append((name or "suite", table.why))
            for prefix, settings in ((name, table.settings), (f"{name}.config", table.config)):
                found += [(f"{prefix}.{s.key}".lstrip("."), s.why) for s in settings if s.why]
        return found


def recipe(answers: Answers) -> Recipe:
    """The decision table. Raises ConfigError for answers that do not go together."""
    _require_fitting(answers)
    stages: list[Table] = []
    if "text" in answers.data:
        stages.append(_pretraining(answers))
    if answers.strict or "demos" in answers.data or "text" in answers.data:
        stages.append(_demonstrations(answers))
    if "pairs" in answers.data:
        stages.append(_pairs(answers))
    if "feedback" in answers.data:
        stages.append(_feedback(answers))
    if answers.strict:
        stages.append(_rewards(answers))
    elif "prompts" in answers.data or not {"pairs", "feedback"} & set(answers.data):
        stages.append(_own_samples(answers))
    tables = [_head(answers), *_generator(answers), _adapter(answers), *stages, *_evaluation(answers)]
    return Recipe(answers, tuple(tables))


def _require_fitting(answers: Answers) -> None:
    if not answers.data:
        raise ConfigError("nothing is at hand to train on", where="data", remedy="Name a kind with --data-kind.")
    for kind in FILES:
        if kind in answers.data and answers.data[kind] is None:
            raise ConfigError(f"no file of {kind} is named", where="data", remedy=f"Name it: --data {kind}=FILE.")
    if answers.data.get("prompts") is not None:
        raise ConfigError(
            "prompts come with a suite, whose judges know what to make of them",
            where=f"data prompts={answers.data['prompts']}",
            remedy="Put them into the suite's train file.",
        )
    if answers.noisy and answers.strict and not {"pairs", "feedback"} & set(answers.data):
        raise ConfigError(
            "noise is a matter of pairs and of feedback, and neither is at hand",
            where="noisy",
            remedy="Leave it out, or name them with --data.",
        )


# ---------------------------------------------------------------- what surrounds the stages


def _head(answers: Answers) -> Table:
    settings = [Setting("suite", answers.suite), Setting("model", answers.model)]
    if answers.suite != "general":
        why = "A suite that must not get worse: without one, what is forgotten goes unseen."
        settings.append(Setting("beside", ["general"], why))
    return Table("", _goal(answers), tuple(settings))


def _goal(answers: Answers) -> str:
    if answers.strict:
        return "A program can tell right from wrong: learn the form from gold answers, then the rest from rewards."
    if "text" in answers.data:
        return "The domain's own text first, then its form in few demonstrations, then what is preferred."
    if answers.goal == "domain":
        return "Raw text of the domain (--data text=FILE) would come first; without it, what is preferred teaches."
    return "Nothing but preference tells good chat from bad: end with it, whatever comes before."


def _generator(answers: Answers) -> Iterator[Table]:
    if answers.hardware == "cluster":
        why = "vLLM, by name: sampling is most of a round. The line below spreads a model too large for one device."
        settings = (Setting("name", "vllm"), Setting("config", {"tensor_parallel_size": 2}, off=True))
        yield Table("[generator]", why, settings)


def _adapter(answers: Answers) -> Table:
    rank = 64 if "text" in answers.data else 16
    over = "over 4-bit weights (QLoRA, Dettmers et al. 2023)" if answers.little_memory else "over frozen weights"
    why = "Much text needs a larger rank than a format does." if "text" in answers.data else ""
    settings = (
        Setting("peft_type", "LORA"),
        Setting("r", rank, why),
        Setting("lora_alpha", 2 * rank),
        Setting("target_modules", "all-linear"),
    )
    return Table("[adapter]", f"A low-rank adapter {over}: little to train, to store and to roll back.", settings)


def _evaluation(answers: Answers) -> Iterator[Table]:
    if answers.strict:
        why = "On, if answers are held to their schema or tools in use as well. Off, the gate sees the model alone."
        yield Table("[eval]", "How both policies are evaluated.", (Setting("constrained", True, why, off=True),))


# ---------------------------------------------------------------- the stages


def _stage(answers: Answers, updater: str, why: str, *settings: Setting, config: tuple[Setting, ...] = ()) -> Table:
    return Table("[[stages]]", why, (Setting("updater", updater), *settings), (*config, *_memory(answers)))


def _memory(answers: Answers) -> tuple[Setting, ...]:
    row = SIZES[answers.hardware].row
    if answers.little_memory:
        why = "A quarter of the memory of 16-bit weights, at some cost in time."
        short = "Short rows: their activations are the rest of the memory."
        return Setting("quantization", "nf4", why), Setting("max_tokens_per_row", min(row, 512), short)
    if row > 1024:
        return (Setting("max_tokens_per_row", row, "Long rows keep the device busy; lower it if memory runs out."),)
    return ()


def _pretraining(answers: Answers) -> Table:
    return _stage(
        answers,
        "cpt",
        "Continued pretraining: the domain's words and facts, before any form.",
        Setting("data", answers.data["text"]),
        Setting("gate", "hold", "It prepares: of the target it is asked to lose nothing, not to gain."),
    )


def _demonstrations(answers: Answers) -> Table:
    size = SIZES[answers.hardware]
    file = answers.data.get("demos")
    why = "Demonstrations: a form is learnt in few steps, and what is never sampled cannot be rewarded or preferred."
    config: tuple[Setting, ...] = ()
    if "text" in answers.data:
        config += (Setting("epochs", 1, "Short: it gives the text a form, and more of it would undo the text."),)
    if answers.model != SMALL_MODEL:
        config += (Setting("learning_rate", 2e-4, "Usual for adapters of larger models; the default suits 135M."),)
    if file is not None:
        data = Setting("data", file, "Taken at their word. As `reference` in the suite, its judges would vet them.")
        return _stage(answers, "sft", why, data, config=config)
    settings = [
        Setting("generator", "reference", "The suite's gold answers; those that its judges reject are left out."),
        Setting("prompts", size.demos, "At most what the suite has: beyond that they come round again."),
    ]
    if answers.suite != "general":
        replay = {"general": min(size.demos // 8, 128)}
        settings.append(Setting("replay", replay, "Some of what is known already, against forgetting."))
    return _stage(answers, "sft", why, *settings, config=config)


def _pairs(answers: Answers) -> Table:
    return _stage(
        answers,
        "preference",
        "Pairs of a better and a worse answer.",
        Setting("data", answers.data["pairs"]),
        config=_preference(answers),
    )


def _own_samples(answers: Answers) -> Table:
    size = SIZES[answers.hardware]
    return _stage(
        answers,
        "preference",
        "Pairs from the policy's own answers: the judges' best against their worst, which are never out of its reach.",
        Setting("prompts", size.prompts),
        Setting("n", 4, "Enough for a pair in most groups."),
        Setting("rounds", size.rounds),
        config=_preference(answers),
    )


def _preference(answers: Answers) -> tuple[Setting, ...]:
    if not answers.noisy:
        return (Setting("objective", "dpo"),)
    return (
        Setting("objective", "robust_dpo", "Unbiased where labels are flipped at random (Chowdhury et al. 2024)."),
        Setting("objective_config", {"flip_rate": 0.1}, "Your estimate of the share of labels that are wrong."),
    )


def _feedback(answers: Answers) -> Table:
    why = "Single verdicts need no pairs."
    if answers.noisy:
        why = "Noisy verdicts: its loss levels off, so the wildest labels move it least (Ethayarajh et al. 2024)."
    return _stage(
        answers,
        "unpaired",
        "Answers that were found good or bad, each by itself.",
        Setting("data", answers.data["feedback"]),
        config=(Setting("objective", "kto", why),),
    )


def _rewards(answers: Answers) -> Table:
    size = SIZES[answers.hardware]
    return _stage(
        answers,
        "group",
        "Group-relative reinforcement learning: what the judges reward among several answers becomes likelier.",
        Setting("prompts", size.prompts),
        Setting("n", size.n),
        Setting("rounds", size.rounds, "Each is gated by itself, and starts from what was promoted."),
        config=(
            Setting("objective", "dapo", "By token: a mean by answer would weigh a short answer's tokens many times."),
            Setting("learning_rate", 1e-4, "With more, a short answer was measured to be unlearnt in one round."),
        ),
    )


# ---------------------------------------------------------------- TOML


def _lines(settings: tuple[Setting, ...]) -> Iterator[str]:
    for setting in settings:
        if setting.why:
            yield f"# {setting.why}"
        yield f"{'# ' if setting.off else ''}{setting.key} = {_inline(setting.value)}"


def _inline(value: Any) -> str:
    """A value on one line. JSON's strings, numbers and lists are TOML's; a table is written differently."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
