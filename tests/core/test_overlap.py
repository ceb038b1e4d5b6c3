"""Prompts that ask the same: exact and near copies, and that the search for them misses none."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.overlap import NEAR, ngrams, overlaps
from harness.types import Prompt


def ask(row_id: str, text: str, system: str = "", tools: str = "") -> Prompt:
    head = ({"role": "system", "content": system},) if system else ()
    return Prompt(row_id, (*head, {"role": "user", "content": text}), tools=tools)


def found(prompts: Sequence[Prompt], others: Sequence[Prompt] | None = None) -> list[tuple[str, str, float, bool]]:
    return [(o.one.id, o.other.id, round(o.similarity, 3), o.exact) for o in overlaps(prompts, others)]


def test_ngrams_are_of_words_up_to_case_and_punctuation() -> None:
    assert ngrams("To be, or not to BE!") == {"to be or not to", "be or not to be"}
    assert ngrams("Why?") == ngrams("why") == {"why"}
    assert ngrams(" +/- ") == {"+/-"}


def test_one_changed_word_of_a_long_text_leaves_a_near_copy() -> None:
    """Of 40 words there are 36 5-grams; one word in the midst is in 5 of them: 31 shared of 41."""
    words = [f"w{n}" for n in range(40)]
    changed = [*words[:20], "other", *words[21:]]
    assert found([ask("a", " ".join(words)), ask("b", " ".join(changed))]) == [("a", "b", round(31 / 41, 3), False)]
    several = [*words[:10], "x", *words[11:20], "y", *words[21:30], "z", *words[31:]]
    assert found([ask("a", " ".join(words)), ask("b", " ".join(several))]) == []


def test_equal_words_are_a_near_copy_and_equal_questions_an_exact_one() -> None:
    said = [ask("a", "What is it?"), ask("b", "what is it"), ask("c", "What is it?"), ask("d", "What was it?")]
    assert found(said) == [("a", "b", 1.0, False), ("a", "c", 1.0, True), ("b", "c", 1.0, False)]
    other_tools = ask("e", "What is it?", tools='[{"name": "f"}]')
    assert found(said[:1], [other_tools, said[2]]) == [("a", "e", 1.0, False), ("a", "c", 1.0, True)]


def test_system_messages_and_raw_texts() -> None:
    system = "You are a helpful assistant who answers every question in one short sentence and no more than that."
    assert found([ask("a", "One thing?", system), ask("b", "Another matter?", system)]) == []
    raw = [Prompt("a", (), reference="Call me Ishmael."), Prompt("b", (), reference="It was the best of times.")]
    assert found(raw) == []


def test_what_stands_before_every_question_is_left_out() -> None:
    """Whole prompts would share 96 of 100 n-grams or more; a copy is found even where it is the form itself."""
    head = " ".join(f"h{n}" for n in range(100))
    prompts = [ask(str(n), f"{head} q{n} r{n} s{n}") for n in range(20)]
    assert found(prompts) == []
    assert found([*prompts, ask("copy", f"{head}, Q7 r7 s7")]) == [("7", "copy", 1.0, False)]
    assert found([ask("a", head), *prompts, ask("b", head)]) == [("a", "b", 1.0, True)]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), max_size=8), st.integers(0, 8))
def test_the_search_finds_what_comparing_all_pairs_finds(texts: list[list[str]], cut: int) -> None:
    prompts = [ask(str(n), " ".join(text)) for n, text in enumerate(texts)]

    def near(one: Prompt, other: Prompt) -> bool:
        a, b = (ngrams(p.messages[-1]["content"]) for p in (one, other))
        return len(a & b) / len(a | b) >= NEAR

    pairs = [(one.id, other.id) for i, one in enumerate(prompts) for other in prompts[i + 1 :] if near(one, other)]
    assert [(o.one.id, o.other.id) for o in overlaps(prompts)] == pairs
    left, right = prompts[:cut], prompts[cut:]
    across = [(one.id, other.id) for one in left for other in right if near(one, other)]
    assert [(o.one.id, o.other.id) for o in overlaps(left, right)] == across
