"""A judge is no witness to progress that was made by pleasing it, under whatever name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.api import plan_loop
from harness.errors import ConfigError
from harness.hookspecs import hookimpl
from harness.independence import gold_uses, independent_uses, is_deterministic, is_trained_on_gold_alone, uses_for
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import JudgeUse, RunContext, Suite
from harness.specs import Config, JudgeSeat, JudgeSpec
from harness.suites import load_suite


class Asking(Config):
    model: str = "small"


class Jury(Config):
    members: tuple[JudgeSeat, ...] = ()


class Silent:
    def score(self, groups: Any) -> list[Any]:
        return []


def create(config: Any, context: RunContext) -> Silent:
    return Silent()


class Judges:
    @hookimpl
    def harness_register_judges(self) -> Iterable[JudgeSpec]:
        return [
            JudgeSpec("rubric", "", create, Asking, family=lambda config: config.model),
            JudgeSpec("pairs", "", create, Asking, family=lambda config: config.model),
            JudgeSpec("unsaid", "", create, Asking, family=lambda config: None),
            JudgeSpec("jury", "", create, Jury, deterministic=True),
            JudgeSpec("moody_jury", "", create, Jury),
        ]


@pytest.fixture
def registry() -> Registry:
    made = load_registry()
    made.add(Judges(), Origin("asking", "asking", "1"))
    return made


def families(judge: JudgeUse, registry: Registry) -> set[str]:
    return registry.judge_families(judge.name, judge.config)


def use(name: str, use: str = "both", weight: float = 1.0, **config: Any) -> JudgeUse:
    return JudgeUse(name, config, weight, use)


def seated(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def suite(*uses: JudgeUse) -> Suite:
    return Suite("s", "1", "target", (), uses)


def test_a_family_is_what_the_spec_says_else_the_name_and_of_a_panel_its_members(registry: Registry) -> None:
    assert families(use("rubric"), registry) == families(use("pairs"), registry) == {"small"}
    assert families(use("rubric", model="large"), registry) == {"large"}
    assert families(use("unsaid"), registry) == {"unsaid"}
    assert families(use("jury", members=seated("rubric", "exact")), registry) == {"small", "exact"}


def test_a_panel_is_deterministic_when_all_of_it_is(registry: Registry) -> None:
    assert is_deterministic(use("jury", members=seated("exact", "repetition")), registry)
    assert not is_deterministic(use("jury", members=seated("exact", "rubric")), registry)
    assert not is_deterministic(use("moody_jury", members=seated("exact")), registry)


@pytest.mark.parametrize(
    ("train", "evidence", "independent"),
    [
        (use("rubric", "train"), use("pairs", "eval"), False),  # two names, one model
        (use("rubric", "train"), use("pairs", "eval", model="large"), True),
        (use("rubric", "train"), use("jury", "eval", members=seated("pairs", "exact")), False),
        (use("jury", "train", members=seated("rubric")), use("pairs", "eval"), False),
        (use("rubric", "train"), use("jury", "eval", members=seated("exact")), True),
        (use("exact"), use("exact"), True),
    ],
)
def test_independent_is_deterministic_or_of_another_family(
    registry: Registry, train: JudgeUse, evidence: JudgeUse, independent: bool
) -> None:
    assert independent_uses([evidence], uses_for(suite(train, evidence), "train"), registry) == (
        [evidence] if independent else []
    )


def test_gold_is_what_is_named_so_or_else_what_evaluates_independently(registry: Registry) -> None:
    train, own, other = use("rubric", "both"), use("exact", "eval"), use("length", "gold")
    assert gold_uses(suite(train, own), registry) == [own]
    assert gold_uses(suite(train, own, other), registry) == [other]
    assert gold_uses(suite(train, use("exact", "eval", weight=0.0), own), registry) == [own]


def test_there_is_nothing_to_compare_where_what_is_trained_against_is_gold_itself(registry: Registry) -> None:
    assert is_trained_on_gold_alone(suite(use("exact")), registry)
    assert is_trained_on_gold_alone(suite(use("exact", "train"), use("exact", "eval", weight=2.0)), registry)
    assert not is_trained_on_gold_alone(suite(use("exact", "train"), use("exact", "eval", match="contains")), registry)
    assert not is_trained_on_gold_alone(suite(use("exact"), use("rubric", "train")), registry)


def judged(folder: Path, *uses: JudgeUse) -> Path:
    """The suite in `folder` with these judges."""
    head = (folder / "suite.toml").read_text().partition("[[judges]]")[0]
    tables = [
        f'[[judges]]\nname = "{u.name}"\nuse = "{u.use}"\n[judges.config]\n'
        + "".join(f"{key} = {value!r}\n" for key, value in u.config.items())
        for u in uses
    ]
    (folder / "suite.toml").write_text(head + "".join(tables))
    return folder


BLIND = {"enabled": False}
REPORTING = {"stop_on_over_optimization": False}


@pytest.mark.parametrize(
    ("uses", "monitors", "says"),
    [
        ([use("rubric")], {}, "evidence would come from rubric"),
        ([use("rubric", "train"), use("pairs", "eval")], {}, "evidence would come from pairs"),
        ([use("rubric"), use("exact", "gold")], BLIND, "evidence would come from rubric"),
        ([use("rubric"), use("exact", "gold")], REPORTING, "evidence would come from rubric"),
        ([use("exact"), use("rubric", "train"), use("pairs", "gold")], {}, "pairs would be gold"),
        ([use("rubric"), use("exact", "gold")], {}, None),
        ([use("rubric"), use("exact", "eval")], BLIND, None),
        ([use("rubric", "train"), use("pairs", "eval", model="large")], BLIND, None),
        ([use("exact")], BLIND, None),
    ],
)
def test_a_training_judge_is_never_the_only_evidence(
    registry: Registry, letters: Path, tiny_model: Path, uses: list[JudgeUse], monitors: dict[str, Any], says: str
) -> None:
    config = {"suite": str(judged(letters, *uses)), "model": str(tiny_model), "monitors": monitors}
    if says is None:
        assert plan_loop(config, registry=registry).config.monitors.enabled == (monitors != BLIND)
        return
    with pytest.raises(ConfigError, match=says):
        plan_loop(config, registry=registry)


def test_gold_alone_evaluates_nothing(letters: Path) -> None:
    with pytest.raises(ConfigError, match="no judge is for evaluation"):
        load_suite(judged(letters, use("exact", "gold"), use("exact", "train")))


def test_gold_is_part_of_what_a_run_is_and_its_absence_is_not(
    registry: Registry, letters: Path, tiny_model: Path
) -> None:
    def identity(*uses: JudgeUse) -> Any:
        config = {"suite": str(judged(letters, *uses)), "model": str(tiny_model)}
        return plan_loop(config, registry=registry).identity["suites"]["letters"]

    bare = identity(use("exact"))
    assert "gold" not in bare
    gold = [identity(use("exact"), use("exact", "gold", match=match)) for match in ("whole", "contains")]
    assert gold[0] != gold[1]
    assert {key: value for key, value in gold[0].items() if key != "gold"} == bare
