"""Groups through filters: what is dropped, how what is left is numbered, and what may not be trained on at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_filters import write_filters

from harness.api import plan_loop
from harness.data.filtering import FilterUse, Remark
from harness.data_step import SiftedGroups, loop_sieve, sift_groups, with_answers
from harness.errors import ConfigError
from harness.origins import FileLine, ranges, row_origin, same_file, unranged
from harness.plugins import Registry, load_registry
from harness.protocols import RunContext
from harness.types import Completion, Group, Preference, Prompt, Sampling, Score, ScoredGroup


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return load_registry(local_files=[write_filters(tmp_path)])


def group(name: str, *texts: str, preferences: tuple[Preference, ...] = ()) -> ScoredGroup:
    prompt = Prompt(name, ({"role": "user", "content": f"ask {name}"},))
    completions = tuple(Completion(text, (number,)) for number, text in enumerate(texts, start=1))
    scores = tuple((Score("j", number / 10),) for number in range(len(texts)))
    rewards = tuple(number / 10 for number in range(len(texts)))
    return ScoredGroup(Group(prompt, (9,), completions, "base", Sampling()), scores, rewards, preferences)


def sifted(groups: list[ScoredGroup], registry: Registry, *uses: FilterUse, **given: Any) -> SiftedGroups:
    wheres = [FileLine("round 1", number) for number in range(1, len(groups) + 1)]
    sieve = loop_sieve(uses, registry, RunContext(components=registry))
    return sift_groups(groups, wheres, sieve, **given)


def words(**config: Any) -> FilterUse:
    action = config.pop("action", "mend")
    return FilterUse(name="words", config=config, action=action)


def test_an_answer_goes_with_its_tokens_scores_and_preferences(registry: Registry) -> None:
    preferences = (Preference("j", 3, 0, 0.5), Preference("j", 1, 2), Preference("j", 2, 0, 0.25))
    given = group("a", "one", "bad two", "three", "four", preferences=preferences)
    found = sifted([given], registry, words(answers=["bad"]))
    (left,) = found.groups
    assert [c.text for c in left.group.completions] == ["one", "three", "four"]
    assert [c.token_ids for c in left.group.completions] == [(1,), (3,), (4,)]
    assert left.rewards == (0.0, 0.2, 0.3)
    assert [score.value for (score,) in left.scores] == [0.0, 0.2, 0.3]
    assert left.preferences == (Preference("j", 2, 0, 0.5), Preference("j", 1, 0, 0.25))
    assert found.remarks == {0: [Remark("words", "said", "dropped", "bad", 1)]}
    assert (found.figures["data/kept"], found.figures["data/answers_dropped"]) == (1, 1)


def test_a_later_filter_still_numbers_the_answers_of_the_group(registry: Registry) -> None:
    """Equal texts too: it is the place that counts."""
    given = group("a", "x", "bad", "x", "worse", "x")
    found = sifted([given], registry, words(answers=["bad"]), words(answers=["worse"]))
    assert [remark.answer for remark in found.remarks[0]] == [1, 3]
    assert [c.token_ids for c in found.groups[0].group.completions] == [(1,), (3,), (5,)]


def test_nothing_is_rewritten(registry: Registry) -> None:
    """An answer that would be is dropped, and a group without answers that are left."""
    given = [group("a", "good", "bad"), group("b", "bad", "bad too")]
    found = sifted(given, registry, words(answers=["bad"], offers=True))
    assert found.kept == [0]
    assert [c.text for c in found.groups[0].group.completions] == ["good"]
    assert {r.outcome for said in found.remarks.values() for r in said} == {"dropped"}
    assert found.figures["data/rewritable"] == 2
    assert found.figures["data/words/said"] == 2


def test_a_flag_keeps_the_very_group(registry: Registry) -> None:
    given = [group("a", "bad", "fine")]
    found = sifted(given, registry, words(answers=["bad"], action="flag"))
    assert found.groups[0] is given[0]
    assert [remark.outcome for remark in found.remarks[0]] == ["flagged"]


def test_a_survey_sees_what_is_left_of_all_groups(registry: Registry) -> None:
    given = [group("a", "x"), group("b", "y"), group("a", "x"), group("a", "x", "bad")]
    uses = [words(answers=["bad"]), FilterUse(name="repeats")]
    found = sifted(given, registry, *uses, refused={1: Remark("exclude", "excluded", "dropped", "b")})
    assert found.kept == [0]
    assert [remark.other for remark in found.remarks[2]] == ["round 1:1"]
    assert [remark.reason for remark in found.remarks[3]] == ["said", "repeat"]
    assert [remark.reason for remark in found.remarks[1]] == ["excluded"]
    assert found.figures["data/repeats/repeat"] == 2
    assert found.figures["data/figures/repeats/looked"] == 1


def test_all_answers_are_the_group() -> None:
    given = group("a", "x", "y")
    assert with_answers(given, [0, 1]) is given


def test_lines_in_few_numbers() -> None:
    numbers = [1, 2, 3, 7, 9, 10]
    assert ranges(numbers) == [[1, 3], [7, 7], [9, 10]]
    assert unranged(ranges(numbers)) == numbers


def test_a_file_is_known_from_other_folders_and_a_line_by_its_number() -> None:
    assert same_file("/a/b/rows.jsonl", "rows.jsonl")
    assert same_file("./rows.jsonl", "/a/rows.jsonl")
    assert not same_file("/a/b/rows.jsonl", "/c/b/rows.jsonl")
    assert not same_file("/a/other-rows.jsonl", "rows.jsonl")
    said = {"source": "raw.jsonl", "place": 17, "filters": ["pii"]}
    cleaned = row_origin(Prompt("p", (), metadata={"origin": json.dumps(said)}), "clean.jsonl", 2)
    assert cleaned.filters == ("pii",)
    assert all(map(cleaned.is_of, ["p", "clean.jsonl:2", "raw.jsonl:17", "raw.jsonl"]))
    assert not any(map(cleaned.is_of, ["raw.jsonl:1", "raw.jsonl:2", "clean.jsonl:17", "", "q"]))


# ---------------------------------------------------------------- before anything is sampled


LONG = "the old harbour master kept a brass telescope and nine faded charts in the attic above his daughter's bakery"


def rows_at(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder / "rows.jsonl"


@pytest.fixture
def loop(letters: Path, tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """Trains on rows, of which the third repeats nothing; the suite's first item is a long one."""
    first, *rest = (letters / "items.jsonl").read_text().splitlines()
    item = {**json.loads(first), "prompt": f"Summarise this: {LONG}. Answer with one letter, please."}
    (letters / "items.jsonl").write_text("\n".join([json.dumps(item), *rest]) + "\n")
    stages = [{"updater": "sft", "data": str(tmp_path / "rows.jsonl"), "gate": "hold"}]
    return {"suite": str(letters), "model": str(tiny_model), "stages": stages}


