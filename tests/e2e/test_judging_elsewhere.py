"""A round that is judged by somebody else: it stops, its completions go out, verdicts come back, and it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from e2e.test_cli import harness, refused

from harness.api import run_loop
from harness.audit import open_audit
from harness.elsewhere import completion_id, export_unjudged, import_verdicts
from harness.errors import ConfigError, HarnessError, JudgeFailure
from harness.records import read_groups
from harness.store import RunStore

Row = dict[str, Any]


@pytest.fixture
def waiting(tmp_path: Path, tiny_loop: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Settings of a loop that is trained on verdicts from elsewhere and gated by `exact`, and the run that waits."""
    manifest = Path(tiny_loop["suite"]) / "suite.toml"
    elsewhere = '\n[[judges]]\nname = "elsewhere"\nuse = "train"\n'
    manifest.write_text(manifest.read_text().replace('name = "exact"', 'name = "exact"\nuse = "eval"') + elsewhere)
    stage = tiny_loop["stages"][1]
    config = {**stage["config"], "learning_rate": 0.02}  # so that the candidate answers otherwise
    loop = {**tiny_loop, "stages": [{**stage, "prompts": 24, "temperature": 1.0, "n": 2, "config": config}]}
    with pytest.raises(JudgeFailure, match=r"48 of 48 verdicts failed, .*no verdict yet .*harness judge export"):
        run_loop(loop, runs=tmp_path, run="r")
    return loop, tmp_path / "r"


def test_a_loop_stops_is_judged_elsewhere_and_goes_on(tmp_path: Path, waiting: tuple[dict[str, Any], Path]) -> None:
    loop, run = waiting
    config = tmp_path / "loop.toml"
    config.write_text(tomli_w.dumps(loop))
    again = ["loop", str(config), "--runs", str(tmp_path), "--run", "r", "--resume"]
    assert "no verdict yet" in refused(*again)
    sampled = (run / "rounds" / "001" / "completions.parquet").read_bytes()
    file = tmp_path / "answers.jsonl"
    assert harness("judge", "export", "r", "--runs", str(tmp_path), "--out", str(file)).returncode == 0
    assert "there already" in refused("judge", "export", "r", "--runs", str(tmp_path), "--out", str(file))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    judged = [{**row, "value": len(row["answer"]) % 2, "explanation": "odd or even"} for row in rows]
    file.write_text("\n".join(map(json.dumps, judged[:-9])))
    assert "does not say who judged" in refused("judge", "import", str(file), "--runs", str(tmp_path))
    done = harness("judge", "import", str(file), "--runs", str(tmp_path), "--judge", "anna")
    assert done.returncode == 0, done.stderr
    assert f"{len(rows) - 9} new verdicts" in done.stdout
    assert f"9 of {len(rows)} completions still wait" in done.stdout
    left = export_unjudged(run)
    assert {row["id"] for row in left} == {row["id"] for row in rows[-9:]}
    assert "9 of 48 verdicts failed" in refused(*again)
    file.write_text("\n".join(json.dumps({**row, "judge": "ben"}) for row in judged[-9:]))
    assert import_verdicts(file, run).missing == 0
    done = harness(*again)
    assert done.returncode in (0, 1, 2), done.stderr
    scored = read_groups(run / "rounds" / "001" / "groups.parquet")
    verdicts = [(c.text, s[0]) for g in scored for c, s in zip(g.group.completions, g.scores, strict=True)]
    assert all(score.value == len(text) % 2 for text, score in verdicts)
    assert {score.explanation for _, score in verdicts} == {f"judged by {who}: odd or even" for who in ("anna", "ben")}
    assert (run / "rounds" / "001" / "completions.parquet").read_bytes() == sampled
    with pytest.raises(ConfigError, match="nothing waits to be judged"):
        export_unjudged(run)
    siblings, rivals = open_audit(run), open_audit(run, suite="three-letters")  # what a loop stores can be audited
    assert all(pair.values("elsewhere") == (len(pair.a) % 2, len(pair.b) % 2) for pair in siblings.population)
    assert {name for pair in rivals.population for name in pair.scores} == {"exact"}
    assert [row["id"] for row in export_unjudged(run, round=1, judged=True)] == [row["id"] for row in rows]


