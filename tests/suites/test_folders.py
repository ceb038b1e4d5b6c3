"""Suites as folders: what a good one becomes, and what a bad one is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, PluginError
from harness.protocols import RunContext, SilentProgress
from harness.suites import folder_spec, load_suite
from harness.types import Prompt, Sampling

HEAD = '[suite]\nname = "demo"\nversion = "1"\nrole = "guard"\nsummary = "A demo"\nlicense = "none"\n'
JUDGE = '[[judges]]\nname = "exact"\n'
ROW = {"id": "r1", "prompt": "Say a", "target": {"answers": ["a"]}}


def write(folder: Path, *rows: Any, toml: str = HEAD + 'items = "items.jsonl"\n' + JUDGE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "suite.toml").write_text(toml)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows or (ROW,)]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def error_of(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_suite(folder)
    assert caught.value.remedy
    return str(caught.value)


def test_everything_that_is_said_arrives(tmp_path: Path) -> None:
    toml = (
        HEAD
        + 'items = "items.jsonl"\ntrain = "train.jsonl"\nmargin = 0.1\nanchor_margin = 0.2\nfloor = 0.5\n'
        + "[suite.sampling]\nmax_tokens = 7\ntop_k = 3\n"
        + '[[judges]]\nname = "one"\nweight = 2.0\nuse = "train"\nconfig = { deep = { x = 1 } }\n'
        + '[[judges]]\nname = "two"\nuse = "eval"\n[recipe]\nseed = 3\n'
    )
    full = {
        "id": "r1",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "ü", "name": "ada"}],
        "tools": [{"name": "f", "description": "d", "parameters": {"type": "object"}}],
        "target": None,
        "reference": "gold",
        "schema": {"type": "integer"},
        "cluster": "c",
        "metadata": {"category": "x"},
    }
    folder = write(tmp_path, full, "", ROW | {"id": "r2"}, toml=toml)
    (folder / "train.jsonl").write_text(json.dumps({"id": "t1", "prompt": "Other"}))
    suite = load_suite(folder)
    assert (suite.name, suite.version, suite.role, suite.license) == ("demo", "1", "guard", "none")
    assert (suite.margin, suite.anchor_margin, suite.floor) == (0.1, 0.2, 0.5)
    assert suite.sampling == Sampling(temperature=0.0, max_tokens=7, top_k=3)
    assert suite.recipe == {"seed": 3}
    assert [(j.name, j.weight, j.use, j.config) for j in suite.judges] == [
        ("one", 2.0, "train", {"deep": {"x": 1}}),
        ("two", 1.0, "eval", {}),
    ]
    first, second = suite.items
    assert list(first.messages) == full["messages"]
    assert json.loads(first.tools) == full["tools"]
    assert (first.target, first.reference, first.schema) == ("null", "gold", '{"type": "integer"}')
    assert (first.cluster, first.metadata) == ("c", {"category": "x"})
    assert second.messages == ({"role": "user", "content": "Say a"},)
    assert (second.tools, second.reference, second.schema, second.cluster) == ("", None, "", "r2")
    assert json.loads(second.target) == ROW["target"]
    assert [prompt.id for prompt in suite.train] == ["t1"]
    assert suite.train[0].target == ""


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (HEAD + "margn = 0.1\n", ["suite.toml", "margn", "margin"]),
        (HEAD + 'items = "a"\nmargin = 2.0\n' + JUDGE, ["suite.margin", "2.0"]),
        (HEAD.replace("guard", "gard") + 'items = "a"\n' + JUDGE, ["suite.role", "gard", "guard"]),
        (HEAD.replace('version = "1"\n', "") + 'items = "a"\n' + JUDGE, ["suite.version", "missing"]),
        (HEAD.replace('version = "1"', 'version = ""') + 'items = "a"\n' + JUDGE, ["suite.version", "''"]),
        (HEAD.replace('"none"', '" "') + 'items = "a"\n' + JUDGE, ["suite.license", "' '"]),
        (HEAD + 'items = "a"\npair = "demo"\n' + JUDGE, ["pair must be another suite"]),
        (HEAD.replace('"demo"', '"My Suite"') + 'items = "a"\n' + JUDGE, ["suite.name", "My Suite"]),
        (HEAD + JUDGE, ["items", "builder"]),
        (HEAD + 'items = "a"\nbuilder = "m:f"\n' + JUDGE, ["not both"]),
        (HEAD + 'items = "a"\n[suite.options]\nx = 1\n' + JUDGE, ["options"]),
        (HEAD + 'items = "a"\n', ["judges", "missing"]),
        (HEAD + 'items = "a"\n[[judges]]\nname = "x"\nuse = "train"\n', ["no judge is for evaluation"]),
        (HEAD + 'items = "a"\n[[judges]]\nname = "x"\nuse = "never"\n', ["judges.0.use", "never"]),
        (HEAD + 'items = "a"\n[[judges]]\nname = "x"\nwheight = 1\n', ["wheight", "weight"]),
        (HEAD + 'items = "items.jsonl"\n[suite.sampling]\ntemprature = 1\n' + JUDGE, ["temprature", "temperature"]),
        (HEAD + 'items = "nowhere.jsonl"\n' + JUDGE, ["nowhere.jsonl", "No such file"]),
        ("[suite\n", ["suite.toml", "line 1"]),
    ],
)
def test_a_bad_manifest_is_told_where_and_what(tmp_path: Path, toml: str, says: list[str]) -> None:
    message = error_of(write(tmp_path, toml=toml))
    for words in says:
        assert words in message


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"id": "r2", ', ["not JSON", "character"]),
        ("[1, 2]", ["not list"]),
        ({"prompt": "Say a"}, ["id", "missing"]),
        ({"id": "", "prompt": "Say a"}, ["id"]),
        ({"id": 7, "prompt": "Say a"}, ["id", "7"]),
        ({"id": "r2"}, ["messages", "prompt"]),
        ({"id": "r2", "prompt": "x", "messages": [{"role": "user", "content": "y"}]}, ["not both"]),
        ({"id": "r2", "messages": []}, ["messages"]),
        ({"id": "r2", "messages": [{"role": "robot", "content": "x"}]}, ["messages.0.role", "robot", "assistant"]),
        ({"id": "r2", "messages": [{"role": "user"}]}, ["messages.0.content", "missing"]),
        ({"id": "r2", "messages": [{"role": "assistant", "content": "x"}]}, ["last message"]),
        ({"id": "r2", "prompt": "x", "targt": 1}, ["targt", "target"]),
        ({"id": "r2", "prompt": "x", "tools": [{"description": "d"}]}, ["tools.0.name"]),
        ({"id": "r2", "prompt": "x", "tools": [{"name": "f"}, {"name": "g"}, {"name": "f"}]}, ["two tools", " f"]),
        ({"id": "r2", "prompt": " \n"}, ["blank"]),
        ({"id": "r2", "messages": [{"role": "user", "content": ""}]}, ["blank"]),
        ({"id": "r2", "prompt": "x", "metadata": {"n": 1}}, ["metadata.n", "1"]),
        ({"id": "r1", "prompt": "x"}, ["'r1'", "line 1"]),
    ],
)
def test_a_bad_row_is_told_its_line(tmp_path: Path, row: Any, says: list[str]) -> None:
    message = error_of(write(tmp_path, ROW, "", row))
    assert "items.jsonl:3" in message
    for words in says:
        assert words in message


def test_what_is_trained_on_is_not_held_out(tmp_path: Path) -> None:
    toml = HEAD + 'items = "items.jsonl"\ntrain = "train.jsonl"\n' + JUDGE
    folder = write(tmp_path, toml=toml)
    (folder / "train.jsonl").write_text(json.dumps(ROW | {"id": "other"}))
    assert "'r1' is trained on, as 'other'" in error_of(folder)
    (folder / "train.jsonl").write_text(json.dumps({"id": "r1", "prompt": "Something else"}))
    assert "'r1' is trained on" in error_of(folder)
    write(tmp_path, ROW | {"id": "r0", "prompt": "Say b"}, "", ROW, toml=toml)
    assert "items.jsonl:3: item 'r1' is trained on" in error_of(folder)


def test_a_suite_without_items_or_manifest_is_refused(tmp_path: Path) -> None:
    assert "items.jsonl: the suite holds out no items" in error_of(write(tmp_path, ""))
    assert "no suite.toml" in error_of(tmp_path / "nowhere")
    assert "no suite.toml" in error_of(tmp_path / "items.jsonl")


# ---------------------------------------------------------------- builders

BUILDER = """
from harness.types import Prompt

