"""Every row of the decision table: which stages it gives, and that the loop takes the config."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.api import plan_loop
from harness.errors import ConfigError
from harness.plugins import load_registry
from harness.recipes import SMALL_MODEL, Answers, recipe

ROWS: dict[str, dict[str, Any]] = {
    "demos": {"prompt": "Hi?", "completion": "Hello."},
    "pairs": {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."},
    "feedback": {"prompt": "Hi?", "completion": "No.", "label": False},
    "text": {"text": "It is customary to say hello."},
}
LARGER = "larger"
"""A model that is not the small one; the tests name a tiny one in its place."""

REGISTRY = load_registry()


def case(name: str, stages: str, *kinds: str, **settings: Any) -> Any:
    """`kinds` with a `+` have a file. `stages`: updater or updater:objective, and `@` where it reads a file."""
    data = {kind.rstrip("+"): f"{kind[:-1]}.jsonl" if kind.endswith("+") else None for kind in kinds}
    return pytest.param({"goal": "chat", **settings, "data": data}, stages, id=name)


CASES = [
    case("demonstrations", "sft preference:dpo", "demos"),
    case("a file of demonstrations", "sft@ preference:dpo", "demos+"),
    case("demonstrations and pairs", "sft preference:dpo@", "demos", "pairs+"),
    case("pairs, then own samples", "preference:dpo@ preference:dpo", "pairs+", "prompts"),
    case("noisy pairs", "preference:robust_dpo@", "pairs+", noisy=True),
    case("noisy judges", "preference:robust_dpo", "prompts", noisy=True),
    case("feedback", "unpaired:kto@", "feedback+"),
    case("noisy feedback", "unpaired:kto@", "feedback+", noisy=True),
    case("pairs and feedback", "preference:dpo@ unpaired:kto@", "pairs+", "feedback+"),
    case("prompts", "preference:dpo", "prompts"),
    case("domain without text", "sft preference:dpo", "demos", goal="domain"),
    case("tool calls", "sft group:dapo", "demos", goal="tool-calls"),
    case("strict JSON", "sft group:dapo", "prompts", goal="json"),
    case("tool calls, all at hand", "sft@ preference:dpo@ unpaired:kto@ group:dapo", "demos+", "pairs+", "feedback+",
         goal="tool-calls"),
    case("GPU", "sft group:dapo", "demos", goal="json", hardware="gpu", model=LARGER),
    case("cluster", "sft group:dapo", "demos", goal="json", hardware="cluster", model=LARGER),
    case("text", "cpt@ sft preference:dpo", "text+", goal="domain"),
    case("text, demonstrations, pairs", "cpt@ sft@ preference:robust_dpo@", "text+", "demos+", "pairs+", goal="domain",
         noisy=True),
    case("small GPU", "sft preference:dpo", "demos", hardware="gpu-small"),
    case("larger model on a CPU", "sft group:dapo", "demos", goal="json", model=LARGER),
    case("text on a small GPU", "cpt@ sft preference:dpo", "text+", goal="domain", hardware="gpu-small"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "stages"), CASES)
def test_the_loop_takes_what_is_written(
    answers: dict[str, Any], stages: str, letters: Path, tiny_model: Path, tmp_path: Path
) -> None:
    for kind, file in answers["data"].items():
        if file:
            (tmp_path / file).write_text(json.dumps(ROWS[kind]))
    made = recipe(Answers(suite=str(letters), **answers))
    (tmp_path / "loop.toml").write_text(made.toml)
    plan = plan_loop(tmp_path / "loop.toml", sets=[f"model={tiny_model}"], registry=REGISTRY)
    planned = []
    for stage in plan.config.stages:
        objective = "" if stage.updater in ("sft", "cpt") else f":{stage.config['objective']}"
        planned.append(f"{stage.updater}{objective}{'@' if stage.data else ''}")
        assert stage.gate == ("hold" if stage.updater == "cpt" else "gain")
    assert " ".join(planned) == stages
    assert [suite.name for suite in plan.suites] == ["letters", "general"]


@pytest.mark.parametrize(("answers", "stages"), [pytest.param(*c.values, id=c.id) for c in CASES])
def test_stages_and_their_reasons_whatever_is_installed(answers: dict[str, Any], stages: str) -> None:
    made = recipe(Answers(suite="s", **answers))
    values = tomllib.loads(made.toml)
    assert [stage["updater"] for stage in values["stages"]] == [
        name.split(":")[0].rstrip("@") for name in stages.split()
    ]
    small = answers.get("hardware") == "gpu-small" or (
        answers.get("model") == LARGER and answers.get("hardware", "cpu") == "cpu"
    )
    for stage in values["stages"]:
        assert stage.get("gate") == ("hold" if stage["updater"] == "cpt" else None)
        assert stage.get("config", {}).get("quantization") == ("nf4" if small else None)
        assert not small or stage["config"]["max_tokens_per_row"] <= 512
    assert values["adapter"]["peft_type"] == "LORA"
    lines = made.toml.splitlines()
    headers = [index for index, line in enumerate(lines) if line == "[[stages]]"]
    assert all(lines[index - 1].startswith("# ") for index in headers)
    reasons = dict(made.reasons)
    assert all(reasons[f"stages.{number}"] == lines[index - 1][2:] for number, index in enumerate(headers))
    assert all(why and f"# {why}" in lines for why in reasons.values())


def test_a_whole_config() -> None:
    made = recipe(Answers(suite="calls", goal="tool-calls", data={"demos": None}))
    assert tomllib.loads(made.toml) == {
        "suite": "calls",
        "model": SMALL_MODEL,
        "beside": ["general"],
        "adapter": {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
        "stages": [
            {"updater": "sft", "generator": "reference", "prompts": 256, "replay": {"general": 32}},
            {
                "updater": "group",
                "prompts": 32,
                "n": 8,
                "rounds": 2,
                "config": {"objective": "dapo", "learning_rate": 1e-4},
            },
        ],
        "eval": {},
    }
    assert "\n# constrained = true\n" in made.toml


def test_general_is_not_beside_itself() -> None:
    values = tomllib.loads(recipe(Answers(suite="general", goal="chat", data={"demos": None})).toml)
    assert "beside" not in values
    assert "replay" not in values["stages"][0]


def test_any_name_is_written_as_it_is() -> None:
    name = 'a "b" \\ c\n\x7f é'
    made = recipe(Answers(suite=name, goal="chat", data={"pairs": name}, model=name))
    values = tomllib.loads(made.toml)
    assert (values["suite"], values["model"], values["stages"][0]["data"]) == (name, name, name)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"goal": "chat", "data": {}}, "nothing is at hand"),
        ({"goal": "chat", "data": {"pairs": None}}, "no file of pairs is named.*--data pairs=FILE"),
        ({"goal": "domain", "data": {"text": None}}, "no file of text is named"),
        ({"goal": "chat", "data": {"prompts": "p.jsonl"}}, "prompts come with a suite"),
        ({"goal": "json", "data": {"demos": None}, "noisy": True}, "noise is a matter of pairs and of feedback"),
    ],
)
def test_answers_that_do_not_go_together(answers: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        recipe(Answers(suite="s", **answers))
