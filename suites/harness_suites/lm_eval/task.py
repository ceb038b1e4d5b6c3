"""Tasks of lm-evaluation-harness: loading one, and its documents as prompts."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, HarnessError, did_you_mean
from harness.types import Prompt

INSTALL = "pip install 'harness-align[lm-eval]'"
ROLLING = "loglikelihood_rolling"


# ---------------------------------------------------------------- loading


def where_of(name: str) -> str:
    return f"lm_eval:{name}"


def is_file(name: str) -> bool:
    """Whether a task's name is the path of its YAML file."""
    return name.endswith((".yaml", ".yml"))


@functools.cache
def load_task(name: str) -> Any:
    """The package's `ConfigurableTask`, with its documents.

    Raises HarnessError when the package is missing, ConfigError when it has no such task, its data cannot be had, or it
    asks for something that a suite cannot hold.
    """
    where = where_of(name)
    try:
        from lm_eval.api.task import ConfigurableTask
    except ImportError as error:
        raise HarnessError(
            f"lm-evaluation-harness is not installed, or not whole ({error})", where=where, remedy=INSTALL
        ) from None
    manager = _manager(defaults=not is_file(name))
    if is_file(name) and not Path(name).is_file():
        raise ConfigError("no such file", where=where, remedy="Give the path of a task's YAML file.")
    if not is_file(name) and name not in manager.task_index:
        raise ConfigError("no such task", where=where, remedy=did_you_mean(name, manager.all_tasks))
    if name in manager.all_groups or name in manager.all_tags:
        raise ConfigError(
            "it is a group of tasks", where=where, remedy="Name one of them; `lm-eval ls tasks` lists all."
        )
    try:
        (task,) = manager.load(name)["tasks"].values()
    except Exception as error:  # a task runs code of its own, and its data are anywhere
        raise ConfigError(
            f"the task cannot be loaded ({type(error).__name__}: {str(error).partition(chr(10))[0]})",
            where=where,
            remedy="Most tasks fetch their data from a hub; one of your own may name files (dataset_path: json).",
        ) from error
    if not isinstance(task, ConfigurableTask):
        raise _unfit(where, "it is a program, not a description in YAML")
    _require_fit(task, where)
    return task


@functools.cache
def _manager(*, defaults: bool) -> Any:
    """The index of all tasks (reading it takes seconds), or of none."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=defaults)


def _require_fit(task: Any, where: str) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise _unfit(where, "its metric runs the code that the model writes")
    if getattr(task, "MULTIMODAL", False):
        raise _unfit(where, "it shows pictures or plays sounds")
    if task.config.repeats > 1:
        raise _unfit(where, f"it asks for {task.config.repeats} answers an item and judges them together")
    if task.multiple_input:
        raise _unfit(where, "its items vary what comes before the answer, and not the answer")
    if task.OUTPUT_TYPE == "generate_until" and task.config.gen_prefix:
        raise _unfit(where, "it begins the model's answer itself")


def _unfit(where: str, what: str) -> ConfigError:
    return ConfigError(what, where=where, remedy="Suites cannot hold such a task: choose another.")


# ---------------------------------------------------------------- documents as prompts


def prompts_of(name: str, *, num_fewshot: int | None = None, chat: bool = False) -> tuple[Prompt, ...]:
    """The documents that the task is evaluated on, in their order, with the few-shot examples that the package itself
    would draw. Raises ConfigError for what a suite cannot hold."""
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    task, where = load_task(name), where_of(name)
    own = task.config.num_fewshot
    if own == 0 and num_fewshot:
        raise ConfigError("the task says that it has no examples", where=where, remedy="Leave num_fewshot out.")
    task.set_fewshot_seed(DEFAULT_OTHER_SEED)
    shots = (own or 0) if num_fewshot is None else num_fewshot
    chat = chat or task.OUTPUT_TYPE == "generate_until"
    if chat and task.OUTPUT_TYPE == ROLLING:
        raise ConfigError("its documents are raw text", where=where, remedy="Leave chat out.")
    return tuple(_prompt(task, f"{index}", doc, shots, chat) for index, doc in task.doc_iterator())


def _prompt(task: Any, name: str, doc: Mapping[str, Any], shots: int, chat: bool) -> Prompt:
    context = task.fewshot_context(
        doc,
        num_fewshot=shots,
        apply_chat_template=chat,
        fewshot_as_multiturn=True,
        # The template is applied by whoever samples; here the messages are wanted as they are.
        chat_template=lambda messages, add_generation_prompt: json.dumps(messages),
        gen_prefix=task.doc_to_prefix(doc),
    )
    messages = tuple(json.loads(context)) if chat else ()
    target: dict[str, Any] = {} if chat else {"context": context}
    made = task.construct_requests(
        doc, context, metadata=(task.task_name, 0, 1), apply_chat_template=chat, chat_template=None
    )
    reference = None
    match task.OUTPUT_TYPE:
        case "multiple_choice":
            target |= _choices(task, doc, [request.args[1] for request in made])
        case "loglikelihood":
            reference = made.args[1]
        case "loglikelihood_rolling":
            target, reference = {}, made.args[0]
        case "generate_until":
            answer = task.doc_to_target(doc)
            target, reference = {"doc": dict(doc)}, answer if isinstance(answer, str) else None
    return Prompt(
        id=name,
        messages=messages,
        target=_json(target, where_of(task.task_name)) if target else "",
        reference=reference,
        cluster=name,
    )


def _choices(task: Any, doc: Mapping[str, Any], continuations: Sequence[str]) -> dict[str, Any]:
    choices = list(task.doc_to_choice(doc))
    gold = task.doc_to_target(doc)
    return {
        "choices": choices,
        "gold": choices.index(gold) if isinstance(gold, str) and gold in choices else gold,
        "delimiter": continuations[0].removesuffix(choices[0]),
    }


def _json(value: Any, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError as error:
        raise _unfit(where, f"its documents are more than JSON can say ({error})") from None
