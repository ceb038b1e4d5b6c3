"""Held-out items in training data: each kind of leak is found, and what suites share with their own training is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leakage import COMMON, Leak, LeakIndex
from harness.overlap import overlaps
from harness.plugins import load_registry
from harness.protocols import RunContext, Suite
from harness.types import Prompt

REGISTRY = load_registry(third_party=False)


def ask(row_id: str, text: str, reference: str | None = None, cluster: str = "", target: str = "") -> Prompt:
    return Prompt(row_id, ({"role": "user", "content": text},), target=target, reference=reference, cluster=cluster)


def suite(items: list[Prompt], train: list[Prompt] = [], name: str = "s") -> Suite:  # noqa: B006 (never changed)
    return Suite(name, "1", "target", tuple(items), (), tuple(train))


def numbered(prefix: str, count: int) -> str:
    return " ".join(f"{prefix}{n}" for n in range(count))


LONG = numbered("w", 40)


def test_an_equal_question_whatever_the_answer_and_wherever_it_is_from() -> None:
    index = LeakIndex(
        [suite([ask("a", "What is it?", "That."), ask("b", "Who?")]), suite([ask("c", "Who?")], name="t")]
    )
    assert index.leaks(ask("mine", "What is it?"), ["This."]) == [Leak("s", "a", "prompt", 1.0)]
    assert index.leaks(ask("mine", "Who?")) == [Leak("s", "b", "prompt", 1.0), Leak("t", "c", "prompt", 1.0)]
    assert index.leaks(ask("mine", "Who was it?"), ["That."]) == []
    tools = replace(ask("mine", "What is it?"), tools='[{"name": "f"}]')
    assert index.leaks(tools) == [Leak("s", "a", "near", 1.0)]
    assert index.leaks(replace(tools, tools='["f"]')) == [Leak("s", "a", "near", 1.0)]


def test_a_near_copy_has_the_similarity_of_overlap() -> None:
    """Of 40 words there are 36 5-grams; one word in the midst is in 5 of them: 31 shared of 41."""
    changed = LONG.replace("w20 ", "x ")
    assert LeakIndex([suite([ask("a", LONG)])]).leaks(ask("mine", changed)) == [Leak("s", "a", "near", 31 / 41)]


def test_words_in_a_row_of_the_question_or_the_gold_answer_in_what_is_asked_or_answered() -> None:
    """LONG has 28 13-grams."""
    index = LeakIndex([suite([ask("q", LONG), ask("r", "Why?", numbered("r", 13)), ask("t", "How?", target=TARGET)])])
    twelve, thirteen = (" ".join(LONG.split()[5 : 5 + n]) for n in (12, 13))
    assert index.leaks(ask("mine", f"Say: {twelve}."), [f"Well, {twelve}."]) == []
    assert index.leaks(ask("mine", f"Say: {thirteen.upper()}!")) == [Leak("s", "q", "ngram", 1 / 28)]
    assert index.leaks(ask("mine", "Say it."), ["No.", f"Well, {thirteen}."]) == [Leak("s", "q", "ngram", 1 / 28)]
    assert index.leaks(ask("mine", "Say it."), [numbered("r", 13)]) == [Leak("s", "r", "ngram", 1.0)]
    assert index.leaks(ask("mine", numbered("t", 14))) == [Leak("s", "t", "ngram", 1.0)]
    halves = ask("mine", " ".join(LONG.split()[:7])), [" ".join(LONG.split()[7:14])]
    assert index.leaks(*halves) == [], "no text of it holds them in a row"


TARGET = '{"sentences": ["' + numbered("t", 14) + '"]}'


def test_raw_text_is_what_its_answers_say() -> None:
    index = LeakIndex([suite([Prompt("a", (), reference=LONG), ask("b", numbered("v", 40))])])
    raw = Prompt("mine", ())
    assert index.leaks(raw, [LONG]) == [Leak("s", "a", "prompt", 1.0)]
    assert index.leaks(raw, [f"{LONG} "]) == [Leak("s", "a", "near", 1.0)]
    assert index.leaks(raw, [f"{numbered('x', 40)} {numbered('v', 20)}"]) == [Leak("s", "b", "ngram", 8 / 28)]
    assert index.leaks(raw, ["", " "]) == index.leaks(raw) == []


@pytest.mark.parametrize(("count", "leaks"), [(COMMON, True), (COMMON + 1, False)])
def test_what_many_items_say_is_no_leak_unless_they_ask_about_one_passage(count: int, leaks: bool) -> None:
    form = numbered("form", 20)
    items = [ask(f"i{n}", f"{form} {numbered(f'own{n}x', 30)}") for n in range(count)]
    mine = ask("mine", f"{form} {numbered('mine', 50)}")
    assert bool(LeakIndex([suite(items)]).leaks(mine)) == leaks
    assert bool(LeakIndex([suite([replace(item, cluster="one") for item in items])]).leaks(mine))
    beside = ask("mine", f"{form} own0x0 {numbered('mine', 50)}")
    assert bool(LeakIndex([suite(items)]).leaks(beside)) == leaks, "what begins beside an instruction is no leak"
    copied = LeakIndex([suite(items)]).leaks(ask("mine", numbered("own0x", 20)))
    assert [leak.item for leak in copied] == ["i0"]


def test_what_a_suite_trains_on_itself_is_no_leak_in_it_but_in_others() -> None:
    held = ask("a", f"{LONG} {numbered('v', 40)}")
    mine = ask("mine", f"{numbered('x', 60)} {LONG}")
    assert [leak.kind for leak in LeakIndex([suite([held])]).leaks(mine)] == ["ngram"]
    assert LeakIndex([suite([held], [mine])]).leaks(mine) == []
    assert [leak.suite for leak in LeakIndex([suite([held], [mine]), suite([held], name="t")]).leaks(mine)] == ["t"]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), max_size=30), st.integers(0, 30))
def test_prompt_and_near_are_what_overlap_finds(texts: list[list[str]], cut: int) -> None:
    prompts = [ask(str(n), " ".join(text)) for n, text in enumerate(texts)]
    one = suite(prompts[:cut], prompts[cut:])
    index = LeakIndex([one])
    found = {(leak.item, p.id, leak.kind, leak.similarity) for p in one.train for leak in index.leaks(p)}
    kinds = {True: "prompt", False: "near"}
    wanted = {(o.one.id, o.other.id, kinds[o.exact], o.similarity) for o in overlaps(one.items, one.train)}
    assert {leak for leak in found if leak[2] != "ngram"} == wanted


def test_the_built_in_suites_leak_into_no_other_one_but_for_three_passages() -> None:
    """Of the passages that perplexity trains on, three say of one thing what passages of grounded-qa say of it."""
    names = ["chat", "general", "grounded-qa", "instruction-following", "perplexity", "structured-output", "tool-calls"]
    suites = [REGISTRY.create("suite", name, {}, RunContext()) for name in names]
    index = LeakIndex(suites)
    for one in suites:
        answers = {p.id: [p.reference] if p.reference else [] for p in one.train}
        found = {leak for p in one.train for leak in index.leaks(p, answers[p.id])}
        passages = 3 if one.name == "perplexity" else 0
        assert len(found) == passages
        assert {leak.suite for leak in found} <= {"grounded-qa"}
        assert all(Leak(one.name, item.id, "prompt", 1.0) in index.leaks(item) for item in one.items)
