"""Forms and facts turned into prompts: a schema, a text that says what belongs into it, and the object that is right.

`held_out.json` and `train.json` hold the forms. A form has `properties` (JSON Schema, in which an object with
`properties` requires all of them and allows no others), `value` (the object, with `"$slot"` where a fact goes), `texts`
(with `{slot}` where it is told) and `slots`: facts, as one string, or as what is told and the JSON that it means.

Nothing is drawn at random: which facts meet is decided by hashes of their names, and a test pins a digest of it all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.protocols import Progress
from harness.types import Prompt

ITEMS_PER_FORM = 5

# The two sides are asked in words of their own: what is learnt must not be the sentence.
LEADS = {
    "held_out": (
        "Read the text and fill in the form that the JSON Schema describes. Write the JSON object and nothing else, "
        "without a code fence. Copy names as they are written and keep lists in the order of the text.",
        "Here are a schema and a note. Give me the note as one JSON object that fits the schema, with no other word "
        "before or after it. Lists stay in the order of the note, names stay as they are spelled.",
        "Turn the text below into JSON that is valid under this schema. Your whole answer must be that JSON. Take "
        "words over unchanged, and list things in the order in which they are told.",
    ),
    "train": (
        "Extract the data from the message. Reply with a single JSON object that satisfies the schema, and with "
        "nothing besides. Do not change the spelling of anything or the order of a list.",
        "You get a JSON Schema and a message. Answer only with the object that records the message under that schema: "
        "no Markdown, no comment. Spellings and the order of lists are those of the message.",
        "Record this message as JSON. The schema says which keys there are and what they hold. Output the JSON alone, "
        "with words spelled and lists ordered as in the message.",
    ),
}

Form = Mapping[str, Any]


def build(progress: Progress) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Train and held-out prompts. Each side has forms and facts of its own; a form is a cluster."""
    train, held_out = (_side(side) for side in ("train", "held_out"))
    return train, held_out


def _side(side: str) -> tuple[Prompt, ...]:
    forms = json.loads((Path(__file__).parent / f"{side}.json").read_text(encoding="utf-8"))
    prompts = [make_prompt(form, index, LEADS[side]) for form in forms for index in range(ITEMS_PER_FORM)]
    return tuple(sorted(prompts, key=lambda prompt: _hash(prompt.id)))


def make_prompt(form: Form, index: int, leads: Sequence[str]) -> Prompt:
    """The prompt with number `index` of a form."""
    facts = {slot: _fact(form["name"], slot, values, index) for slot, values in form["slots"].items()}
    text = form["texts"][index % len(form["texts"])].format_map({slot: told for slot, (told, _) in facts.items()})
    value = _filled(form["value"], {f"${slot}": meant for slot, (_, meant) in facts.items()})
    schema = json_schema({"title": form["name"], "properties": form["properties"]})
    ask = f"{leads[index % len(leads)]}\n\nSchema: {_json(schema)}\n\nText: {text}"
    return Prompt(
        id=f"{form['name']}-{index + 1}",
        messages=({"role": "user", "content": ask},),
        target=_json({"value": value}),
        reference=_json(value),
        schema=_json(schema),
        cluster=form["name"],
        metadata={"category": form["kind"]},
    )


def json_schema(node: Any) -> Any:
    """The form's schema written out: every object says that it is one, and that its keys are due and no others."""
    if isinstance(node, list):
        return [json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "properties" not in node:
        return {key: json_schema(value) for key, value in node.items()}
    properties = {name: json_schema(value) for name, value in node["properties"].items()}
    rest = {key: value for key, value in node.items() if key != "properties"}
    return {
        **rest,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _fact(form: str, slot: str, values: Sequence[Any], index: int) -> tuple[str, Any]:
    """What is told, and the JSON that it means. Every form runs through a slot's facts in an order of its own."""
    fact = _shuffled(values, f"{form} {slot}")[index % len(values)]
    return (fact, fact) if isinstance(fact, str) else (fact[0], fact[1])


def _filled(node: Any, facts: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, facts) for key, value in node.items()}
    return facts[node]


def _shuffled(values: Iterable[Any], salt: str) -> list[Any]:
    return sorted(values, key=lambda value: _hash(f"{salt} {_json(value)}"))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
