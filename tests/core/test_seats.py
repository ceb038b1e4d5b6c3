"""Judges that settings name: what a run's identity and the gate know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import build_tiny_model, write_suite

from harness import plan_loop
from harness.errors import ConfigError
from harness.hookspecs import hookimpl
from harness.independence import is_deterministic
from harness.judging import judges_fingerprint
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import JudgeUse, RunContext
from harness.seats import make_judge, named_judges, seats
from harness.specs import Config, JudgeSeat, JudgeSpec
from harness.types import Group, Score


class WeighingConfig(Config):
    scale: Path


class Weighing:
    def score(self, groups: list[Group]) -> list[tuple[Score, ...]]:
        return [tuple(Score("weighing", 0.5) for _ in group.completions) for group in groups]


class Scales:
    """A plugin whose judge reads a file, and follows no rule."""

    @hookimpl
    def harness_register_judges(self) -> list[JudgeSpec]:
        create: Any = lambda config, context: Weighing()  # noqa: E731
        content: Any = lambda config: config.scale.read_text()  # noqa: E731
        return [JudgeSpec("weighing", "Weighs", create, WeighingConfig, content=content)]


@pytest.fixture
def registry() -> Registry:
    registry = load_registry()
    registry.add(Scales(), Origin("scales", "scales", "1"))
    return registry


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    path = tmp_path / "scale"
    path.write_text("1 g")
    return path


def weighing(scale: Path) -> dict[str, Any]:
    return {"name": "weighing", "config": {"scale": str(scale)}}


def panel_of(*members: dict[str, Any]) -> dict[str, Any]:
    return {"name": "panel", "config": {"members": list(members)}}


def cascade_of(first: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    return {"name": "cascade", "config": {"stages": [{**first, "high": 1.0}, last]}}


EXACT: dict[str, Any] = {"name": "exact", "config": {}}
REGEX: dict[str, Any] = {"name": "regex", "config": {}}


def test_seats_are_found_wherever_they_stand() -> None:
    class Inner(Config):
        by_name: dict[str, JudgeSeat]

    class Outer(Config):
        first: JudgeSeat
        rest: tuple[Inner, ...]
        other: str = "x"

    inner = Inner(by_name={"a": JudgeSeat(name="b"), "c": JudgeSeat(name="d")})
    assert [seat.name for seat in seats(Outer(first=JudgeSeat(name="a"), rest=(inner,)))] == ["a", "b", "d"]


def test_a_fingerprint_covers_the_files_and_settings_of_judges_at_any_depth(registry: Registry, scale: Path) -> None:
    for seat in (panel_of(EXACT, weighing(scale)), cascade_of(EXACT, panel_of(REGEX, weighing(scale)))):
        scale.write_text("1 g")
        use = JudgeUse(seat["name"], seat["config"])
        before = judges_fingerprint([use], registry)
        assert judges_fingerprint([use], registry) == before
        scale.write_text("2 g")
        assert judges_fingerprint([use], registry) != before
    plain, other = (panel_of(REGEX, {**EXACT, "config": config}) for config in ({}, {"match": "contains"}))
    assert len({judges_fingerprint([JudgeUse("panel", seat["config"])], registry) for seat in (plain, other)}) == 2


def test_judges_are_named_at_any_depth(registry: Registry, scale: Path) -> None:
    nested = cascade_of(EXACT, panel_of(REGEX, weighing(scale)))
    everyone = {"cascade", "exact", "panel", "regex", "weighing"}
    assert named_judges("judge", nested["name"], nested["config"], registry) == everyone
    assert named_judges("updater", "trl-grpo", {"judges": [nested]}, registry) == everyone
    assert named_judges("updater", "sft", {}, registry) == set()


def test_a_judge_is_as_deterministic_and_of_the_families_of_those_it_seats(registry: Registry, scale: Path) -> None:
    for seat, rule, found in (
        (panel_of(EXACT, REGEX), True, {"exact", "regex"}),
        (panel_of(EXACT, weighing(scale)), False, {"exact", "weighing"}),
        (cascade_of(EXACT, panel_of(REGEX, weighing(scale))), False, {"exact", "regex", "weighing"}),
    ):
        use = JudgeUse(seat["name"], seat["config"])
        assert is_deterministic(use, registry) == rule
        assert registry.judge_families(use.name, use.config) == found


def test_a_seat_needs_a_registry() -> None:
    with pytest.raises(ConfigError, match="there: judges cannot be made here"):
        make_judge(JudgeSeat(name="exact"), RunContext(), where="there")


# ---------------------------------------------------------------- in a loop


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def plan(tmp_path: Path, model: Path, registry: Registry, judges: list[dict[str, Any]], stage: dict[str, Any]) -> Any:
    """What a loop on a suite with these judges comes to."""
    folder = write_suite(tmp_path / "letters")
    manifest = (folder / "suite.toml").read_text().partition("[[judges]]")[0]
    for judge in judges:
        fields = "\n".join(f"{key} = {_toml(value)}" for key, value in judge.items())
        manifest += f"[[judges]]\n{fields}\n"
    (folder / "suite.toml").write_text(manifest)
    config = {"suite": str(folder), "model": str(model), "generator": {"name": "transformers"}, "stages": [stage]}
    return plan_loop(config, registry=registry)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


GROUP = {"updater": "group", "prompts": 4, "n": 2}


def test_a_panel_is_no_evidence_against_training_on_its_members(
    tmp_path: Path, model: Path, registry: Registry, scale: Path
) -> None:
    panel = panel_of(EXACT, weighing(scale))
    for judges in (
        [panel],
        [{**weighing(scale), "use": "train"}, {**panel, "use": "eval"}],
        [{**panel, "use": "train"}, {**weighing(scale), "use": "eval"}],
    ):
        with pytest.raises(ConfigError, match=r"evidence would come from .*, which is trained against"):
            plan(tmp_path, model, registry, judges, GROUP)
    for judges in (
        [panel_of(EXACT, REGEX)],
        [{**weighing(scale), "use": "train"}, {**panel_of(EXACT, REGEX), "use": "eval"}],
    ):
        plan(tmp_path, model, registry, judges, GROUP)


def test_what_an_updater_samples_against_is_no_evidence_and_part_of_the_run(
    tmp_path: Path, model: Path, registry: Registry, scale: Path
) -> None:
    pytest.importorskip("trl")
    stage = {**GROUP, "updater": "trl-grpo", "config": {"judges": [panel_of(EXACT, weighing(scale))]}}
    with pytest.raises(ConfigError, match="evidence would come from weighing, which is trained against"):
        plan(tmp_path, model, registry, [{**EXACT, "use": "train"}, {**weighing(scale), "use": "eval"}], stage)
    identities = []
    for text in ("1 g", "1 g", "2 g"):
        scale.write_text(text)
        identities.append(plan(tmp_path, model, registry, [EXACT], stage).identity)
    assert identities[0] == identities[1]
    assert identities[0]["contents"] != identities[2]["contents"]
    assert identities[0]["components"]["judge weighing"] == "scales 1"
