"""Suites as folders: `suite.toml` and rows, or rows made by a function.

    [suite]
    name = "capitals"            role = "target"             # or regression, guard, monitor
    version = "1"                summary = "..."             license = "Apache-2.0"
    items = "items.jsonl"        train = "train.jsonl"       # train is optional; or, instead of both:
    builder = "package.module:function"                      # (progress, **options) -> (train, items) of Prompt
    margin = 0.05                anchor_margin = 0.075       floor = 0.9
    kind = "generate"            # or likelihood: judges see how likely the policy finds each reference
    rule = "mean"                # or no_new_failures: no item that passed before may fail (guard, regression)
    pair = "other"               # a suite that must be evaluated beside this one
    degenerate_bound = 0.3       # what a policy that ignores its input must stay below, here or in the pair
    [suite.options]              # for the builder
    [suite.sampling]             # how answers are drawn in evaluation: temperature, max_tokens ...
    [[judges]]                   # name, config, weight, use = "train" | "eval" | "both" | "gold"
    [recipe]                     # loop settings that suit this suite

A row is one JSON object a line: `id`; `messages`, or `prompt` for a single user message; and, where judges need
them, `tools`, `target`, `reference`, `schema`; `cluster` for rows that are not independent; `metadata`.

In a likelihood suite a row may have `text` instead of messages: raw text that is scored itself or, where the row has a
`reference` or its target has `choices`, that these continue (see `harness/likelihood.py`).
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictStr, model_validator

from harness.errors import ConfigError, HarnessError, PluginError, did_you_mean
from harness.jsonl import read_jsonl
from harness.likelihood import check_item
from harness.plugins import validate
from harness.protocols import JudgeUse, Progress, SilentProgress, Suite, SuiteKind
from harness.specs import Config, SuiteSpec
from harness.toml_files import read_toml
from harness.types import Prompt, Role, Sampling, SuiteRule

MANIFEST = "suite.toml"

Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[StrictStr, Field(pattern=r"\S")]


# ---------------------------------------------------------------- what the files may say


class _Sampling(Config):
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    min_p: Share = 0.0
    max_tokens: int = Field(default=256, ge=1)
    constrained: bool = False


class _Judge(Config):
    name: str
    config: dict[str, Any] = Field(default_factory=dict)
    weight: float = Field(default=1.0, gt=0)
    use: Literal["train", "eval", "both", "gold"] = "both"


class _Head(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: Words
    role: Role
    summary: Words
    license: Words
    items: str | None = None
    train: str | None = None
    builder: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field(default_factory=dict)
    margin: float = Field(default=0.05, gt=0, le=1)
    anchor_margin: float = Field(default=0.075, gt=0, le=1)
    floor: Share | None = None
    rule: SuiteRule = "mean"
    kind: SuiteKind = "generate"
    pair: str | None = None
    degenerate_bound: float = Field(default=0.3, gt=0, le=1)
    sampling: _Sampling = _Sampling()

    @model_validator(mode="after")
    def _fits_together(self) -> _Head:
        if self.pair == self.name:
            raise ValueError("pair must be another suite")
        if (self.items is None) == (self.builder is None):
            raise ValueError("give either items (a file of rows) or builder (a function), and not both")
        if self.builder is None and self.options:
            raise ValueError("options are for a builder, and there is none")
        if self.builder is not None and self.train is not None:
            raise ValueError("train is a file of rows; a builder makes its own")
        if self.rule == "no_new_failures" and self.role not in ("guard", "regression"):
            raise ValueError(f"rule no_new_failures is for a guard or a regression suite, and the role is {self.role}")
        if self.kind == "likelihood" and "sampling" in self.model_fields_set:
            raise ValueError("a likelihood suite draws nothing, so that it has no sampling")
        return self


class _Manifest(Config):
    suite: _Head
    judges: list[_Judge]
    recipe: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_evaluated(self) -> _Manifest:
        if all(judge.use in ("train", "gold") for judge in self.judges):
            raise ValueError('no judge is for evaluation: give one use = "eval" or "both"')
        return self


class _Message(Config):
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class _Tool(Config):
    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Row(Config):
    id: str = Field(min_length=1)
    messages: list[_Message] = Field(default_factory=list)
    prompt: str | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1)
    tools: list[_Tool] = Field(default_factory=list)
    target: Any = None
    reference: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    cluster: str | None = None
    metadata: dict[str, StrictStr] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _asks_something(self) -> _Row:
        if [bool(self.messages), self.prompt is not None, self.text is not None].count(True) != 1:
            raise ValueError("give either messages or prompt, and not both (in a likelihood suite: or text)")
        if self.text is not None and (self.tools or self.schema_ is not None):
            raise ValueError("text is raw: tools and schema belong to chats")
        if self.text is not None and not isinstance(self.target, dict | None):
            raise ValueError("beside text, target must be an object")
        if self.messages and self.messages[-1].role not in ("user", "tool"):
            raise ValueError("the last message must come from the user or a tool, or there is nothing to answer")
        if not (self.messages[-1].content if self.messages else self.prompt or self.text or "").strip():
            raise ValueError("what is asked is blank")
        names = [tool.name for tool in self.tools]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two tools are called {', '.join(sorted(twice))}")
        return self

    def to_prompt(self) -> Prompt:
        messages = [message.model_dump() for message in self.messages]
        if self.prompt is not None:
            messages = [{"role": "user", "content": self.prompt}]
        target, reference = self.target, self.reference
        if self.text is not None:
            chosen = isinstance(target, dict) and "choices" in target
            if reference is None and not chosen:
                reference = self.text
            else:
                target = {**(target or {}), "context": self.text}
        return Prompt(
            id=self.id,
            messages=tuple(messages),
            tools=_json([tool.model_dump() for tool in self.tools]) if self.tools else "",
            target=_json(target) if target is not None or "target" in self.model_fields_set else "",
            reference=reference,
            schema=_json(self.schema_) if self.schema_ is not None else "",
            cluster=self.cluster or self.id,
            metadata=self.metadata,
        )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# ---------------------------------------------------------------- loading


def load_suite(folder: Path, progress: Progress | None = None) -> Suite:
    """The suite in `folder`, rows and all.

    Raises ConfigError naming the file, the line or field, the value and a remedy: for a manifest or row that does
    not say something valid, an id used twice, a row that is both trained on and held out, or an empty suite.
    """
    manifest = _read_manifest(folder)
    head = manifest.suite
    where = str(folder / MANIFEST)
    if head.builder is not None:
        train, items = _run_builder(head.builder, head.options, progress or SilentProgress(), where)
    else:
        train = _read_rows(folder / head.train, head.kind) if head.train else ()
        items = _read_rows(folder / str(head.items), head.kind)
    _check_items(train, items, where)
    for item in items:
        if head.kind == "likelihood":
            check_item(item)
        elif not item.messages:
            what = f"item {item.id!r} is raw text, and there is nothing in it to answer"
            raise ConfigError(what, where=where, remedy='Give it messages, or set kind = "likelihood".')
    return Suite(
        name=head.name,
        version=head.version,
        role=head.role,
        items=items,
        train=train,
        judges=tuple(JudgeUse(judge.name, judge.config, judge.weight, judge.use) for judge in manifest.judges),
        sampling=Sampling(**head.sampling.model_dump()),
        summary=head.summary,
        license=head.license,
        margin=head.margin,
        anchor_margin=head.anchor_margin,
        floor=head.floor,
        rule=head.rule,
        kind=head.kind,
        pair=head.pair,
        degenerate_bound=head.degenerate_bound,
        recipe=manifest.recipe,
    )


def folder_spec(folder: Path) -> SuiteSpec:
    """The spec of a suite folder, for a plugin's `harness_register_suites`. Reads the manifest, not the rows."""
    head = _read_manifest(folder).suite
    return SuiteSpec(head.name, head.summary, lambda config, context: load_suite(folder, context.progress))


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise ConfigError(f"no {MANIFEST} here", where=str(folder), remedy="Give the folder of a suite.")
    return validate(_Manifest, read_toml(path), where=str(path))


