"""`harness eval`, `score` and `report` as people meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tiny import write_suite

from harness import evaluating
from harness.cli.app import main
from harness.evaluations import find_evaluation
from harness.train import train_adapter

Run = Callable[..., tuple[int, str, str]]
SUITE = """[suite]
name = "schemas"
version = "1"
role = "target"
summary = "Answer in JSON"
license = "none"
items = "items.jsonl"

[suite.sampling]
temperature = 0.0
max_tokens = 16

[[judges]]
name = "json_schema"
"""


@pytest.fixture
def here(tmp_path: Path, letters: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def harness(here: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout and stderr of a command; `eval` is of the tiny suite by a scripted generator."""

    def call(verb: str, *arguments: str) -> tuple[int, str, str]:
        usual = ["--model", str(tiny_model), "--suite", "./letters"] if verb == "eval" else []
        if verb == "eval" and "--generator" not in arguments:
            usual += ["--generator", "scripted", "--set", 'default = ["say b", "c"]']
        with pytest.raises(SystemExit) as left:
            main(["-q", verb, *usual, *arguments])
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return call


def test_eval_keeps_what_it_shows_and_finds_it_again(here: Path, harness: Run) -> None:
    code, out, _ = harness("eval", "--json")
    first = json.loads(out)
    assert (code, first["already_finished"]) == (0, False)
    assert Path(first["folder"]).parent == Path("evals")
    assert first["report"]["suites"][0]["items"][1]["score"] == 0.0
    again = json.loads(harness("eval", "--json")[1])
    assert again == {**first, "already_finished": True}
    shown = harness("eval")[1]
    assert "evaluation  evals/" in shown
    assert "clusters" in shown
    assert "pass@k" not in shown
    assert find_evaluation(Path(first["folder"]).name).report.suites[0].mean == first["means"]["letters"]


def test_a_dry_run_starts_nothing_and_writes_nothing(here: Path, harness: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "start_generator", None)
    options = ["--epochs", "2", "--temperature", "1", "--limit", "5", "--dry-run"]
    [shown] = json.loads(harness("eval", *options, "--json")[1])
    assert (shown["items"], shown["completions"]) == ({"letters": 5}, 10)
    assert shown["identity"]["eval"]["limit"] == 5
    code, text, _ = harness("eval", *options)
    assert code == 0
    assert shown["folder"] in text
    assert not (here / "evals").exists()


