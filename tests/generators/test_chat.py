from __future__ import annotations

import hashlib
import json

import pytest
from tiny_llama import TEMPLATE, ask, byte_tokenizer

from harness import chat
from harness.errors import HarnessError
from harness.protocols import ModelRef
from harness.tools import DECLINE, INSTRUCTION, render_tools
from harness.types import Prompt, Sampling

PARAMETERS = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOLS = json.dumps([{"name": "add", "description": "Adds.", "parameters": PARAMETERS}])
TOOL_TEMPLATE = "{% for t in tools or [] %}[{{ t.type }}:{{ t.function.name }}]{% endfor %}" + TEMPLATE


def text_of(tokenizer, prompt):
    return tokenizer.decode(chat.render(tokenizer, prompt))


def test_prompt_without_tools_is_the_chat_and_a_header():
    assert text_of(byte_tokenizer(), ask("hi")) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_tools_become_the_system_message_where_the_template_knows_none():
    shown = text_of(byte_tokenizer(), ask("hi", tools=TOOLS))
    assert shown.startswith(f"<|im_start|>system\n{render_tools(TOOLS)}<|im_end|>\n<|im_start|>user\nhi")


def test_tools_come_before_an_existing_system_message():
    prompt = Prompt("p", ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}), tools=TOOLS)
    shown = text_of(byte_tokenizer(), prompt)
    assert shown.startswith(f"<|im_start|>system\n{render_tools(TOOLS)}\n\nBe brief.<|im_end|>\n<|im_start|>user")
    assert prompt.messages[0]["content"] == "Be brief."


def test_a_template_that_knows_tools_is_given_them_in_the_openai_wrapper_and_a_way_to_decline():
    shown = text_of(byte_tokenizer(TOOL_TEMPLATE), ask("hi", tools=TOOLS))
    assert shown.startswith(f"[function:add]<|im_start|>system\n{DECLINE}<|im_end|>\n<|im_start|>user")
    assert INSTRUCTION not in shown


def test_the_way_to_decline_follows_an_existing_system_message():
    prompt = Prompt("p", ({"role": "system", "content": "Use {x}."}, {"role": "user", "content": "hi"}), tools=TOOLS)
    shown = text_of(byte_tokenizer(TOOL_TEMPLATE), prompt)
    assert f"<|im_start|>system\nUse {{x}}.\n\n{DECLINE}<|im_end|>\n<|im_start|>user" in shown


def test_without_tools_a_template_that_knows_them_is_told_nothing():
    assert DECLINE not in text_of(byte_tokenizer(TOOL_TEMPLATE), ask("hi"))


def test_prompts_of_a_model_without_a_tool_template_stay_as_they_are():
    """Runs are compared by the token ids of their prompts: these were rendered before templates were asked at all."""
    tools = json.dumps(
        [
            {
                "name": "weather",
                "description": "Weather  of a\ncity.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "description": "Where."},
                        "days": {"type": "integer"},
                        "unit": {"enum": ["C", "F"]},
                    },
                    "required": ["city"],
                },
            }
        ]
    )
    prompt = Prompt("p", ({"role": "system", "content": ""}, {"role": "user", "content": "Rome?"}), tools=tools)
    ids = chat.render(byte_tokenizer(), prompt)
    shown = byte_tokenizer().decode(ids)
    assert shown == (
        "<|im_start|>system\n"
        'Answer with a JSON list of calls, such as [{"name": "f", "arguments": {"x": 1}}], one for each thing that is '
        "asked, or with [] if no function fits.\n"
        "\n"
        'weather(city: string, days?: integer, unit?: "C" | "F")\n'
        "Weather of a city.\n"
        "- city: Where.\n"
        "\n"
        "<|im_end|>\n"
        "<|im_start|>user\n"
        "Rome?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest() == (
        "5a049aed804eb554aff99d1d0600191638d1f771c62d15a4a2dc7c4a5235f3c4"
    )


def test_missing_template_is_an_error_with_a_remedy():
    with pytest.raises(HarnessError, match=r"no chat template.*chat_template.jinja"):
        chat.render(byte_tokenizer(None), ask("hi"))


def test_a_chat_that_the_template_refuses_is_named():
    refusing = byte_tokenizer("{{ raise_exception('no system role') }}")
    with pytest.raises(HarnessError, match=r"prompt p7: .*no system role"):
        chat.render(refusing, ask("hi", id="p7"))


@pytest.mark.parametrize("text", ["", "plain", ' {"a": "é\\n"}  ', "日本 <|im_start|>"])
def test_completion_ends_with_end_of_turn_and_decodes_to_its_text(text):
    tokenizer = byte_tokenizer()
    ids = chat.encode_completion(tokenizer, text)
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert chat.decode(tokenizer, ids) == text.replace("<|im_start|>", "")


def test_the_template_decides_which_token_ends_a_turn():
    tokenizer = byte_tokenizer(TEMPLATE.replace("<|im_end|>", "<|eot|>"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|eot|>"]})
    eot, eos = tokenizer.convert_tokens_to_ids("<|eot|>"), tokenizer.eos_token_id
    assert chat.encode_completion(tokenizer, "a")[-1] == eot != eos
    assert chat.stop_ids(tokenizer, None) == {eot, eos}


def test_stop_ids_include_those_of_the_generation_config():
    from transformers import GenerationConfig

    tokenizer = byte_tokenizer()
    assert chat.stop_ids(tokenizer, GenerationConfig(eos_token_id=[3, 4])) == {3, 4, tokenizer.eos_token_id}


def test_budget_is_cut_by_the_context_and_a_full_context_is_refused():
    assert chat.completion_budget(ask("p"), 10, Sampling(max_tokens=50), 100) == 50
    assert chat.completion_budget(ask("p"), 90, Sampling(max_tokens=50), 100) == 10
    with pytest.raises(HarnessError, match="prompt p: the prompt has 100 tokens"):
        chat.completion_budget(ask("p"), 100, Sampling(), 100)


def test_tokenizer_folder_without_tokenizer(tmp_path):
    with pytest.raises(HarnessError, match="no tokenizer"):
        chat.load_tokenizer(tmp_path)


def test_saved_tokenizer_renders_the_same(tiny: ModelRef):
    assert chat.render(chat.load_tokenizer(tiny.path), ask("hi", tools=TOOLS)) == chat.render(
        byte_tokenizer(), ask("hi", tools=TOOLS)
    )