def _read_rows(path: Path, kind: SuiteKind) -> tuple[Prompt, ...]:
    prompts: dict[str, Prompt] = {}
    seen: dict[str, str] = {}
    for where, value in read_jsonl(path):
        row = validate(_Row, value, where=where)
        if row.text is not None and kind != "likelihood":
            raise ConfigError(
                "text is raw, and there is nothing in it to answer",
                where=where,
                remedy='Write prompt or messages, or set kind = "likelihood".',
            )
        prompt = row.to_prompt()
        if prompt.id in prompts:
            line = seen[prompt.id].rpartition(":")[2]
            raise ConfigError(
                f"id {prompt.id!r} is also that of line {line}", where=where, remedy="Give every row its own id."
            )
        prompts[prompt.id], seen[prompt.id] = prompt, where
    return tuple(prompts.values())


def _run_builder(
    path: str, options: Mapping[str, Any], progress: Progress, where: str
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    module_name, _, name = path.partition(":")
    try:
        builder = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"builder {path!r} cannot be imported ({error})", where=where, remedy="Install the package that holds it."
        ) from error
    try:
        inspect.signature(builder).bind(progress=progress, **options)
    except TypeError as error:
        raise ConfigError(
            f"builder {path!r} does not take these options: {error}", where=where, remedy="Correct [suite.options]."
        ) from None
    try:
        built = builder(progress=progress, **options)
    except HarnessError:
        raise
    except Exception as error:  # a third party's code: whatever it raises is its own report
        raise PluginError(f"builder {path!r} raised {type(error).__name__}: {error}", where=where) from error
    if not _is_split(built):
        raise ConfigError(
            f"builder {path!r} does not return (train, items), each a sequence of Prompt",
            where=where,
            remedy="Correct what it returns.",
        )
    train, items = map(tuple, built)
    for prompts in (train, items):
        _check_unique(prompts, where)
    return train, items