def test_what_goes_out_is_blind_and_holds_equal_answers_once(waiting: tuple[dict[str, Any], Path]) -> None:
    _, run = waiting
    rows = export_unjudged(run)
    assert {tuple(row) for row in rows} == {("id", "prompt", "tools", "reference", "answer")}
    sampled = [g.group for g in read_groups(run / "rounds" / "001" / "completions.parquet")]
    ids = [completion_id(g.prompt, c.text) for g in sampled for c in g.completions]
    assert [row["id"] for row in rows] == sorted(set(ids))
    assert {row["answer"] for row in rows} == {c.text for g in sampled for c in g.completions}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "0" * 16}, "is that of no completion"),
        ({"value": 1.5}, "value = 1.5"),
        ({"value": True}, "value = True"),
        ({"value": float("nan")}, "value = nan"),
        ({"judge": None}, "does not say who judged"),
        ({"judge": ""}, "judge = ''"),
        ({"answer": "another"}, "the answer is not the one"),
        ({"explanation": "\ud800"}, "half of a character"),
        ({"explanaton": "typo"}, "unknown key 'explanaton'. Did you mean explanation"),
    ],
    ids=str,
)
def test_a_row_that_does_not_fit_is_refused_by_its_line_and_nothing_is_kept(
    waiting: tuple[dict[str, Any], Path], tmp_path: Path, change: Row, says: str
) -> None:
    _, run = waiting
    first, second = ({"id": row["id"], "value": 1.0, "judge": "anna"} for row in export_unjudged(run)[:2])
    file = tmp_path / "verdicts.jsonl"
    file.write_text(f"{json.dumps(first)}\n\n{json.dumps({**second, **change})}\n")
    with pytest.raises(ConfigError, match=rf"verdicts\.jsonl:3: .*{says}"):
        import_verdicts(file, run)
    assert not (run / "verdicts").exists()


def test_a_verdict_given_twice_counts_once_and_must_agree(waiting: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, run = waiting
    row = {"id": export_unjudged(run)[0]["id"], "value": None, "judge": "anna"}
    file = tmp_path / "verdicts.jsonl"
    file.write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n{json.dumps({**row, 'value': 1, 'judge': 'ben'})}\n")
    done = import_verdicts(file, run)
    assert (done.new, done.known) == (2, 1)
    stored = (run / "verdicts" / "verdicts.jsonl").read_text()
    file.write_text(json.dumps({**row, "value": 0.5}))
    with pytest.raises(ConfigError, match=r"anna says 0\.5 of .*, and has said None"):
        import_verdicts(file, run)
    assert (run / "verdicts" / "verdicts.jsonl").read_text() == stored


def test_the_run_is_found_by_what_was_judged(waiting: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    loop, run = waiting
    with pytest.raises(JudgeFailure):
        run_loop(loop, runs=tmp_path, run="twin")
    file = tmp_path / "verdicts.jsonl"
    file.write_text(json.dumps({"id": export_unjudged(run)[0]["id"], "value": 1, "judge": "anna"}))
    assert "several runs" in refused("judge", "import", str(file), "--runs", str(tmp_path))
    assert "no run in" in refused("judge", "import", str(file), "--runs", str(tmp_path / "elsewhere"))
    done = harness("judge", "import", str(file), "--runs", str(tmp_path), "--run", "twin", "--json")
    assert json.loads(done.stdout)["new"] == 1
    with RunStore.open(run).lock(), pytest.raises(HarnessError, match="another process"):
        import_verdicts(file, run)