def test_several_answers_an_item_give_pass_at_k(harness: Run) -> None:
    options = ["--epochs", "4", "--temperature", "1", "--set", 'default = ["a", "b", "a", "c"]']
    rows = {
        row["k"]: row for row in json.loads(harness("eval", *options, "--json")[1])["figures"]["letters"]["passing"]
    }
    # Items in turn want a to j: of 24, 3 want a (which is half of the answers), 3 want b and 3 want c (a quarter each).
    assert rows[1]["at_least_one"]["mean"] == pytest.approx((3 * 0.5 + 3 * 0.25 + 3 * 0.25) / 24)
    assert rows[4]["at_least_one"]["mean"] == pytest.approx(9 / 24)
    assert rows[2]["all_of_them"]["mean"] == pytest.approx(3 * (1 / 6) / 24)
    assert "pass^k" in harness("eval", *options)[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--suite", "./letters"], "'letters' is named twice"),
        (["--max-connections", "4"], "scripted opens no connections"),
        (["--arms"], "no item has a schema or tools"),
        (["--arms", "--constrained"], "Leave out --constrained"),
        (["--constrained"], "24 items have neither schema nor tools"),
        (["--epochs", "2"], "temperature 0"),
        (["--limit", "0"], "limit = 0"),
        (["--set", "defualt = ['a']"], "Did you mean default"),
        (["--judge", "exat.match=contains"], "Did you mean exact"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    here: Path, harness: Run, options: list[str], says: str
) -> None:
    code, out, err = harness("eval", *options)
    assert (code, out) == (3, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert not (here / "evals").exists()


CONNECTED = """
import harness
from harness_plugins.generators.configs import ScriptedConfig
from harness_plugins.generators.scripted import ByteCodec, ScriptedGenerator


class Connected(ScriptedConfig):
    max_connections: int = 16


@harness.hookimpl
def harness_register_generators():
    return [harness.GeneratorSpec("asks", "", lambda config, _: ScriptedGenerator(config, ByteCodec()), Connected)]
"""


def test_the_number_of_connections_reaches_a_generator_that_has_some(
    here: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "asks.py").write_text(CONNECTED)
    command = ["--plugin", "asks.py", "-q", "eval", "--suite", "./letters", "--model", str(tiny_model), "--dry-run"]
    with pytest.raises(SystemExit):
        main([*command, "--generator", "asks", "--max-connections", "7", "--json"])
    name, settings, *_ = json.loads(capfd.readouterr().out)[0]["identity"]["generator"]
    assert (name, settings["max_connections"]) == ("asks", 7)


def test_damage_is_said_in_one_line(here: Path, harness: Run) -> None:
    folder = here / "kept"
    assert harness("eval", "--out", str(folder))[0] == 0
    (folder / "report.json").write_text("{}")
    for command in (["eval", "--out", str(folder)], ["report", str(folder)]):
        code, out, err = harness(*command)
        assert (code, out) == (3, "")
        assert "report.json: missing, or not what was stored" in err


def test_both_arms_in_one_engine_start(here: Path, harness: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never writes JSON by itself, and always does when it is held to a schema."""
    (here / "schemas").mkdir()
    (here / "schemas" / "suite.toml").write_text(SUITE)
    rows = [{"id": f"s-{i}", "prompt": f"Say {i}.", "schema": {"enum": [i, i + 1]}} for i in range(6)]
    (here / "schemas" / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    starts = []
    start = evaluating.start_generator
    monkeypatch.setattr(evaluating, "start_generator", lambda *given: starts.append(1) or start(*given))
    options = [
        "--suite",
        "./schemas",
        "--generator",
        "transformers",
        "--set",
        "dtype=float32",
        "--limit",
        "6",
        "--arms",
    ]
    found = json.loads(harness("eval", *options, "--json")[1])
    assert starts == [1]
    assert found["unconstrained"]["means"] == {"letters": 0.0, "schemas": 0.0}
    assert found["constrained"]["means"] == {"schemas": 1.0}
    assert found["unconstrained"]["folder"] != found["constrained"]["folder"]
    assert found["difference"]["schemas"]["difference"]["estimate"] == 1.0
    table = harness("eval", *options)[1].splitlines()
    row = next(line.split() for line in table if line.startswith(" schemas"))
    assert row[:5] == ["schemas", "6", "0.0%", "100.0%", "+100.0"]
    assert row[-2:] == ["6", "0"]
    alone = json.loads(harness("eval", *options[:-1], "--json")[1])
    assert alone["already_finished"]


def test_other_judges_read_the_same_answers(here: Path, harness: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads(harness("eval", "--json")[1])
    monkeypatch.setattr(evaluating, "start_generator", None)
    options = [before["folder"], "--judge", "exact.match=contains"]
    found = json.loads(harness("score", *options, "--json")[1])
    # "say b" contains the word b, which items 1, 11 and 21 want.
    change = found["changes"]["letters"]
    assert (change["items"], change["before"], change["won"], change["lost"]) == (24, 0.0, 3, 0)
    assert change["after"] == pytest.approx(3 / 24)
    assert json.loads(harness("score", *options, "--json")[1])["already_finished"]
    assert "+12.5" in harness("score", *options)[1]
    after = find_evaluation(found["folder"])
    assert [g.group for g in after.groups("letters")] == [
        g.group for g in find_evaluation(before["folder"]).groups("letters")
    ]
    anew = json.loads(harness("eval", "--judge", "exact.match=contains", "--json")[1])
    assert anew["taken_over"] == {"letters": Path(found["folder"]).name}
    assert anew["report"]["suites"][0]["items"] == json.loads(json.dumps(after_items(after)))


def after_items(evaluation: Any) -> Any:
    from dataclasses import asdict

    return asdict(evaluation.report)["suites"][0]["items"]


def test_answers_to_other_items_are_not_judged(here: Path, harness: Run) -> None:
    harness("eval", "--out", "kept")
    write_suite(here / "elsewhere", items=4)
    code, _, err = harness("score", "kept", "--suite", "./elsewhere")
    assert (code, "suite 'elsewhere' is not in this evaluation" in err) == (3, True)
    items = here / "letters" / "items.jsonl"
    items.write_text(items.read_text().replace("item 3: say d", "item 3: say dd"))
    code, _, err = harness("score", "kept")
    assert code == 3
    assert "1 of 24 items are not those that were answered; the first is item-3" in err


def test_reports_of_an_evaluation_and_of_a_round(here: Path, harness: Run, tiny_loop: dict[str, Any]) -> None:
    from harness.api import run_loop

    harness("eval", "--out", "kept")
    assert harness("report", "kept", "--format", "junit", "--out", "kept.xml")[:2] == (0, "")
    assert ET.parse("kept.xml").getroot().get("tests") == "24"
    assert "# kept" in harness("report", "kept")[1]
    assert harness("report", "kept", "--format", "junit", "--worst", "3")[0] == 3
    scripted = {"name": "scripted", "config": {"default": ["a"]}}
    run_loop({**tiny_loop, "generator": scripted, "stages": tiny_loop["stages"][:1]}, run="r")
    assert json.loads(harness("report", "r:0", "--format", "json")[1])["means"]["three-letters"] == pytest.approx(1 / 3)
    changes = json.loads(harness("score", "r:0", "--judge", 'exact.match="contains"', "--json")[1])["changes"]
    assert changes["three-letters"]["before"] == changes["three-letters"]["after"] == pytest.approx(1 / 3)


def test_policies_are_evaluated_in_turn_and_held_against_the_first(here: Path, harness: Run, tiny_model: Path) -> None:
    rows = [{"prompt": f"item {i}: say b", "completion": "b"} for i in range(24)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {"epochs": 20, "learning_rate": 0.005, "dtype": "float32"}
    train_adapter("sft", here / "rows.jsonl", out=here / "b", config=config, model=str(tiny_model))
    options = ["--adapter", "base", "--adapter", "b", "--generator", "transformers", "--set", 'dtype = "float32"']
    code, out, _ = harness("eval", *options, "--json")
    shown = json.loads(out)
    assert (code, [*shown]) == (0, ["base", "b", "difference"])
    base, adapted = (shown[name]["means"]["letters"] for name in ("base", "b"))
    change = shown["difference"]["letters"]
    assert change["won"] - change["lost"] == pytest.approx(24 * (adapted - base))
    told = [
        [group.group.completions[0].text for group in find_evaluation(shown[name]["folder"]).groups("letters")]
        for name in ("base", "b")
    ]
    assert told[0] != told[1]
    assert sum("b" in text for text in told[1]) > sum("b" in text for text in told[0])
    code, text, _ = harness("eval", *options)
    assert "base" in text.splitlines()[0]
    assert len(list((here / "evals").iterdir())) == 2
    assert harness("eval", *options, "--arms")[0] == 3
    code, _, error = harness("eval", "--adapter", "b", "--adapter", "./b")
    assert (code, "b is named twice" in error) == (3, True)