# ---------------------------------------------------------------- checks


def _is_split(built: Any) -> bool:
    return (
        isinstance(built, tuple)
        and len(built) == 2
        and all(isinstance(part, Sequence) and all(isinstance(prompt, Prompt) for prompt in part) for part in built)
    )


def _check_unique(prompts: Sequence[Prompt], where: str) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise ConfigError(
                f"the builder made id {prompt.id!r} twice", where=where, remedy="Give every prompt its own id."
            )
        seen.add(prompt.id)


def _check_items(train: Sequence[Prompt], items: Sequence[Prompt], where: str) -> None:
    if not items:
        raise ConfigError("the suite holds out no items", where=_place(where), remedy="Add some to evaluate on.")
    by_id = {prompt.id: prompt for prompt in train}
    by_question = {prompt.question: prompt for prompt in train}
    for item in items:
        if twin := by_id.get(item.id) or by_question.get(item.question):
            what = f"item {item.id!r} is trained on, as {twin.id!r}"
            raise ConfigError(
                what,
                where=_place(where, item.id),
                remedy="Take it out of one side; what is evaluated must be held out.",
            )


def _place(manifest: str, row_id: str | None = None) -> str:
    """The file of the items, and in it the line of that id; the manifest, where a builder makes them."""
    folder = Path(manifest).parent
    items = _read_manifest(folder).suite.items
    if items is None:
        return manifest
    rows = read_jsonl(folder / items)
    return next((where for where, value in rows if value.get("id") == row_id), str(folder / items))


def with_judge_settings(suites: Sequence[Suite], settings: Mapping[str, Mapping[str, Any]]) -> tuple[Suite, ...]:
    """The suites with these settings over their judges' own, by the judge's name. Raises ConfigError for a name that
    judges none of them."""
    known = sorted({use.name for suite in suites for use in suite.judges})
    for name, given in settings.items():
        if name not in known:
            raise ConfigError(f"{name!r} judges none of the suites", where="judges", remedy=did_you_mean(name, known))
        if not isinstance(given, Mapping):
            raise ConfigError(f"{name} = {given!r} is no table", where="judges", remedy=f"Write {name}.KEY=VALUE.")
    return tuple(
        replace(
            suite,
            judges=tuple(replace(u, config={**u.config, **settings.get(u.name, {})}) for u in suite.judges),
        )
        for suite in suites
    )
