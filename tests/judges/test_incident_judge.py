"""The `incident` judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts

from harness.errors import ConfigError, PluginError
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.incident import incident_judge


def row(**target: Any) -> Prompt:
    return Prompt("row-3", (), target=json.dumps({"since": "2026-01-31", **target}))


@pytest.mark.parametrize(
    ("target", "text", "label"),
    [
        ({"must": ["Mill Lane"]}, "It goes to 4 mill  lane.", "ok"),
        ({"must": ["Mill Lane"]}, "It goes to Mill Laner.", "missing"),
        ({"must": ["5"]}, "15", "missing"),
        ({"must": ["5"]}, "(5)", "ok"),
        ({"must": ["5%"]}, "5%of it", "ok"),
        ({"must": ["5%"]}, "15% of it", "missing"),
        ({"must": ["a", "b"]}, "a and c", "missing"),
        ({"must_not": ["Bose"]}, "Ask BOSE.", "forbidden"),
        ({"must_not": ["mile"]}, "five miles", "ok"),
        ({"must_not": ["$"]}, "US$5", "forbidden"),
        ({"must_not": ["a", "b"]}, "only b", "forbidden"),
        ({"must": ["yes"], "must_not": ["no"]}, "yes and no", "forbidden"),
        ({"must": [{"regex": r"\d{4}"}]}, "in 1999x", "ok"),
        ({"must": [{"regex": "Yes"}]}, "yes", "missing"),
        ({"must": [{"regex": "(?i)Yes"}]}, "yes", "ok"),
        ({"must_not": [{"regex": "(?m)^- "}]}, "So:\n- this", "forbidden"),
        ({"must": ["straße"]}, "In der Straße.", "ok"),
        ({"must_not": ["x"]}, "", "empty"),
        ({"must_not": ["x"]}, " \n", "empty"),
    ],
)
def test_cases(verdicts: Verdicts, target: dict[str, Any], text: str, label: str) -> None:
    (score,) = verdicts("incident", row(**target), text)
    assert (score.value, score.label) == (float(label == "ok"), label)


def test_a_failure_brings_its_history(verdicts: Verdicts) -> None:
    told, bare = row(must=["a"], must_not=["42"], note="leaked it"), row(must=[{"regex": "a+"}])
    assert verdicts("incident", told, "It is 42.")[0].explanation == (
        "it says '42', which must not appear (since 2026-01-31: leaked it)"
    )
    assert (
        verdicts("incident", bare, "no")[0].explanation == "a match of 'a+' must appear and does not (since 2026-01-31)"
    )


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"must": ["a"], "since": "31.01.2026"}, "since = '31.01.2026'.*YYYY-MM-DD"),
        ({"must": ["a"], "since": "2026-02-30"}, "since = '2026-02-30'"),
        ({"must": ["a"], "since": "20260131"}, "since = '20260131'"),
        ({"must": ["a"], "since": None}, "since"),
        ({"must": ["a"], "sinse": "2026-01-31"}, "'sinse'.*Did you mean since"),
        ({}, "must, must_not or both"),
        ({"must": "a"}, "must = 'a'"),
        ({"must": [" "]}, "must.0"),
        ({"must_not": ["a", {"regex": "("}]}, r"must_not.1.pattern.regex = '\(': does not compile"),
        ({"must_not": [7]}, "must_not.0.text = 7"),
        ({"must": [{"regx": "a"}]}, "must.0.pattern.regex"),
    ],
)
def test_a_bad_row_is_named_with_its_field(verdicts: Verdicts, target: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"prompt row-3, judge incident: .*{says}"):
        verdicts("incident", row(**target), "a")


def test_no_date_is_an_error_and_no_target_abstains(verdicts: Verdicts) -> None:
    with pytest.raises(ConfigError, match=r"row-3.*since is missing"):
        verdicts("incident", Prompt("row-3", (), target='{"must": ["a"]}'), "a")
    with pytest.raises(PluginError, match="row-3"):
        verdicts("incident", Prompt("row-3", (), target="[]"), "a")
    assert verdicts("incident", Prompt("p", ()), "a")[0].status == "abstained"


@given(st.text(), st.text(), st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_what_must_appear_and_must_not_are_opposites(before: str, after: str, wanted: str) -> None:
    """Set apart by spaces a string is found, whatever stands around it."""
    completion = Completion(f"{before} {wanted} {after}", (1,))
    groups = [Group(row(**{key: [wanted]}), (1,), (completion,), "base", Sampling()) for key in ("must", "must_not")]
    ((found,), (refused,)) = incident_judge().score(groups)
    assert (found.value, refused.value) == (1.0, 0.0)
