"""Tools and calls in the syntax of each family, through its own chat template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_families import save_with_tokenizer
from tiny_llama import ask
from tiny_templates import TEMPLATES, family_tokenizer

from harness import chat
from harness.chat_template import tools_keyword
from harness.demonstrations import demonstration
from harness.protocols import RunContext
from harness.specs import NoConfig
from harness.tools import DECLINE, ToolCall, parse_calls, render_tools, write_calls
from harness.types import Prompt, Sampling
from harness_judges.settings import ToolCallConfig
from harness_judges.tool_call.judge import tool_call_judge
from harness_plugins.generators.configs import TransformersConfig
from harness_plugins.generators.reference import create_reference
from harness_plugins.generators.transformers_generator import create_transformers

TOOLS = json.dumps(
    [
        {
            "name": "weather",
            "description": "Weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ]
)
ROME, OSLO = (
    ToolCall("weather", {"city": "Rome"}),
    ToolCall("weather", {"city": 'Ø"slo [ARGS]', "deep": {"x": [1, None]}}),
)
KNOW_TOOLS = [family for family in TEMPLATES if family != "gemma"]


def prompt_for(*calls: ToolCall) -> Prompt:
    return ask("Rome?", id="p", tools=TOOLS, reference=write_calls(calls))


def published(name: str) -> str:
    """A template as its authors publish it, from TRL."""
    trl = pytest.importorskip("trl")
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


# ---------------------------------------------------------------- demonstrations

EXPECTED = {
    "qwen2": '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "qwen3": '<think>\n\n</think>\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "smollm3": '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "llama3": '{"name": "weather", "parameters": {"city": "Rome"}}',
    "mistral": '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}, "id": "call00000"}]',
    "mistral_v11": '[TOOL_CALLS]weather[CALL_ID]call00000[ARGS]{"city": "Rome"}',
    "gemma": '[{"name": "weather", "arguments": {"city": "Rome"}}]',
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_a_call_is_demonstrated_in_the_family_s_own_syntax(family: str) -> None:
    assert demonstration(family_tokenizer(TEMPLATES[family]), prompt_for(ROME)) == EXPECTED[family]


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("calls", [(), (ROME,), (ROME, OSLO)], ids=["none", "one", "two"])
def test_a_demonstration_reads_back_as_its_calls_from_its_tokens(family: str, calls: tuple[ToolCall, ...]) -> None:
    tokenizer = family_tokenizer(TEMPLATES[family])
    ids = chat.encode_completion(tokenizer, demonstration(tokenizer, prompt_for(*calls)))
    assert parse_calls(chat.decode(tokenizer, ids)) == list(calls)


@pytest.mark.parametrize("family", KNOW_TOOLS)
def test_prompt_and_demonstration_are_the_whole_chat(family: str) -> None:
    """What is trained on continues the prompt as the template itself continues it."""
    tokenizer, prompt = family_tokenizer(TEMPLATES[family]), prompt_for(ROME)
    ids = [*chat.render(tokenizer, prompt), *chat.encode_completion(tokenizer, demonstration(tokenizer, prompt))]
    shown = tokenizer.decode(ids)
    answer = {"role": "assistant", "content": EXPECTED[family]}
    if family != "smollm3":
        function = {"name": "weather", "arguments": {"city": "Rome"}}
        answer = {"role": "assistant", "content": "", "tool_calls": [{"id": "call00000", "function": function}]}
    chat_of_all = [{"role": "system", "content": DECLINE}, *prompt.messages, answer]
    if family == "mistral":
        chat_of_all = [{"role": "user", "content": f"{DECLINE}\n\nRome?"}, answer]
    tools = [{"type": "function", "function": json.loads(TOOLS)[0]}]
    options = {tools_keyword(tokenizer): tools, "strftime_now": lambda _: "01 January 2025"}
    assert tokenizer.apply_chat_template(chat_of_all, tokenize=False, **options).rstrip("\n") == shown


def test_several_calls_where_the_template_takes_one_are_a_json_array() -> None:
    tokenizer = family_tokenizer(TEMPLATES["llama3"])
    assert demonstration(tokenizer, prompt_for(ROME, OSLO)) == write_calls([ROME, OSLO])


def test_what_is_not_calls_is_demonstrated_as_it_stands() -> None:
    tokenizer = family_tokenizer(TEMPLATES["qwen2"])
    assert demonstration(tokenizer, ask("q", tools=TOOLS, reference="Just prose.")) == "Just prose."
    assert demonstration(tokenizer, ask("q", reference="[]")) == "[]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen2_5", EXPECTED["qwen2"]),
        ("qwen3", EXPECTED["qwen3"]),
        ("llama3_1", EXPECTED["llama3"]),
        ("llama3_2", EXPECTED["llama3"]),
        ("llama3", EXPECTED["gemma"]),
        ("gemma", EXPECTED["gemma"]),
        ("gemma3", EXPECTED["gemma"]),
    ],
)
def test_published_templates(name: str, expected: str) -> None:
    tokenizer, prompt = family_tokenizer(published(name)), prompt_for(ROME)
    assert demonstration(tokenizer, prompt) == expected
    shown = tokenizer.decode(chat.render(tokenizer, prompt))
    assert (DECLINE in shown) == (expected != EXPECTED["gemma"])
    assert (render_tools(TOOLS) in shown) == (expected == EXPECTED["gemma"])
    assert "Rome?" in shown


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("family", KNOW_TOOLS)
def test_the_template_s_own_tools_are_shown_with_a_way_to_decline(family: str) -> None:
    shown = chat_text(family, prompt_for(ROME))
    assert "Weather of a city." in shown
    assert DECLINE in shown
    assert render_tools(TOOLS) not in shown


def test_a_template_without_a_system_role_finds_its_text_in_the_first_question() -> None:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rome?"})
    assert chat_text("gemma", Prompt("p", messages)) == (
        "<start_of_turn>user\nBe brief.\n\nRome?<end_of_turn>\n<start_of_turn>model\n"
    )
    shown = chat_text("gemma", Prompt("p", messages, tools=TOOLS))
    assert shown.startswith(f"<start_of_turn>user\n{render_tools(TOOLS)}\n\nBe brief.\n\nRome?<end_of_turn>")


def test_a_template_that_writes_the_date_writes_the_same_one_every_day() -> None:
    assert "Today: 01 January 2025" in chat_text("smollm3", ask("hi"))


def chat_text(family: str, prompt: Prompt) -> str:
    tokenizer = family_tokenizer(TEMPLATES[family])
    return str(tokenizer.decode(chat.render(tokenizer, prompt)))


# ---------------------------------------------------------------- decoding


def test_marks_of_calls_stay_in_the_text_and_other_special_tokens_do_not() -> None:
    tokenizer = family_tokenizer(TEMPLATES["mistral"])
    ids = tokenizer.encode("[INST]a[TOOL_CALLS]f[ARGS]{}<|im_end|><|python_tag|>ü", add_special_tokens=False)
    assert chat.decode(tokenizer, ids) == "a[TOOL_CALLS]f[ARGS]{}<|python_tag|>ü"


# ---------------------------------------------------------------- judges and constrained decoding


@pytest.mark.parametrize("family", TEMPLATES)
def test_the_judge_reads_what_each_family_says(family: str, tmp_path: Path) -> None:
    """A demonstrated call is right where one is due, a demonstrated [] where none is, and neither the other way."""
    reference = save_with_tokenizer("llama", family_tokenizer(TEMPLATES[family]), tmp_path)
    judge = tool_call_judge(ToolCallConfig())
    generator = create_reference(NoConfig(), RunContext(model=reference))
    due = json.dumps({"calls": [{"name": "weather", "arguments": {"city": ["Rome"]}}]})
    none = json.dumps({"calls": []})
    for target, calls, value in [(due, [ROME], 1.0), (none, [], 1.0), (due, [], 0.0), (none, [ROME], 0.0)]:
        prompt = ask("Rome?", tools=TOOLS, reference=write_calls(calls), target=target)
        groups = generator.generate([prompt], n=1, sampling=Sampling(), seed=0)
        assert judge.score(groups)[0][0].value == value


@pytest.mark.parametrize("family", ["qwen3", "llama3", "mistral"])
def test_constrained_answers_stay_json_and_readable(family: str, tmp_path: Path) -> None:
    reference = save_with_tokenizer("llama", family_tokenizer(TEMPLATES[family]), tmp_path)
    generator = create_transformers(TransformersConfig(dtype="float32", device="cpu"), RunContext(model=reference))
    (group,) = generator.generate([prompt_for()], n=8, sampling=Sampling(max_tokens=60, constrained=True), seed=0)
    finished = [completion.text for completion in group.completions if completion.finish_reason == "stop"]
    assert finished
    for text in finished:
        assert {call.name for call in parse_calls(text)} <= {"weather"}
