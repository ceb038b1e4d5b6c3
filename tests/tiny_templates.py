"""Small chat templates with the structure of the published ones: what they do with tools, calls and system messages."""

from __future__ import annotations

from tiny_llama import byte_tokenizer
from transformers import PreTrainedTokenizerFast

CHATML_TAGGED = """
{%- if tools %}<|im_start|>system
{{ messages[0].content ~ '\n' if messages[0].role == 'system' }}Functions:
{% for t in tools %}{{ t | tojson }}
{% endfor %}Call like <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>
{% endif %}
{%- for m in (messages[1:] if tools and messages[0].role == 'system' else messages) %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.last and THINK %}<think>\n\n</think>\n\n{% endif %}
{{- m.content }}
{%- for c in m.tool_calls or [] %}{{ '' if loop.first else '\n' }}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

TEMPLATES = {
    "qwen2": CHATML_TAGGED.replace("THINK", "false"),
    "qwen3": CHATML_TAGGED.replace("THINK", "true"),
    # Tools under another name, today's date, and calls of the assistant left out.
    "smollm3": """<|im_start|>system
Today: {{ strftime_now('%d %B %Y') }}
{{ messages[0].content if messages[0].role == 'system' }}
{%- if xml_tools %}
Call like <tool_call>...</tool_call>: {% for t in xml_tools %}{{ t }}{% endfor %}{% endif %}<|im_end|>
{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}""",
    # One call an answer, as bare JSON with "parameters".
    "llama3": """
{%- for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{% if m.tool_calls %}
{%- if m.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- set f = m.tool_calls[0].function -%}
{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}
{%- else %}{{ '' if not tools or m.role != 'user' else tools | tojson }}{{ m.content }}
{%- endif %}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}""",
    # No header before an answer; ids are checked.
    "mistral": """
{%- for m in messages %}
{%- if m.role == 'user' %}{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif -%}
[INST] {{ m.content }}[/INST]
{%- elif m.role == 'system' %}{{ raise_exception('no system role') }}
{%- elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}
{%- if c.id | length != 9 %}{{ raise_exception('ids have nine characters') }}{% endif -%}
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}
{{- '' if loop.last else ', ' }}{% endfor %}]<|im_end|>
{%- else %} {{ m.content }}<|im_end|>
{%- endif %}
{%- endfor %}""",
    "mistral_v11": """
{%- for m in messages %}
{%- if m.role == 'user' %}[INST]{{ tools | tojson if tools }}{{ m.content }}[/INST]
{%- elif m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]
{%- elif m.tool_calls %}{% for c in m.tool_calls -%}
[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>
{%- else %}{{ m.content }}<|im_end|>
{%- endif %}
{%- endfor %}""",
    # No tools and no system role.
    "gemma": """
{%- for m in messages %}
{%- if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif -%}
<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}
{%- if add_generation_prompt %}<start_of_turn>model
{% endif %}""",
}

SPECIAL = ["<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"]
SPECIAL += ["[INST]", "[/INST]", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "<start_of_turn>", "<end_of_turn>"]


def family_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """A byte tokenizer in which the marks of turns are special, and those of calls where they are in the families."""
    tokenizer = byte_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL, "bos_token": "<s>"})
    tokenizer.add_tokens(["<tool_call>", "</tool_call>", "<think>", "</think>"])
    return tokenizer
