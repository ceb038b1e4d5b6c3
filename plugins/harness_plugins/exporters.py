"""Exporters: a whole model, or the adapter with what is needed to load it on its model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from harness.errors import ConfigError
from harness.models import check_model_folder, copy_tokenizer
from harness.protocols import ModelRef, RunContext
from harness.specs import Config, NoConfig
from harness.types import AdapterCheckpoint


class MergedConfig(Config):
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Of the weights that are written. Model and adapter are added in float32 and rounded once."""


class MergedExporter:
    """Model and adapter as one model folder, which loads without PEFT."""

    def __init__(self, config: MergedConfig, context: RunContext) -> None:
        self._dtype, self._model = config.dtype, context.require_model()

    def export(self, checkpoint: AdapterCheckpoint, out: Path) -> None:
        from harness_plugins.models.merging import merge_adapter

        merge_adapter(self._model.path, checkpoint.path, out, dtype=self._dtype)
        copy_tokenizer(self._model.path, out)
        check_model_folder(out)


class AdapterExporter:
    """The adapter's folder as it is, so that its seal holds, and the tokenizer of its model."""

    def __init__(self, config: NoConfig, context: RunContext) -> None:
        self._model: ModelRef = context.require_model()

    def export(self, checkpoint: AdapterCheckpoint, out: Path) -> None:
        """Raises ConfigError for what PEFT could not put on the model as others load it."""
        from harness_plugins.models.weights import saved_settings, trains_weights

        settings = saved_settings(checkpoint.path)
        if trains_weights(settings) or checkpoint.quantization:
            how = f"trained on a base in {checkpoint.quantization}" if checkpoint.quantization else "no PEFT adapter"
            raise ConfigError(
                f"this {settings['peft_type']} checkpoint is {how}, so PEFT would make another policy of it",
                where="--format adapter",
                remedy="Export it with --format merged.",
            )
        shutil.copytree(checkpoint.path, out, dirs_exist_ok=True)
        copy_tokenizer(self._model.path, out)
