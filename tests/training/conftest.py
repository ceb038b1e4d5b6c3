from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
