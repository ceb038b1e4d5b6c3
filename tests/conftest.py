"""What many tests share: a tiny random model with a real tokenizer, and a tiny suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from tiny import build_tiny_model, write_suite

settings.register_profile("harness", deadline=None, print_blob=True)  # first calls import heavy libraries
settings.load_profile("harness")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: threads only cost, and one is reproducible
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# A job in the background of a script is started with the interrupt ignored, and so would be what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model."""
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Folder of the tiny suite."""
    return write_suite(tmp_path / "letters")
