"""A model card is a pure function of what is known, and says what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from harness.lineage import Lineage, Result, Step, SuiteFacts, base_license, public_name
from harness.model_card import model_card

STEP = Step(
    round=1,
    updater="preference",
    config={"objective": "mixture", "objective_config": {"parts": [{"objective": "dpo"}, {"objective": "chosen_nll"}]}},
    source="vllm",
    prompts={"calls": 8},
    groups=8,
    completions=32,
    parent="base",
    version="a" * 64,
    figures={"reward/mean": 0.25},
    seed=7,
    outcome="inconclusive",
    sentence="Inconclusive.",
    results=(Result("calls", "target", None, 0.5, None, None, None),),
)


def card(lineage: Lineage, library: str = "transformers") -> str:
    return model_card(lineage, name="mine", format="merged", library=library, settings={"dtype": "bfloat16"})


def test_the_front_matter_is_what_hubs_read() -> None:
    data = ModelCard(card(Lineage("a" * 64, "org/basé: 7", "f" * 64, "Apache-2.0", {}, (STEP,)))).data
    assert (data.base_model, data.library_name, data.license) == ("org/basé: 7", "transformers", "apache-2.0")
    assert data.tags == ["harness", "preference", "chosen_nll", "dpo", "mixture"]
    unknown = card(Lineage("a" * 64, "m", "f" * 64, None, {}, (STEP,)))
    assert ModelCard(unknown).data.license is None
    assert "license:" not in unknown


def test_what_is_not_known_is_said() -> None:
    text = card(Lineage("a" * 64, "m", "f" * 64, None, {}, ()))
    for words in ("in a way that is not recorded", "Not evaluated by a gate", "names neither suites nor judges"):
        assert words in text
    text = card(Lineage("a" * 64, "m", "f" * 64, None, {}, (STEP,), suites=(SuiteFacts("a|b", "1", "target", None),)))
    assert "| calls | target | not scored | 50.0 | not compared |" in text
    assert "| a\\|b | 1 | target | not known |" in text
    assert "The gate did not promote it: inconclusive." in text


@pytest.mark.parametrize(
    ("name", "public"), [("smollm2-135m", "smollm2-135m"), ("org/name@main", "org/name"), ("/home/me/mine", "mine")]
)
def test_a_models_name_says_nothing_of_a_machine(name: str, public: str) -> None:
    assert public_name(name) == public


def test_a_relative_folder_and_a_known_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("org/name") == "name"
    assert base_license("smollm2-135m") == "Apache-2.0"
    assert base_license("org/name") is None