def broken(progress):
    return {}["no such key"]

def nothing(progress):
    return [], []

def rows(progress):
    return [], [{"id": "i0", "prompt": "a"}]

def one_side(progress):
    return [Prompt("t", ({"role": "user", "content": "t"},))]

def build(progress, count=2, same=False):
    items = [Prompt("i0" if same else f"i{n}", ({"role": "user", "content": str(n)},)) for n in range(count)]
    return [Prompt("t", ({"role": "user", "content": "t"},))], items
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "demo_builder_module.py").write_text(BUILDER)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "suite"


def with_builder(options: str = "", path: str = "demo_builder_module:build") -> str:
    return HEAD + f'builder = "{path}"\n[suite.options]\n{options}\n' + JUDGE


def test_a_builder_makes_the_rows(builder: Path) -> None:
    suite = load_suite(write(builder, toml=with_builder("count = 3")), SilentProgress())
    assert [item.id for item in suite.items] == ["i0", "i1", "i2"]
    assert suite.train == (Prompt("t", ({"role": "user", "content": "t"},)),)


def test_a_builder_that_raises_is_reported_as_a_plugin(builder: Path) -> None:
    with pytest.raises(PluginError, match=r"suite\.toml.*broken.*KeyError: 'no such key'"):
        load_suite(write(builder, toml=with_builder(path="demo_builder_module:broken")))


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (with_builder("cuont = 3"), "cuont"),
        (with_builder(path="demo_builder_module:biuld"), "biuld"),
        (with_builder(path="no_such_module_here:build"), "no_such_module_here"),
        (with_builder("same = true"), "'i0' twice"),
        (with_builder(path="os.path"), "suite.builder"),
        (with_builder(path="demo_builder_module:nothing"), "no items"),
        (with_builder(path="demo_builder_module:rows"), "(train, items)"),
        (with_builder(path="demo_builder_module:one_side"), "(train, items)"),
    ],
)
def test_a_bad_builder_is_named(builder: Path, toml: str, says: str) -> None:
    assert says in error_of(write(builder, toml=toml))


def test_a_spec_neither_reads_rows_nor_imports_the_builder(tmp_path: Path) -> None:
    spec = folder_spec(write(tmp_path / "a", "this is no row"))
    assert (spec.name, spec.summary) == ("demo", "A demo")
    assert folder_spec(write(tmp_path / "b", toml=with_builder(path="no_such_module_here:build"))).name == "demo"
    made = folder_spec(write(tmp_path / "c")).create(None, RunContext())
    assert made == load_suite(tmp_path / "c")
