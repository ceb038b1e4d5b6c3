"""The example package, installed as a stranger would, is named by a loop and by an eval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from harness.store import RunStore

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed examples/harness-polite."""
    folder = tmp_path_factory.mktemp("site")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(folder),
    ]
    subprocess.run([*pip, str(EXAMPLES / "harness-polite")], check=True)
    return folder


def harness(site: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", "-q", *arguments, "--json"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    return json.loads(done.stdout)


def polite_suite(folder: Path, letters: Path) -> Path:
    """The letters suite, judged by the third party's judge beside the built-in one."""
    text = (letters / "suite.toml").read_text()
    polite = '\n[[judges]]\nname = "polite"\nweight = 0.25\nconfig = { words = ["a"] }\n'
    (letters / "suite.toml").write_text(text + polite)
    return letters


def test_it_is_listed_with_its_origin(site: Path) -> None:
    components = harness(site, "plugins")["components"]
    origins = {(c["kind"], c["name"]): (c["distribution"], c["version"]) for c in components}
    assert origins["judge", "polite"] == origins["objective", "reinforce"] == ("harness-polite", "0.1.0")


def test_a_loop_names_its_judge_and_its_objective(site: Path, tmp_path: Path, tiny_loop: dict[str, Any]) -> None:
    polite_suite(tmp_path, Path(tiny_loop["suite"]))
    tiny_loop["stages"][0]["config"]["min_reward"] = 0.5  # not every right answer is a polite one
    tiny_loop["stages"][1]["config"]["objective"] = "reinforce"
    config = tmp_path / "loop.toml"
    config.write_text(tomli_w.dumps(tiny_loop))
    result = harness(site, "loop", str(config), "--runs", str(tmp_path), "--run", "r")
    assert len(result["outcomes"]) == 2
    store = RunStore.open(tmp_path / "r")
    assert store.identity["components"]["judge polite"] == "harness-polite 0.1.0"
    assert store.identity["components"]["objective reinforce"] == "harness-polite 0.1.0"
    assert store.entry(2, "update") is not None, store.entries[2, "commit"].data["sentence"]


def test_an_eval_names_its_judge(site: Path, tmp_path: Path, letters: Path, tiny_model: Path) -> None:
    suite = polite_suite(tmp_path, letters)
    result = harness(
        site, "eval", "--suite", str(suite), "--model", str(tiny_model), "--generator", "transformers", "--limit", "3"
    )
    labels = [item["labels"] for item in result["report"]["suites"][0]["items"]]
    assert all("curt" in label or "ok" in label for [label] in labels)


def test_the_eight_line_judge_runs() -> None:
    file = EXAMPLES / "eight_lines.py"
    code = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith('"""A judge')]
    assert len(code) <= 8
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", "--plugin", str(file), "plugins", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "brief" in {component["name"] for component in json.loads(done.stdout)["components"]}
