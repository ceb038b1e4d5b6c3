"""What a server samples comes without token ids. It can be judged, and no updater trains on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_training import scored_group

from harness.errors import ConfigError
from harness.plugins import load_registry
from harness.protocols import ModelRef, RunContext
from harness.records import read_groups, write_groups
from harness.training_data import require_token_ids
from harness.types import Completion, Group, Prompt, Sampling, ScoredGroup

REGISTRY = load_registry(third_party=False)
NEEDED: dict[str, dict[str, Any]] = {"trl-grpo": {"judges": [{"name": "repetition"}]}}
"""Settings without which an updater is not made."""


def of_a_server(texts: tuple[str, ...] = ("a", "b")) -> ScoredGroup:
    prompt = Prompt("p", ({"role": "user", "content": "q"},))
    group = Group(prompt, (), tuple(Completion(text, ()) for text in texts), "base", Sampling(), "server")
    return ScoredGroup(group, ((), ()), (1.0, 0.0))


@pytest.mark.parametrize("name", REGISTRY.names("updater"))
def test_no_updater_trains_on_it(name: str, tmp_path: Path) -> None:
    if name.startswith("trl-"):
        pytest.importorskip("trl")
    context = RunContext(model=ModelRef("m", tmp_path, "f"), components=REGISTRY)
    updater = REGISTRY.create("updater", name, NEEDED.get(name, {}), context)
    mixed = [scored_group(0, (1.0, 0.0)), of_a_server()]
    with pytest.raises(ConfigError, match=rf"{name}: .*generator server sampled for prompt p has no token ids.*vllm"):
        updater.update(mixed, parent=None, out=tmp_path / "out", seed=0)
    assert not (tmp_path / "out").exists()


def test_empty_answers_are_told_from_those_that_lack_their_ids(tmp_path: Path) -> None:
    write_groups(tmp_path / "g.parquet", [of_a_server(("", ""))])
    with pytest.raises(ConfigError, match="no token ids"):
        require_token_ids(read_groups(tmp_path / "g.parquet"), where="x")
    require_token_ids([scored_group(0, (1.0, 0.0))], where="x")
