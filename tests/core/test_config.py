from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import tomli_w
from tiny import write_suite

from harness.api import plan_loop
from harness.config import LoopConfig, apply_sets, merge
from harness.errors import ConfigError, HarnessError, PluginError
from harness.toml_files import read_toml


def plan(letters: Path, model: Path, *sets: str) -> LoopConfig:
    return plan_loop({"suite": str(letters), "model": str(model)}, sets=sets).config


def test_layers_tables_merge_and_lists_replace() -> None:
    assert merge({"a": {"x": 1, "y": 1}, "l": [1, 2]}, {"a": {"y": 2}, "l": [3]}) == {"a": {"x": 1, "y": 2}, "l": [3]}


def test_sets_reach_into_lists_and_parse_toml_values() -> None:
    values = apply_sets(
        {"stages": [{"n": 1}]}, ["stages.0.n=16", "adapter.r=8", "name=a b", "flags=[1, 2]", "deep.x.y=true"]
    )
    assert values == {
        "stages": [{"n": 16}],
        "adapter": {"r": 8},
        "name": "a b",
        "flags": [1, 2],
        "deep": {"x": {"y": True}},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [("seed", "KEY=VALUE"), ("stages.7.n=1", "not an entry"), ("seed.x=1", "not a table"), ("=1", "KEY=VALUE")],
)
def test_a_bad_set_names_itself(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        apply_sets({"stages": [{}], "seed": 0}, [text])


def test_defaults_are_filled_in_and_explicit(letters: Path, tiny_model: Path) -> None:
    config = plan(letters, tiny_model)
    assert config.generator.name in ("vllm", "transformers")
    assert [stage.updater for stage in config.stages] == ["sft", "group"]
    assert config.stages[1].config["objective"] == "grpo"
    assert config.rounds == 3


def test_sets_reach_the_suites_own_recipe(letters: Path, tiny_model: Path) -> None:
    with (letters / "suite.toml").open("a") as file:
        file.write('\n[[recipe.stages]]\nupdater = "sft"\ngenerator = "reference"\nprompts = 5\n')
    config = plan(letters, tiny_model, "stages.0.rounds=4")
    assert (config.stages[0].prompts, config.stages[0].rounds, len(config.stages)) == (5, 4, 1)


def test_another_peft_type_does_not_inherit_lora_fields(letters: Path, tiny_model: Path) -> None:
    assert plan(letters, tiny_model, "adapter.r=4").adapter["lora_alpha"] == 32
    config = plan(letters, tiny_model, "adapter.peft_type=IA3", "adapter.target_modules=all-linear")
    assert config.adapter == {"peft_type": "IA3", "target_modules": "all-linear"}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("sede=1", r"unknown key 'sede'.*Did you mean seed"),
        ("stages.0.nn=1", r"unknown key 'stages\.0\.nn'"),
        ("seed=one", r"seed = 'one'"),
        ("stages.0.updater=stf", r"unknown updater 'stf'.*Did you mean sft"),
        ("stages.0.config.epochs=0", r"stages\.0\.config.*epochs = 0"),
        ("stages.1.config.objective=grop", r"unknown objective 'grop'.*grpo"),
        (
            "stages.1.config.objective=nll",
            r"'nll' is of family sft.*Choose bnpo, cispo, dapo, dr_grpo, grpo, gspo, rloo",
        ),
        ("stages.1.reward_weights.tool=1", r"does not judge suite letters"),
        ("generator.name=vlm", r"unknown generator 'vlm'.*vllm"),
        ("beside=['genral']", r"unknown suite 'genral'.*general"),
        ("stages.0.replay={general = 3}", r"stages\.0\.replay.*'general' is not a suite beside"),
        ("eval.epochs=3", r"same answers again"),
        ("gate.alpha=0.7", r"gate\.alpha = 0\.7"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(
    letters: Path, tiny_model: Path, setting: str, says: str
) -> None:
    with pytest.raises(HarnessError, match=says):
        plan(letters, tiny_model, setting)


def test_an_unknown_suite_or_model_is_refused(letters: Path, tiny_model: Path) -> None:
    with pytest.raises(PluginError, match="Did you mean tool-calls"):
        plan_loop({"suite": "tool-cals"})
    with pytest.raises(HarnessError, match="smollm2-135m"):
        plan_loop({"suite": str(letters), "model": "smollm2-135"})
    with pytest.raises(ConfigError, match="no suite is named"):
        plan_loop({})


def test_toml_errors_name_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "loop.toml"
    file.write_text('suite = "x"\nseed = = 1\n')
    with pytest.raises(ConfigError, match=r"loop\.toml: malformed TOML.*line 2"):
        read_toml(file)
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "absent.toml")


ROWS = '{"prompt": "a", "completion": "b"}\n'


@pytest.fixture
def with_rows(tmp_path: Path, letters: Path, tiny_model: Path) -> Path:
    """A config file whose one stage trains on the file beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "rows.jsonl").write_text(ROWS)
    stages = [{"updater": "sft", "data": "rows.jsonl", "gate": "hold"}]
    values = {"suite": str(letters), "model": str(tiny_model), "stages": stages}
    (folder / "loop.toml").write_text(tomli_w.dumps(values))
    return folder / "loop.toml"


def test_a_file_of_rows_is_found_beside_the_config_and_known_by_its_content(with_rows: Path, tmp_path: Path) -> None:
    plan = plan_loop(with_rows)
    [stage] = plan.config.stages
    assert (stage.data, stage.gate) == (str(with_rows.parent / "rows.jsonl"), "hold")
    (tmp_path / "resolved.toml").write_text(plan.toml)
    assert plan_loop(tmp_path / "resolved.toml").toml == plan.toml
    moved = with_rows.parent.rename(tmp_path / "there")
    assert plan_loop(moved / "loop.toml").identity == plan.identity
    assert plan.identity["data"] == {"round 1": hashlib.sha256(ROWS.encode()).hexdigest()}
    (moved / "rows.jsonl").write_text(ROWS * 2)
    assert plan_loop(moved / "loop.toml").identity != plan.identity


def test_a_mapping_names_its_rows_from_here(with_rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(with_rows.parent)
    assert plan_loop(read_toml(with_rows)).config == plan_loop(with_rows).config


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("stages.0.generator=reference", r"stages\.0: generator and data are given"),
        ("stages.0.replay={general = 3}", "replay and data are given"),
        ("stages.0.n=2", "n and data are given"),
        ("stages.0.prompts=2", "prompts and data are given"),
        ("stages.0.reward_weights={exact = 1}", "reward_weights and data are given"),
        ("stages.0.rounds=2", r"rounds = 2 would train on the same rows again.*config\.epochs"),
        ("stages.0.data=none.jsonl", r"none\.jsonl: cannot be read"),
        ("stages.0.data=empty.jsonl", r"empty\.jsonl: it holds no row"),
        ("stages.0.data=wrong.jsonl", r"wrong\.jsonl:1: completion is missing"),
        ("stages.0.data=asked.jsonl", r"item 'item-3' asks what training prompt 'x' of .*asked\.jsonl asks"),
        ("stages.0.data=wrong.parquet", "these are no stored groups"),
        ("stages.0.gate=keep", r"gate = 'keep'"),
    ],
)
def test_what_does_not_go_with_rows_is_refused(with_rows: Path, setting: str, says: str) -> None:
    asked = {"id": "x", "prompt": "item 3: say d", "completion": "d"}
    for name, text in (("empty", ""), ("wrong", '{"prompt": "a"}'), ("asked", json.dumps(asked))):
        (with_rows.parent / f"{name}.jsonl").write_text(text)
    (with_rows.parent / "wrong.parquet").write_text("x")
    with pytest.raises(ConfigError, match=says):
        plan_loop(with_rows, sets=[setting])


def test_a_held_out_question_is_known_however_its_tools_are_written(with_rows: Path, letters: Path) -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    item = {"id": "i", "prompt": "Call f.", "target": {"answers": ["f"]}, "tools": [function]}
    others = [{"id": str(i), "prompt": f"Call {i}.", "target": {"answers": ["f"]}} for i in range(30)]
    (letters / "items.jsonl").write_text("\n".join(map(json.dumps, [item, *others])))
    row = {"prompt": "Call f.", "completion": "f", "tools": [{"type": "function", "function": function}]}
    (with_rows.parent / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(ConfigError, match="item 'i' asks what training prompt"):
        plan_loop(with_rows)


def test_a_suite_without_training_prompts_can_be_trained_for_with_rows(with_rows: Path, letters: Path) -> None:
    (letters / "train.jsonl").write_text("")
    assert plan_loop(with_rows).suites[0].train == ()
    sampled = [{"updater": "sft", "data": "rows.jsonl"}, {"updater": "group"}]
    with pytest.raises(ConfigError, match="it has no training prompts"):
        plan_loop(with_rows, sets=[f"stages={tomli_w.dumps({'x': sampled}).partition('=')[2].strip()}"])


def test_rounds_know_their_stage_and_what_earlier_rounds_took() -> None:
    stage = {"updater": "sft", "prompts": 10, "rounds": 2, "replay": {"general": 3}}
    config = LoopConfig.model_validate(
        {"suite": "s", "stages": [stage, {"updater": "group", "prompts": 4, "rounds": 2}]}
    )
    assert config.sources(1) == [(None, 10, 0), ("general", 3, 0)]
    assert config.sources(2) == [(None, 10, 10), ("general", 3, 3)]
    assert config.sources(4) == [(None, 4, 24)]
    assert [config.stage_of(i).updater for i in (1, 2, 3, 4)] == ["sft", "sft", "group", "group"]


def test_rows_of_a_file_take_none_of_the_suites_prompts() -> None:
    stages = [{"updater": "sft", "data": "rows.jsonl"}, {"updater": "group", "prompts": 4}]
    config = LoopConfig.model_validate({"suite": "s", "stages": stages})
    assert config.sources(2) == [(None, 4, 0)]


def test_a_suite_too_small_for_its_margin_and_half_a_pair_are_refused(
    tmp_path: Path, letters: Path, tiny_model: Path
) -> None:
    few = write_suite(tmp_path / "few", items=8, role="regression")
    values = {"suite": str(letters), "model": str(tiny_model), "beside": [str(few)]}
    with pytest.raises(ConfigError, match=r"suite few: 8 items in 8 clusters can show no margin under 0\.\d+.*is 0\.2"):
        plan_loop(values)
    write_suite(few, items=8, role="monitor")
    plan_loop(values)
    manifest = few / "suite.toml"
    manifest.write_text(manifest.read_text().replace("[suite]", '[suite]\npair = "other"'))
    with pytest.raises(ConfigError, match=r"suite few: it means nothing without other.*Add 'other' to `beside`"):
        plan_loop(values)


def test_a_round_draws_after_what_earlier_rounds_took() -> None:
    stages = [
        {"generator": "reference", "updater": "sft", "prompts": 5, "rounds": 2, "replay": {"general": 3}},
        {"updater": "sft", "data": "rows.jsonl", "rounds": 2},
        {"updater": "group", "prompts": 7, "rounds": 3, "replay": {"general": 2, "chat": 1}},
    ]
    config = LoopConfig.model_validate({"suite": "s", "beside": ["general", "chat"], "stages": stages})
    assert [config.stages.index(config.stage_of(i)) for i in range(1, 8)] == [0, 0, 1, 1, 2, 2, 2]
    taken: dict[str | None, int] = {}
    for index in range(1, 8):
        for name, count, before in config.sources(index):
            assert before == taken.get(name, 0)
            taken[name] = before + count
    assert taken == {None: 31, "general": 12, "chat": 3} == config.taken(8)
