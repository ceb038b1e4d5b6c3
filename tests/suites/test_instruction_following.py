"""The instruction-following suite: its references do what is asked, and nothing that does not read scores well."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from suite_checks import closest, means_of_fixed, oracle, own_suite, request, rewards, without_reading

from harness.config import DEFAULTS, LoopConfig, merge
from harness.protocols import Suite
from harness.types import digest
from harness_suites.instruction_following.build import PLANS
from harness_suites.instruction_following.wording import WORDINGS


@pytest.fixture(scope="module")
def suite() -> Suite:
    return own_suite("instruction_following")


def constraints(target: str) -> list[dict[str, object]]:
    return json.loads(target)["constraints"]  # type: ignore[no-any-return]


def test_sizes(suite: Suite) -> None:
    assert suite.role == "target"
    for prompts in (suite.items, suite.train):
        assert Counter(p.metadata["category"] for p in prompts) == {"one": 40, "two": 40, "three": 40}
        assert set(Counter(p.cluster for p in prompts).values()) == {3}
        for prompt in prompts:
            assert len(constraints(prompt.target)) == {"one": 1, "two": 2, "three": 3}[prompt.metadata["category"]]


def test_every_reference_meets_every_constraint(suite: Suite) -> None:
    for prompts in (suite.items, suite.train):
        for purpose in ("eval", "train"):
            assert set(rewards(suite, prompts, oracle, purpose=purpose).values()) == {1.0}


def test_what_does_not_read_scores_next_to_nothing(suite: Suite) -> None:
    scores = without_reading(suite)
    assert scores["empty"] == scores["refusal"] == scores["echo"] == 0
    assert max(scores.values()) < 0.1 < suite.degenerate_bound


def test_no_fixed_text_reaches_the_bound(suite: Suite) -> None:
    """Not even the texts that the suite itself holds: the README names the best of them."""
    best = max(means_of_fixed(suite, [oracle(prompt) for prompt in suite.items + suite.train]))
    assert round(best, 2) == 0.19 < suite.degenerate_bound


def test_every_kind_is_asked_on_both_sides_in_words_of_their_own(suite: Suite) -> None:
    asked = {name for _, plans in PLANS for plan in plans for name in plan}
    for side, prompts in (("held_out", suite.items), ("train", suite.train)):
        assert set(WORDINGS[side]) == asked
        for name, wordings in WORDINGS[side].items():
            assert len(set(wordings)) == 2, name
            for wording in wordings:
                pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording))
                assert any(re.search(pattern, request(prompt)) for prompt in prompts), (side, wording)
    ours, theirs = ({w for two in WORDINGS[side].values() for w in two} for side in ("held_out", "train"))
    assert ours.isdisjoint(theirs)


def test_numbers_and_texts_of_a_constraint_are_in_the_prompt(suite: Suite) -> None:
    """What the judge asks for is told; of two answers, casing and the postscript the wordings tell it."""
    for prompt in suite.items + suite.train:
        for constraint in constraints(prompt.target):
            if constraint["kind"] == "without":
                assert "comma" in request(prompt)
            elif constraint["kind"] == "keyword":
                number = {None: "", 1: "once", 2: "twice"}[constraint.get("at_least")]  # type: ignore[index]
                assert f'"{constraint["text"]}"' in request(prompt)
                assert number in request(prompt)
            elif constraint["kind"] == "json":
                assert all(f'"{key}"' in request(prompt) for key in constraint["keys"])  # type: ignore[attr-defined]
            elif constraint["kind"] == "responses":
                assert str(constraint["separator"]) in request(prompt)
            elif constraint["kind"] not in ("casing", "postscript"):
                told = [value for key, value in constraint.items() if key != "kind"]
                assert all(str(value) in request(prompt) for value in told), prompt.id


def test_the_two_sides_share_no_topic_and_no_sentence(suite: Suite) -> None:
    assert {p.cluster for p in suite.train}.isdisjoint(p.cluster for p in suite.items)

    def sentences(text: str) -> set[str]:
        return {part.strip(" #-*\n").casefold() for part in re.split(r"[.\n]", text) if len(part.split()) > 4}

    ours, theirs = (set().union(*(sentences(oracle(p)) for p in prompts)) for prompts in (suite.train, suite.items))
    assert ours & theirs == set()
    assert closest([(p.id, oracle(p)) for p in suite.train], [(p.id, oracle(p)) for p in suite.items]) < (0.1,)
    assert closest([(p.id, request(p)) for p in suite.train], [(p.id, request(p)) for p in suite.items]) < (0.3,)


def test_references_are_short_and_no_prompt_comes_twice(suite: Suite) -> None:
    prompts = suite.items + suite.train
    assert len({request(prompt) for prompt in prompts}) == len(prompts)
    assert all(15 <= len(oracle(prompt).split()) <= 80 for prompt in prompts)
    assert all("{" not in request(prompt) for prompt in prompts)


def test_any_prefix_mixes_the_categories(suite: Suite) -> None:
    for prompts in (suite.items, suite.train):
        assert min(Counter(prompt.metadata["category"] for prompt in prompts[:30]).values()) >= 5


def test_the_rows_are_a_constant(suite: Suite) -> None:
    """Results are compared across machines and releases."""
    assert digest([[p.id, p.hash, p.cluster] for p in suite.train]) == TRAIN
    assert digest([[p.id, p.hash, p.cluster] for p in suite.items]) == HELD_OUT


TRAIN = "cc524ba4c77021e984d9cfc0ac980ae787e436ac5262c6306c046239ff2e211c"
HELD_OUT = "c26459023bfedb162ca75246797ddc1199f9e8b44b94b2ae5c8c4a90e26ca609"


def test_the_recipe_is_a_loop_that_asks_nothing_twice(suite: Suite) -> None:
    config = LoopConfig.model_validate(merge(DEFAULTS, suite.recipe, {"suite": suite.name}))
    demonstrations, rewarded = config.stages
    assert (demonstrations.generator, demonstrations.updater) == ("reference", "sft")
    assert demonstrations.prompts <= len(suite.train)
    assert rewarded.prompts * rewarded.rounds <= len(suite.train)
