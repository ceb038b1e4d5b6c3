"""Looks, confirmation on fresh items, and early stops, in whole loops."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import write_suite

from harness.api import plan_loop, run_loop
from harness.checkpoints import open_checkpoint
from harness.cli import main
from harness.comparison import compare
from harness.export import export_model
from harness.gate import GateConfig, gate
from harness.looks import kept_back
from harness.measuring import round_answers, round_looks, round_report
from harness.records import read_decision, read_groups
from harness.store import RunStore
from harness.suites import load_suite
from harness.types import Group, Prompt
from harness_plugins.generators.transformers_generator import TransformersGenerator

Settings = dict[str, Any]


@pytest.fixture
def large(tmp_path: Path, tiny_loop: Settings) -> Settings:
    """A suite of which a fifth is enough to confirm with."""
    tiny_loop["suite"] = str(write_suite(tmp_path / "three-letters", items=260, train=40, letters="abc"))
    return tiny_loop


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each policy has answered each held-out item, by (policy version, item id)."""
    counts: Counter[tuple[str, str]] = Counter()
    generate = TransformersGenerator.generate

    def counted(self: TransformersGenerator, prompts: Sequence[Prompt], **options: Any) -> list[Group]:
        groups = generate(self, prompts, **options)
        counts.update((g.policy_version, g.prompt.id) for g in groups if g.prompt.id.startswith("item-"))
        return groups

    monkeypatch.setattr(TransformersGenerator, "generate", counted)
    return counts


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_what_is_clear_is_decided_on_half_and_what_is_not_on_all(
    tmp_path: Path, large: Settings, asked: Counter[tuple[str, str]]
) -> None:
    """Round 1 learns all that there is to learn, so round 2 gains nothing and all items are looked at."""
    result = run_loop(large, runs=tmp_path)
    store = RunStore.open(result.folder)
    assert result.outcomes[0] == "promoted" != result.outcomes[1]
    seen, fresh = kept_back(load_suite(Path(large["suite"])), GateConfig())
    assert fresh is not None
    decisions = {index: store.load(index, "decision", read_decision) for index in (1, 2)}
    assert (decisions[1].look, decisions[2].look) == (1, 2)
    assert [round_looks(store, index) for index in (0, 1, 2)] == [2, 2, 2]  # all arms, once one needs it
    for index, look in ((1, 1), (2, 2)):
        arms = (round_report(store, i, look) for i in (index - 1, index, 0))
        assert gate(*arms, GateConfig(), look=look) == decisions[index]
    answered = {group.group.prompt.id for group in round_answers(store, 2, "three-letters")}
    assert answered == {item.id for item in seen.items}
    for index in (0, 1):
        confirmed = read_groups(store.round_folder(index) / "confirm" / "three-letters.parquet")
        assert [group.group.prompt for group in confirmed] == list(fresh.items)
    versions = ["base", *(store.load(i, "update", open_checkpoint).version for i in (1, 2))]
    everywhere = {(version, item.id) for version in versions for item in seen.items}
    confirming = {(version, item.id) for version in versions[:2] for item in fresh.items}
    assert asked == Counter(everywhere | confirming), "no policy is asked twice, whatever it is an arm of"
    assert result.confirmation == "promoted"
    export_model(result.folder, out=tmp_path / "out", format="adapter")
    assert "Confirmed against the starting point: +" in (tmp_path / "out" / "README.md").read_text()


def test_a_crash_before_or_within_the_confirmation_changes_nothing(tmp_path: Path, large: Settings) -> None:
    loop = {**large, "stages": large["stages"][:1]}
    whole = run_loop(loop, runs=tmp_path, run="whole")
    lines = (whole.folder / "journal.jsonl").read_text().splitlines(keepends=True)
    steps = [json.loads(line)["step"] for line in lines]
    assert steps[-3:] == ["confirm", "confirm", "confirmation"]
    for missing in (1, 2, 3):
        folder = tmp_path / f"cut-{missing}"
        run_loop(loop, runs=tmp_path, run=folder.name)
        (folder / "journal.jsonl").write_text("".join(lines[:-missing]))
        assert run_loop(loop, runs=tmp_path, run=folder.name).digest == whole.digest


def test_what_fresh_items_refute_is_rolled_back(
    tmp_path: Path, large: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kept-back items want an answer that nobody gives, and the least gain is one that they rule out."""
    suite = Path(large["suite"])
    fresh = kept_back(load_suite(suite), GateConfig())[1]
    assert fresh is not None
    unreachable = {item.id for item in fresh.items}
    rows = [json.loads(line) for line in (suite / "items.jsonl").read_text().splitlines()]
    changed = [{**row, "target": {"answers": ["never"]}} if row["id"] in unreachable else row for row in rows]
    (suite / "items.jsonl").write_text("\n".join(map(json.dumps, changed)))
    config = tmp_path / "loop.json.toml"
    loop = {**large, "stages": large["stages"][:1], "gate": {"min_gain": 0.2}}
    plan = plan_loop(loop)
    config.write_text(plan.toml)
    assert exit_code("-q", "loop", str(config), "--runs", str(tmp_path), "--run", "r", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["outcomes"], shown["confirmation"], shown["incumbent"]) == (["promoted"], "rejected", "base")
    store = RunStore.open(tmp_path / "r")
    assert (store.incumbent_round(), store.incumbent_round(upto=1)) == (0, 1)
    assert exit_code("show", str(tmp_path / "r")) == 0
    assert "Refuted: +0.0 points on three-letters, on 52 items" in capsys.readouterr().out
    assert exit_code("loop", str(config), "--runs", str(tmp_path), "--run", "r") == 1


@pytest.mark.parametrize(
    ("stop", "rounds", "says"), [({"patience": 1}, 2, "without a promotion"), ({"goal": 0.5}, 1, "is at least")]
)
def test_a_loop_ends_when_it_has_done_enough(
    tmp_path: Path, tiny_loop: Settings, stop: Settings, rounds: int, says: str
) -> None:
    sft, group = tiny_loop["stages"]
    loop = {**tiny_loop, "stages": [sft, {**group, "rounds": 3}], "stop": stop}
    result = run_loop(loop, runs=tmp_path)
    store = RunStore.open(result.folder)
    assert len(result.outcomes) == rounds
    assert says in store.entries[rounds, "commit"].data["stopped"]
    assert run_loop(loop, runs=tmp_path).already_finished


def test_candidates_are_compared_on_all_items_whatever_the_rounds_looked_at(
    tmp_path: Path, large: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 1 was decided on half of the items, and so was what it was held against."""
    result = run_loop({**large, "stages": large["stages"][:1]}, runs=tmp_path)
    store = RunStore.open(result.folder)
    assert [round_looks(store, index) for index in (0, 1)] == [1, 1]
    adapter = store.round_folder(1) / "adapter"
    comparison = compare(result.folder, [adapter])
    seen, _ = kept_back(load_suite(Path(large["suite"])), GateConfig())
    [candidate] = comparison.candidates
    for report in (comparison.incumbent, candidate.report):
        assert {item.id for item in report.suites[0].items} == {item.id for item in seen.items}
    arms = comparison.incumbent, candidate.report, comparison.incumbent
    assert candidate.decision == gate(*arms, GateConfig(looks=1))
    halves = {item.id: item.score for item in round_report(store, 1).suites[0].items}
    whole = {item.id: item.score for item in candidate.report.suites[0].items}
    assert {name: whole[name] for name in halves} == halves
    monkeypatch.setattr("harness.comparison.start_generator", None)
    assert compare(result.folder, [adapter]) == comparison