CLEAN = {"id": "clean", "prompt": "Name a colour.", "completion": "red"}
LEAKS = {
    "asks what": "Summarise this: " + LONG + ". Answer with one letter, please.",
    "asks nearly what": "Summarise this: " + LONG + ". Answer with one letter, thanks!",
    "shares a long passage with": "Translate the sentence below into French, keeping all names.\n" + LONG,
}


@pytest.mark.parametrize(("says", "prompt"), LEAKS.items())
def test_each_kind_of_leak_is_refused(loop: dict[str, Any], tmp_path: Path, says: str, prompt: str) -> None:
    rows_at(tmp_path, CLEAN, {"id": "x", "prompt": prompt, "completion": "a"})
    with pytest.raises(ConfigError, match=rf"item 'item-0' {says} training prompt 'x'.*leakage = \"drop\""):
        plan_loop(loop)
    plan_loop({**loop, "data": {"leakage": "drop"}})
    plan_loop({**loop, "data": {"exclude": ["x"]}})


def test_training_prompts_of_a_suite_that_repeat_an_item_are_taken_out(letters: Path, tiny_model: Path) -> None:
    train = (letters / "train.jsonl").read_text()
    twin = {"id": "twin", "prompt": "Item 3, say D!", "target": {"answers": ["d"]}, "reference": "d"}
    (letters / "train.jsonl").write_text(train + json.dumps(twin) + "\n")
    settings = {"suite": str(letters), "model": str(tiny_model), "stages": [{"updater": "group", "prompts": 4, "n": 2}]}
    with pytest.raises(
        ConfigError, match="item 'item-3' asks nearly what training prompt 'twin' of suite letters asks"
    ):
        plan_loop(settings)
    assert "twin" not in {p.id for p in plan_loop({**settings, "data": {"leakage": "drop"}}).suites[0].train}


def test_what_is_excluded_is_not_drawn_and_what_matches_nothing_is_refused(letters: Path, tiny_model: Path) -> None:
    settings = {"suite": str(letters), "model": str(tiny_model), "stages": [{"updater": "group", "prompts": 4, "n": 2}]}
    plan = plan_loop({**settings, "data": {"exclude": ["train-3"]}})
    assert len(plan.suites[0].train) == 23
    assert plan.identity != plan_loop(settings).identity
    with pytest.raises(ConfigError, match=r"data\.exclude: 'train-99' is nothing that is trained on"):
        plan_loop({**settings, "data": {"exclude": ["train-3", "train-99"]}})
    with pytest.raises(ConfigError, match="it has no training prompts"):
        plan_loop({**settings, "data": {"exclude": ["letters"]}})


def test_lines_are_excluded_by_number_with_blank_lines_counted(loop: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(CLEAN)}\n\n{json.dumps({**CLEAN, 'id': 'b'})}\n")
    plan_loop({**loop, "data": {"exclude": ["rows.jsonl:3"]}})
    with pytest.raises(ConfigError, match=r"'rows\.jsonl:2' is nothing"):
        plan_loop({**loop, "data": {"exclude": ["rows.jsonl:2"]}})


def test_filters_are_named_in_errors_and_a_run_without_data_is_what_it_was(
    loop: dict[str, Any], tmp_path: Path, registry: Registry
) -> None:
    rows_at(tmp_path, CLEAN)
    wrong = {**loop, "data": {"filters": [{"name": "words", "config": {"anwers": []}}]}}
    with pytest.raises(ConfigError, match=r"data\.filters\.0\.config"):
        plan_loop(wrong, registry=registry)
    assert "data" not in plan_loop(loop).identity["config"]
    used = plan_loop({**loop, "data": {"filters": [{"name": "words"}]}}, registry=registry)
    assert "filter words" in used.identity["components"]
    assert used.config.data.filters[0].config == {"answers": [], "prompts": [], "offers": False}
    assert "[data]" in plan_loop(loop).toml
