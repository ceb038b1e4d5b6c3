"""Our model and adapter through a TRL trainer, watched."""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import datasets
import huggingface_hub
import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import PrinterCallback, TrainerCallback

from harness.errors import ConfigError, UpdateError
from harness.protocols import Progress, RunContext
from harness.types import AdapterCheckpoint
from harness_plugins.models.adapters import load_base, quiet, start_adapter
from harness_plugins.models.weights import saved_settings, trains_weights
from harness_plugins.training.fitting import trainable
from harness_plugins.training.processes import processes

REFERENCE = "ref"
"""TRL's name for the copy of the adapter that its reference log-probabilities come from."""

NOT_MEANS = {"epoch", "num_tokens", "step_time"}
"""Logged numbers whose mean says nothing, or that differ from run to run."""


def open_policy(context: RunContext, dtype: str, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
    """The base with the parent adapter, or with a new one, where TRL's trainers expect it."""
    reference = context.require_model()
    require_adapter(context, parent)
    base = load_base(reference.path, dtype, device="cuda" if torch.cuda.is_available() else "cpu")
    return start_adapter(base, context.adapter, parent=parent, model=reference, seed=seed)


def require_adapter(context: RunContext, parent: AdapterCheckpoint | None) -> None:
    """Raises ConfigError for what is no adapter on a base in its own precision, and for several processes."""
    if processes().num_processes > 1:
        raise ConfigError(
            "the TRL updaters run in one process", where="launcher", remedy="Leave the launcher out, or use another."
        )
    settings = saved_settings(parent.path) if parent else context.adapter
    if trains_weights(settings) or (parent is not None and parent.quantization):
        held = f" on a base in {parent.quantization}" if parent and parent.quantization else ""
        raise ConfigError(
            f"the TRL updaters train adapters on a plain base, not {settings['peft_type']}{held}",
            where="adapter",
            remedy="Choose an adapter such as LORA, or one of the other updaters.",
        )


def run_trainer(
    make_trainer: Callable[[Any, str], Any],
    model: Any,
    progress: Progress,
    metrics: Callable[[], Mapping[str, float]],
) -> dict[str, float]:
    """Train `model` in place with the trainer that `make_trainer` makes of it and a folder for scratch.

    Returns `metrics()`, called after training, with `update/...` of the training itself and TRL's numbers as means
    over the steps, `trl/...`. Raises ConfigError when TRL refuses the model or a setting, and UpdateError when a loss
    or a gradient is not finite, no step was taken, or no weight has changed.
    """
    parameters = list(trainable(model))  # TRL's reference adapter brings more
    before = [parameter.detach().clone() for parameter in parameters]
    with tempfile.TemporaryDirectory() as scratch, silence(), ExitStack() as stack:
        try:
            trainer = make_trainer(model, scratch)
        except (ValueError, TypeError, NotImplementedError, ImportError) as error:
            raise ConfigError(f"TRL refuses it ({error})", where="updater") from error
        complete_reference(model)
        watcher = Watcher(lambda steps: stack.enter_context(progress.task("update", total=steps)))
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watcher)
        try:
            trainer.train()
        except ValueError as error:  # some settings TRL reads in its first step only
            if watcher.history:
                raise
            raise ConfigError(f"TRL refuses it ({error})", where="updater") from error
        trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)  # it outlives training
    if not watcher.history:
        raise UpdateError(
            "TRL took no optimizer step", where="update", remedy="Train on more data, or set a smaller batch."
        )
    known = metrics()
    if all(torch.equal(old, new) for old, new in zip(before, parameters, strict=True)):
        raise UpdateError(
            "no weight has changed",
            where="update",
            remedy="Take more optimizer steps, a shorter warm-up or a higher learning rate.",
        )
    if REFERENCE in model.peft_config:
        model.delete_adapter(REFERENCE)
    losses = watcher.history["loss"]
    return {
        **known,
        **{f"trl/{name}": sum(values) / len(values) for name, values in sorted(watcher.history.items())},
        "update/first_loss": losses[0],
        "update/last_loss": losses[-1],
        "update/steps": float(len(losses)),
        "update/trainable_parameters": float(sum(p.numel() for p in parameters)),
    }


def complete_reference(model: PeftModel) -> None:
    """Make TRL's reference adapter equal to the adapter that training starts from.

    TRL copies the parameters that have `.default.` in their names. Those of IA3, VeRA and LoRA on embeddings end in
    `.default`, so their reference would be a fresh adapter: the base model, not the parent.
    """
    if REFERENCE in model.peft_config:
        set_peft_model_state_dict(model, get_peft_model_state_dict(model), adapter_name=REFERENCE)


class Watcher(TrainerCallback):
    """Shows every step, keeps what TRL logs of it, and stops at a loss that is not finite."""

    def __init__(self, start: Callable[[int], Callable[..., None]]) -> None:
        self.start = start
        self.advance: Callable[..., None] = lambda amount=1, **figures: None
        self.history: dict[str, list[float]] = defaultdict(list)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.advance = self.start(state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" not in logs:  # the summary at the end
            return
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise UpdateError(
                    f"the {name.replace('_', ' ')} is {logs[name]} at optimizer step {state.global_step}",
                    where="update",
                    remedy="Lower the learning rate, or look at the data.",
                )
        for name, value in logs.items():
            # TRL logs None, or NaN, for a mean over nothing (a batch without rejected completions).
            if name not in NOT_MEANS and isinstance(value, (int, float)) and math.isfinite(value):
                self.history[name].append(float(value))
        self.advance(1, loss=logs["loss"])


@contextmanager
def silence() -> Iterator[None]:
    """No bars, advice or telemetry from TRL and what it brings: the run has its own display. Errors still show."""
    trl, hub = logging.getLogger("trl"), huggingface_hub.constants
    level, bars, telemetry = trl.level, not datasets.are_progress_bars_disabled(), hub.HF_HUB_DISABLE_TELEMETRY
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trl.setLevel(logging.ERROR)
        datasets.disable_progress_bars()
        hub.HF_HUB_DISABLE_TELEMETRY = True  # every trainer's constructor reports itself
        try:
            yield
        finally:
            hub.HF_HUB_DISABLE_TELEMETRY = telemetry
            if bars:
                datasets.enable_progress_bars()
            trl.setLevel(level)
