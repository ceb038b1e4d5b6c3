"""The grounded-qa suite: every answer stands where its reference says, and no passage is on both sides."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from answering import DEGENERATE, Policy, asked, load, mean, scores

from harness.protocols import SilentProgress, Suite
from harness.types import Prompt, digest
from harness_suites.grounded_qa.build import build, select, split_sentences


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load("grounded-qa")


def target(prompt: Prompt) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(prompt.target)
    return value


def answerable(prompt: Prompt) -> bool:
    return prompt.metadata["category"] == "answerable"


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_sizes_and_the_share_that_has_no_answer(suite: Suite) -> None:
    assert suite.role == "target"
    assert Counter(map(answerable, suite.items)) == {True: 240, False: 60}
    assert Counter(map(answerable, suite.train)) == {True: 320, False: 80}
    assert len({item.cluster for item in suite.items}) == 300


# Results are compared across machines and releases: the items, their content and their order are a constant.
HELD_OUT = "f39366eaa7b3ae2104da9e33eafef9a81227e287fed53578fcd2b466b8e926be"
TRAIN = "76c901e6703650188d8500722490f2a5533843c96fd4586c98df228c37438f03"


def test_the_prompts_are_a_constant(suite: Suite) -> None:
    assert digest([[p.id, p.hash, p.cluster] for p in suite.items]) == HELD_OUT
    assert digest([[p.id, p.hash, p.cluster] for p in suite.train]) == TRAIN


def test_any_prefix_mixes_what_can_be_answered_and_what_cannot(suite: Suite) -> None:
    for prompts in (suite.items, suite.train):
        absent = sum("-of-" in prompt.id for prompt in prompts[:150])
        assert 15 <= absent <= 45  # 30 in the mean; a standard deviation is 3.5


def test_no_passage_sentence_or_question_is_used_twice(suite: Suite) -> None:
    prompts = suite.train + suite.items
    sentences = [words(sentence) for prompt in prompts for sentence in set(target(prompt)["sentences"])]
    assert len(set(sentences)) == len(sentences)
    questions = [words(asked(prompt).rpartition("Question: ")[2]) for prompt in prompts]
    assert len(set(questions)) == len(questions) == 700
    rows = [row for prompt in prompts for row in prompt.id.removeprefix("halueval-").split("-of-halueval-")]
    assert len(set(rows)) == len(rows) == 560 + 2 * 140


def test_how_much_is_trained_on_changes_nothing_held_out(suite: Suite) -> None:
    train, items = build(SilentProgress(), train=40)
    assert items == suite.items
    assert len(train) == 40


def test_the_prompt_shows_the_sentences_that_the_target_numbers(suite: Suite) -> None:
    for prompt in suite.train + suite.items:
        shown = re.findall(r"^\[(\d+)\] (.*)$", asked(prompt), re.MULTILINE)
        assert shown == [(str(n), text) for n, text in enumerate(target(prompt)["sentences"], 1)], prompt.id
        assert 3 <= len(shown) <= 6
        assert len(asked(prompt)) < 850


def test_an_answer_stands_in_its_support_and_nowhere_else(suite: Suite) -> None:
    for prompt in filter(answerable, suite.train + suite.items):
        (answer,) = target(prompt)["answers"]
        sentences = target(prompt)["sentences"]
        where = [n for n, text in enumerate(sentences, 1) if f" {words(answer)} " in f" {words(text)} "]
        assert set(target(prompt)["support"]) <= set(where), prompt.id
        assert 1 <= len(target(prompt)["support"]) <= 2
        question = asked(prompt).rpartition("Question: ")[2]
        assert f" {answer.casefold()} " not in f" {question.casefold()} "


def test_what_is_not_answered_is_not_in_the_passage(suite: Suite) -> None:
    """The answer that the data give to the question is looked for in the passage of another."""
    data = {f"halueval-{n}": row for n, row in enumerate(rows())}
    for prompt in suite.train + suite.items:
        if not answerable(prompt):
            question, _, passage = prompt.id.partition("-of-")
            assert prompt.cluster == passage != question
            assert data[question]["question"].strip() == asked(prompt).rpartition("Question: ")[2]
            answer = data[question]["right_answer"].strip().rstrip(".")
            assert answer.casefold() not in data[passage]["knowledge"].casefold() or len(answer) < 5, prompt.id


def rows() -> list[dict[str, str]]:
    from harness.assets import fetch

    return [json.loads(line) for line in (fetch("halueval") / "dataset_halueval_qa.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------- answers


def test_every_reference_is_right_in_training_and_in_evaluation(suite: Suite) -> None:
    prompts = suite.train + suite.items
    for use in ("train", "eval"):
        found = scores(suite, prompts, lambda prompt: prompt.reference or "", use=use)
        assert {(score.label, score.value) for score in found} == {("ok", 1.0)}


def uncited(prompt: Prompt) -> str:
    return (prompt.reference or "").partition(" [")[0]


def first(prompt: Prompt) -> str:
    return f"{target(prompt)['sentences'][0]} [1]"


def everything(prompt: Prompt) -> str:
    sentences = target(prompt)["sentences"]
    return " ".join(sentences) + "".join(f" [{n}]" for n in range(1, len(sentences) + 1))


def names(prompt: Prompt) -> str:
    """The first words in capitals, with every sentence cited that may be."""
    found = re.findall(r"[A-Z]\w+", " ".join(target(prompt)["sentences"]))
    return f"{' '.join(found[:7])} [1, 2]"


COPIES: dict[str, Policy] = {"first": first, "everything": everything, "names": names}


@pytest.mark.parametrize("policy", [*DEGENERATE, *COPIES])
def test_no_policy_that_reads_nothing_passes(suite: Suite, policy: str) -> None:
    assert mean(suite, (DEGENERATE | COPIES)[policy]) < suite.degenerate_bound


def test_to_find_nothing_is_worth_a_fifth(suite: Suite) -> None:
    assert mean(suite, DEGENERATE["nothing there"]) == pytest.approx(0.2)


def test_an_answer_alone_earns_half_in_training_and_nothing_in_evaluation(suite: Suite) -> None:
    prompts = tuple(filter(answerable, suite.items))
    assert {(s.label, s.value) for s in scores(suite, prompts, uncited)} == {("no_citation", 0.0)}
    assert {s.value for s in scores(suite, prompts, uncited, use="train")} == {0.5}


def test_an_answer_cited_from_the_wrong_sentence_is_not_supported(suite: Suite) -> None:
    def elsewhere(prompt: Prompt) -> str:
        wrong = set(range(1, len(target(prompt)["sentences"]) + 1)) - set(target(prompt)["support"])
        return f"{uncited(prompt)} [{min(wrong)}]"

    found = scores(suite, tuple(filter(answerable, suite.items)), elsewhere)
    assert {score.label for score in found} == {"unsupported_citation"}


def test_the_answers_that_the_data_made_up_are_wrong(suite: Suite) -> None:
    """HaluEval's hallucinated answers, cited from the right sentence. Some say something false in the right words."""
    data = rows()

    def made_up(prompt: Prompt) -> str:
        row = data[int(prompt.id.removeprefix("halueval-"))]
        return f"{row['hallucinated_answer']} [{target(prompt)['support'][0]}]"

    found = scores(suite, tuple(filter(answerable, suite.items)), made_up)
    assert sum(score.value or 0 for score in found) / len(found) < 0.03


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("passage", "sentences"),
    [
        ("It is red.It was blue. (Once.) Why?", ["It is red.", "It was blue.", "(Once.)", "Why?"]),
        ('He said "Go." They left in 1999.Then it ended', ['He said "Go."', "They left in 1999.", "Then it ended"]),
        ('It is "Go!". They sang "Help!" Then they left.', ['It is "Go!".', 'They sang "Help!" Then they left.']),
        ("It costs 3.14 at example.com today.", ["It costs 3.14 at example.com today."]),
        ("Dr. Who came.", []),
        ("J. Smith came.", []),
        ('He left."Go" is a song.', []),
        ("He came [1] late.", []),
    ],
)
def test_sentences_are_split_or_the_passage_is_left_alone(passage: str, sentences: list[str]) -> None:
    assert split_sentences(passage) == sentences


def row(**changes: str) -> dict[str, str]:
    passage = "The mill was built in 1820.It stands by the river.A fire took its roof in 1901."
    return {"knowledge": passage, "question": "When was the mill built?", "right_answer": "1820"} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"right_answer": "1821"},
        {"right_answer": "mill"},
        {"right_answer": "built in 1820.It stands by the river"},
        {"right_answer": ""},
        {"knowledge": "The mill was built in 1820. It stands."},
        {"knowledge": "In 1820. Yes, 1820. Again 1820. So it is."},
        {"knowledge": "The mill was built in 1820. It stands. " + "It is very old. " * 40},
    ],
)
def test_a_row_that_does_not_serve_is_left_out(changes: dict[str, str]) -> None:
    assert len(select([row()])) == 1
    assert select([row(**changes)]) == []


def test_rows_that_share_a_sentence_are_not_both_chosen() -> None:
    other = row(knowledge="A fire took its roof in 1901. It is new. It was built in 1820.", question="When?")
    assert len(select([row(), other])) == 1
    assert len(select([row(), row(knowledge="A. B.", question="When?")])) == 1
