"""The filter of personal data, against the libraries it is made of, planted data, and real data without any."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import PERSONAL, german_tax_number
from real_records import passages, record, tool_calls
from stdnum import iban, luhn
from stdnum.us import itin, ssn

from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.record import Record
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness_plugins.filters.privacy.configs import PiiConfig
from harness_plugins.filters.privacy.pii import Pii

PII = Pii(PiiConfig())
RNG = random.Random(0)


def mended(given: Record, filter: Pii = PII) -> Record:
    rewritten = filter.check(given)[0].rewritten
    assert rewritten is not None
    return rewritten


def reasons(text: str, filter: Pii = PII) -> set[str]:
    return {flaw.reason for flaw in filter.check(record(text))}


@pytest.mark.parametrize("kind", PERSONAL)
def test_planted_personal_data_are_found_in_real_records_and_nothing_else_is_touched(kind: str) -> None:
    rng = random.Random(kind)
    hosts = [host for host in rng.sample(tool_calls(), 60) if not PII.check(host)][:50]
    for host in hosts:
        planted = PERSONAL[kind](rng)
        asked = host.prompt.messages[0]["content"]
        given = replace(
            host, prompt=replace(host.prompt, messages=({"role": "user", "content": f"{asked} {planted}"},))
        )
        flaws = PII.check(given)
        assert [flaw.reason for flaw in flaws] == [kind], (planted, asked)
        assert all(planted not in flaw.detail for flaw in flaws)
        rewritten = mended(given)
        prefix = planted.partition(":")[0] + ": " if kind == "birth_date" else ""
        assert rewritten.prompt.messages[0]["content"] == f"{asked} {prefix}[{kind.upper()}_1]"
        assert (rewritten.answers, rewritten.prompt.tools) == (given.answers, given.prompt.tools)
        assert not PII.check(rewritten)


def test_few_false_alarms_in_real_data() -> None:
    """What is flagged of tool calls are addresses that were made up for them; bounds are twice what was measured."""
    calls, texts = tool_calls(), passages()
    assert sum(bool(PII.check(r)) for r in calls) <= 0.015 * len(calls)
    assert sum(bool(PII.check(r)) for r in texts) <= 0.003 * len(texts)


def test_agrees_with_the_libraries_on_random_numbers() -> None:
    rng = random.Random(1)
    for _ in range(300):
        number = "4" + "".join(rng.choices("0123456789", k=15))
        assert ("card" in reasons(f"pay with {number} now")) == (luhn.is_valid(number) and len(set(number)) > 4)
        social = f"{rng.randint(0, 999):03}-{rng.randint(0, 99):02}-{rng.randint(0, 9999):04}"
        given_out = ssn.is_valid(social) or itin.is_valid(social)
        assert ("national_id" in reasons(f"it is {social} here")) == (given_out and len(set(social) - {"-"}) > 2)
        call = f"+{rng.choice([1, 44, 49])}{rng.randint(10**8, 10**10)}"
        assert "phone" not in reasons(f"call {call} now") or phonenumbers.is_valid_number(phonenumbers.parse(call))
        account = PERSONAL["iban"](rng)
        wrong = account[:-1] + str((int(account[-1]) + 1) % 10)
        assert iban.is_valid(account)
        assert reasons(f"to {account} please") == {"iban"}
        assert "iban" not in reasons(f"to {wrong} please")


@pytest.mark.parametrize(
    "text",
    [
        "Write to jane@example.com or root@localhost, or clone git@github.com:a/b.git.",
        "Call 415-555-0132 or (555) 123-4567.",
        "Try the test card 4111 1111 1111 1111, or " + "42" * 8 + ".",
        "Version 93.184.216.34 of the driver, section 4.3.2.1, 10.0.0.1, 192.168.0.7, 8.8.8.8 and 203.0.113.9.",
        "std::a::b at 12:30:45, 00:1a:2b:3c:4d:5e, commit 9f86d081884c7d65.",
        "Coordinates 40.712776, -74.005974; order 6502532222; in 1990 1991 1992; 2023-01-15 12:30.",
        "In 2013 Supreme Court justices met. 1989 Tiananmen Square. The house stood at 350 Fifth Avenue.",
        "Ada Lovelace (born 10 December 1815) was a mathematician.",
        "The product of 536228726 and 123456789012345 is large.",
        "Send it to 123 Main Street, Apt 4.",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert reasons(text) == set()


def test_what_is_nobodys_is_found_when_asked_for() -> None:
    every = Pii(PiiConfig(fictitious=True, private_ips=True))
    assert reasons("jane@example.com", every) == {"email"}
    assert reasons("415-555-0132", every) == {"phone"}
    assert reasons("4111 1111 1111 1111", every) == {"card"}
    assert reasons("10.0.0.1 and fe80::1:2", every) == {"ip"}
    assert reasons("mail it to 123 Main Street", every) == {"address"}


def test_national_numbers_and_regions_are_settings() -> None:
    number = german_tax_number(RNG)
    assert reasons(number) == {"national_id"}
    assert reasons(number, Pii(PiiConfig(national=("us.ssn",)))) == set()
    assert reasons(number.split()[1]) == set()  # eleven digits may be anything
    assert reasons("NI: AB 12 34 56 C") == {"national_id"}
    assert reasons("Ruf an: 030 90 12 34 56") == set()
    assert reasons("Ruf an: 030 90 12 34 56", Pii(PiiConfig(regions=("DE",)))) == {"phone"}
    assert reasons("a@b.org +1 650-253-2222", Pii(PiiConfig(kinds=("phone",)))) == {"phone"}


def test_one_value_has_one_placeholder_throughout_a_record() -> None:
    first, second = (PERSONAL["email"](RNG) for _ in range(2))
    given = record(f"From {first} to {second}.", f"To {second.upper()}: from {first}")
    rewritten = mended(given)
    assert rewritten.prompt.messages[0]["content"] == "From [EMAIL_1] to [EMAIL_2]."
    assert rewritten.answers[0].text == "To [EMAIL_2]: from [EMAIL_1]"
    assert [(flaw.detail, flaw.answer) for flaw in PII.check(given)] == [
        ("2 in the prompt", None),
        ("2 in an answer", 0),
    ]
    assert mended(given, Pii(PiiConfig(placeholder="tag"))).answers[0].text == "To [EMAIL]: from [EMAIL]"


def test_json_stays_json() -> None:
    number, address = PERSONAL["card"](random.Random(3)).replace(" ", ""), PERSONAL["email"](RNG)
    answer = (
        f'{{"phone": 6502532222, "cards": [{number}, {number}.0, -1],\n "note": "é\\n{address}\\ttab \\"{number}\\""}}'
    )
    rewritten = mended(record("?", answer)).answers[0].text
    assert json.loads(rewritten) == {
        "phone": "[PHONE_1]",
        "cards": ["[CARD_1]", json.loads(f"[{number}.0]")[0], -1],
        "note": 'é\n[EMAIL_1]\ttab "[CARD_1]"',
    }
    assert "\\n" in rewritten
    assert '"é' in rewritten
    within = mended(record("?", '<tool_call>{"phone": 6502532222, "n": 1}</tool_call>')).answers[0].text
    assert within == '<tool_call>{"phone": "[PHONE_1]", "n": 1}</tool_call>'


def test_structured_messages_and_other_columns_are_rewritten_and_tools_are_not() -> None:
    address = PERSONAL["email"](RNG)
    call = {"function": {"name": "f", "arguments": {"to": address, "phone": 6502532222, "n": 3, "ok": True}}}
    parts = [{"type": "text", "text": address}]
    given = record("?", "done", tools=json.dumps([{"name": "f", "description": f"mail {address}"}]))
    messages = ({"role": "user", "content": parts}, {"role": "assistant", "content": None, "tool_calls": [call]})
    given = replace(given, prompt=replace(given.prompt, messages=messages), extra={"by": address, "line": 12})
    rewritten = mended(given)
    assert rewritten.prompt.messages[0]["content"] == [{"type": "text", "text": "[EMAIL_1]"}]
    assert rewritten.prompt.messages[1]["tool_calls"][0]["function"]["arguments"] == {
        "to": "[EMAIL_1]",
        "phone": "[PHONE_1]",
        "n": 3,
        "ok": True,
    }
    assert rewritten.extra == {"by": "[EMAIL_1]", "line": 12}
    assert rewritten.prompt.tools == given.prompt.tools
    with_tools = Pii(PiiConfig(tools=True)).check(given)
    assert {flaw.rewritten for flaw in with_tools} == {None}
    assert "1 in the tools" in [flaw.detail for flaw in with_tools]


PIECES = [make(random.Random(5)) for make in PERSONAL.values()]
TEXTS = st.lists(
    st.one_of(st.sampled_from([*PIECES, '{"a": ', "phone: ", "\\n", "[PHONE_1]", ", ", '"}']), st.text()), max_size=8
)


@given(TEXTS.map("".join), st.booleans())
def test_any_text_is_checked_and_what_is_rewritten_has_no_flaw(text: str, tags: bool) -> None:
    filter = Pii(PiiConfig(placeholder="tag" if tags else "numbered"))
    flaws = filter.check(record(text, text))
    for flaw in flaws:
        assert flaw.rewritten is flaws[0].rewritten
        assert flaw.rewritten is not None
        assert not filter.check(flaw.rewritten)


@given(
    st.recursive(
        st.one_of(st.sampled_from(PIECES), st.integers(), st.text()),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_any_json_answer_stays_parseable(value: object) -> None:
    answer = json.dumps({"phone": value})
    for flaw in PII.check(record("?", answer)):
        assert flaw.rewritten is not None
        json.loads(flaw.rewritten.answers[0].text)


def test_in_a_sieve_records_are_mended() -> None:
    registry = load_registry()
    sieve = make_sieve([FilterUse(name="pii"), FilterUse(name="secrets")], registry, RunContext(components=registry))
    sifted = sift([record(f"I am {PERSONAL['email'](RNG)}", "hello"), record("hi", "there")], sieve)
    assert [kept.prompt.messages[0]["content"] for kept in sifted.kept] == ["I am [EMAIL_1]", "hi"]
    assert [remark.outcome for remark in sifted.remarks[0]] == ["rewritten"]
