"""The filter of secrets, against detect-secrets itself, planted secrets, and real data without any."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString
from hypothesis import given
from hypothesis import strategies as st
from planted import SECRETS, token
from real_records import passages, record, tool_calls

from harness_plugins.filters.privacy.configs import SecretsConfig
from harness_plugins.filters.privacy.detectors import DETECTORS, patterns
from harness_plugins.filters.privacy.secrets import Secrets

FILTER = Secrets(SecretsConfig())
EVERY = Secrets(SecretsConfig(fictitious=True))
NAMED = {"cloud": "ibm_cloud_api_" + "key: ", "basic_auth": "postgres://"}


@pytest.mark.parametrize("kind", SECRETS)
def test_planted_secrets_are_found_in_real_records_and_nothing_else_is_touched(kind: str) -> None:
    rng = random.Random(kind)
    for host in rng.sample(tool_calls(), 50):
        secret = SECRETS[kind](rng)
        given = replace(host, answers=(replace(host.answers[0], text=f"Use {secret} here."),))
        flaws = FILTER.check(given)
        assert [(flaw.reason, flaw.answer, flaw.detail) for flaw in flaws] == [(kind, 0, "1 in an answer")], kind
        rewritten = flaws[0].rewritten
        assert rewritten is not None
        assert rewritten.prompt == given.prompt
        left = rewritten.answers[0].text
        if kind == "basic_auth":
            assert (
                left == f"Use {secret.rpartition(':5432')[0].rpartition(':')[0]}:[SECRET]@db.internal:5432/main here."
            )
        else:
            assert left == f"Use {NAMED.get(kind, '')}[SECRET] here."
        assert not FILTER.check(rewritten)


def test_no_false_alarm_in_real_data() -> None:
    assert not [r for r in [*tool_calls(), *passages()] if FILTER.check(r)]


@pytest.mark.parametrize(("reason", "detector"), [(r, d) for r, d in DETECTORS if d.__module__.startswith("detect_")])
def test_what_detect_secrets_finds_is_found(reason: str, detector: type) -> None:
    """Texts drawn from each of its patterns; but its own rule of what is a valid token holds for ours too."""
    made = detector()

    @given(st.one_of([st.from_regex(regex, fullmatch=True) for regex in made.denylist]))
    def agrees(text: str) -> None:
        if text.isascii() and "\\" not in text and any(made.analyze_string(text)):
            found = [p for p in patterns() if p.reason == reason and p.regex.search(text)]
            assert all(need.search(text) for pattern in found for need in pattern.needs)
            valid = found[0].valid
            assert EVERY.find(text) or (valid is not None and not valid(text.strip()))

    if reason != "jwt":  # random letters are no JSON; planted ones are
        agrees()


def test_private_keys_span_lines_also_within_json_and_when_cut_off() -> None:
    key = SECRETS["private_key"](random.Random(2))
    answer = json.dumps({"key": key, "n": 1})
    rewritten = FILTER.check(record("?", answer))[0].rewritten
    assert rewritten is not None
    assert json.loads(rewritten.answers[0].text) == {"key": "[SECRET]", "n": 1}
    cut = key.rpartition("\n")[0]
    assert [span.end - span.start for span in FILTER.find(f"{cut}\n\nAnd so on.")] == [len(cut)]
    assert not FILTER.find("A file that begins with -----BEGIN RSA " + "PRIVATE KEY----- holds a key.")


def test_tokens_longer_than_the_patterns_are_taken_whole() -> None:
    rng = random.Random(4)
    for longer in ("s" + "k_live_" + token(rng, 60), SECRETS["jwt"](rng)):
        assert [(span.start, span.end) for span in FILTER.find(f"is {longer}, yes")] == [(3, 3 + len(longer))]


@pytest.mark.parametrize(
    "text",
    [
        "AK" + "IAIOSFODNN7" + "EXAMPLE",
        "postgres://user:password@localhost/db and https://u:${PASS}@host and ftp://a:<pw>@b",
        "gh" + "p_" + "x" * 36,
        "THE APARTMENT COMPLEX AND APERTURESETTINGS",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b, sha256:" + "0a" * 32,
        'password = "hunter2" and {"token": "abc"}',
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert not FILTER.find(text)


def test_stand_ins_keywords_and_random_strings_are_settings() -> None:
    assert EVERY.find("AK" + "IAIOSFODNN7" + "EXAMPLE")
    value = token(random.Random(6), 14)
    assert not FILTER.find(f'password = "{value}"')
    found = Secrets(SecretsConfig(keywords=True)).check(record("?", f'x\npassword = "{value}"'))
    assert found[0].reason == "keyword"
    assert found[0].rewritten is not None
    assert found[0].rewritten.answers[0].text == 'x\npassword = "[SECRET]"'
    random_text = token(random.Random(7), 64)
    plugin = Base64HighEntropyString()
    assert plugin.calculate_shannon_entropy(random_text) > plugin.entropy_limit
    assert not FILTER.find(f"'{random_text}'")
    assert [span.reason for span in Secrets(SecretsConfig(entropy=True)).find(f"'{random_text}'")] == ["entropy"]


def test_secrets_in_tools_are_not_rewritten() -> None:
    tools = json.dumps([{"name": "f", "description": SECRETS["github"](random.Random(8))}])
    assert [(f.reason, f.rewritten) for f in FILTER.check(record("?", tools=tools))] == [("github", None)]
    assert not Secrets(SecretsConfig(tools=False)).check(record("?", tools=tools))


PIECES = [make(random.Random(9)) for make in SECRETS.values()]


@given(
    st.lists(st.one_of(st.sampled_from([*PIECES, "password = ", '"', "[SECRET]", "\\n"]), st.text()), max_size=8).map(
        "".join
    )
)
def test_any_text_is_checked_and_what_is_rewritten_has_no_flaw(text: str) -> None:
    for filter in (FILTER, Secrets(SecretsConfig(keywords=True, entropy=True))):
        for flaw in filter.check(record(text, json.dumps([text]))):
            assert flaw.rewritten is not None
            assert not filter.check(flaw.rewritten)
            json.loads(flaw.rewritten.answers[0].text)
