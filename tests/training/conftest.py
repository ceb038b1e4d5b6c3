from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_families import tiny_model

from harness.protocols import ModelRef, RunContext


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            tiny_model(family).save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture
def context(model_folders: Callable[[str], Path]) -> RunContext:
    adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
    return RunContext(model=ModelRef("tiny", model_folders("llama"), "f" * 64), adapter=adapter)


# TRL takes seconds to import, so only what asks for these does.


@pytest.fixture(scope="session")
def trl_model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    from tiny_trl import build_trl_model

    return build_trl_model(tmp_path_factory.mktemp("trl") / "tiny")


@pytest.fixture
def trl_context(context: RunContext, trl_model: ModelRef) -> RunContext:
    return replace(context, model=trl_model)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What TRL's losses are computed from, batch by batch."""
    from tiny_trl import spy_on_losses

    return spy_on_losses(monkeypatch)
