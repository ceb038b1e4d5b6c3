"""TRL's own settings: which may be given, which the run decides, and the config object made from both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness.errors import ConfigError, did_you_mean
from harness_plugins.training.steps import SCHEDULERS
from harness_plugins.trl.configs import TrlConfig

REASONS = {
    "the run itself keeps the adapter": "output_dir save_strategy save_steps save_total_limit save_only_model "
    "load_best_model_at_end resume_from_checkpoint push_to_hub hub_model_id",
    "the run has its own log": "report_to run_name logging_strategy logging_steps logging_first_step "
    "logging_nan_inf_filter disable_tqdm log_completions log_completions_hub_repo",
    "the gate evaluates, on suites": "do_eval eval_strategy eval_steps eval_on_start",
    "the run hands out the seeds": "seed data_seed",
    "the updater has a setting for it": "learning_rate num_train_epochs max_steps per_device_train_batch_size "
    "lr_scheduler_type warmup_steps max_grad_norm weight_decay num_generations generation_batch_size "
    "max_completion_length temperature",
    "the machine and the setting dtype decide it": "use_cpu bf16 fp16",
    "the run loads the model and its tokenizer": "model_init_kwargs trust_remote_code chat_template_path "
    "eos_token pad_token",
    "the judges' weights are in the setting judges": "reward_weights",
    "every row is trained on, and none is cut off or sees another": "max_length truncation_mode packing "
    "packing_strategy padding_free dataloader_drop_last",
    "the rows are token ids, prepared by the updater": "dataset_text_field dataset_kwargs remove_unused_columns "
    "completion_only_loss assistant_only_loss train_sampling_strategy",
    "the reference is the adapter that training starts from": "precompute_ref_log_probs sync_ref_model",
}
OWNED = {name: reason for reason, names in REASONS.items() for name in names.split()}
"""Fields that `args` may not set, and why."""


def require_trl() -> None:
    """Raises ConfigError where the package is not installed."""
    try:
        import trl  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"TRL cannot be imported ({error})", where="updater", remedy="Run pip install 'harness-align[trl]'."
        ) from error


def check_args(args: Mapping[str, Any], config_class: Any, *, where: str) -> None:
    """Raises ConfigError when `args` sets a field that TRL's config class lacks, or one that the run decides."""
    fields = config_class.__dataclass_fields__
    for name in args:
        if name not in fields:
            raise ConfigError(
                f"{config_class.__name__} has no field {name!r}",
                where=f"{where} args",
                remedy=did_you_mean(name, [field for field in fields if field not in OWNED]),
            )
        if name in OWNED:
            raise ConfigError(f"{name!r} cannot be set: {OWNED[name]}", where=f"{where} args", remedy="Leave it out.")


def trl_arguments(config_class: Any, config: TrlConfig, *, folder: str, seed: int, **settled: Any) -> Any:
    """An object of TRL's config class. `settled` are fields that the updater decides. Raises ConfigError on values
    that TRL refuses."""
    cuda = torch.cuda.is_available()
    try:
        return config_class(
            **{
                "gradient_checkpointing": False,
                **config.args,
                "output_dir": folder,
                "num_train_epochs": config.epochs,
                "learning_rate": config.learning_rate,
                "lr_scheduler_type": SCHEDULERS[config.lr_scheduler_type],
                "warmup_steps": config.warmup_steps,
                "max_grad_norm": config.max_grad_norm,
                "weight_decay": config.weight_decay,
                "seed": seed,
                "use_cpu": not cuda,
                "bf16": cuda and config.dtype == "bfloat16",
                "logging_strategy": "steps",
                "logging_steps": 1,
                "logging_nan_inf_filter": False,
                "save_strategy": "no",
                "eval_strategy": "no",
                "report_to": "none",
                "disable_tqdm": True,
                **settled,
            }
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{config_class.__name__} refuses the settings ({error})", where="args") from error
