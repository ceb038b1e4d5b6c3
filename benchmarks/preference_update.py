"""Preference updates (DPO) by ours and by TRL's DPOTrainer: the same pairs, adapter, precision and optimizer.

    python benchmarks/preference_update.py [--model NAME] [--groups 4] [--repeats 3] [--json FILE] [SHAPE ...]

Pairs are random tokens. One optimizer step a pass over all pairs; one training of three passes gives the figures of one
and of three, since the first does not know of the others. The clock runs from the loaded model to the end of a step.
Reference log-probs count on every side: ours are computed once, before the first step; TRL computes them in each step
with its adapter switched off, or once (`precompute_ref_log_probs`), of which only the forward passes are counted. To
make TRL's trainer is left out, to make ours is not. The first step's gradient and loss are compared with ours, and the
command fails where they differ by more than rounding.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from update_sides import (
    LORA,
    OURS,
    Clock,
    Turn,
    Work,
    clock,
    compare,
    context_for,
    finish,
    parser,
    random_groups,
    trained_by,
    trl_options,
    works_of,
)

from harness.chat import load_tokenizer
from harness.types import AdapterCheckpoint
from harness_plugins.models.adapters import load_base, start_adapter
from harness_plugins.trl.common import silence
from harness_plugins.trl.dpo import pair_rows
from harness_plugins.updaters.configs import PreferenceConfig
from harness_plugins.updaters.preference import PreferenceUpdater, select_pairs

PASSES = 3
REWARDS = (1.0, 0.0)

TRL = {
    "TRL, defaults": {},
    "TRL, activations held": {"gradient_checkpointing": False},
    "TRL, held, reference once": {"gradient_checkpointing": False, "precompute_ref_log_probs": True},
}
"""Settings of DPOConfig."""


class TimedPairs(PreferenceUpdater):
    """Starts the clock when the model is loaded."""

    clock: Clock

    def open(self, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
        model = super().open(parent=parent, seed=seed)
        self.clock.start()
        return model


def settings(work: Work) -> PreferenceConfig:
    return PreferenceConfig(
        learning_rate=work.learning_rate, groups_per_step=work.groups, epochs=work.steps, max_grad_norm=0.0
    )


def by_ours(work: Work) -> Turn:
    context = context_for(work)
    updater = TimedPairs(settings(work), context)
    groups = random_groups(work, len(load_tokenizer(context.require_model().path)), REWARDS)
    with clock() as updater.clock, tempfile.TemporaryDirectory() as folder:
        metrics = updater.update(groups, parent=None, out=Path(folder) / "out", seed=0).metrics
        return updater.clock.turn(metrics["update/first_loss"], metrics["update/last_loss"])


def by_trl(work: Work, *, options: dict[str, Any]) -> Turn:
    import peft
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    class TimedReference(DPOTrainer):  # type: ignore[misc]
        """Knows how long its reference passes took that lie before training."""

        spent = 0.0

        def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
            started = time.perf_counter()
            found = super().compute_ref_log_probs(model, inputs)
            self.spent += time.perf_counter() - started
            return found

    context = context_for(work)
    model = context.require_model()
    tokenizer = load_tokenizer(model.path)
    groups = random_groups(work, len(tokenizer), REWARDS)
    rows = pair_rows(select_pairs(groups, settings(work), where="benchmark").groups)
    pad = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)

    def collate(examples: list[dict[str, Any]]) -> Any:
        return pad([{**example, **rows[example["row"]]} for example in examples])

    # DPOTrainer tokenizes text: its rows stand for the pairs that the collator puts in their place. A text of their own
    # keeps each turn from finding the reference log-probs of the last in the cache.
    text = uuid.uuid4().hex
    texts = [{"prompt": text, "chosen": "1", "rejected": "2", "row": i} for i in range(len(rows))]
    base = load_base(model.path, "bfloat16")
    ours = start_adapter(load_base(model.path, "bfloat16"), LORA, parent=None, model=model, seed=0)
    start = peft.get_peft_model_state_dict(ours)
    del ours
    with clock() as running, tempfile.TemporaryDirectory() as folder, silence():
        trainer = TimedReference(
            model=base,
            peft_config=peft.LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
            args=DPOConfig(
                **trl_options(work, folder),
                per_device_train_batch_size=work.groups,
                max_length=None,
                remove_unused_columns=False,
                **options,
            ),
            data_collator=collate,
            train_dataset=Dataset.from_list(texts),
            processing_class=tokenizer,
        )
        peft.set_peft_model_state_dict(trainer.model, start)
        return trained_by(trainer, running, spent=trainer.spent)


def main() -> None:
    options = parser("Compare preference updates with TRL's.", sides=TRL, groups=4).parse_intermixed_args()
    sides = {OURS: by_ours, **{name: partial(by_trl, options=TRL[name]) for name in options.side or TRL}}
    works = works_of(options, completions=len(REWARDS), steps=PASSES)
    finish(compare(sides, works, options.repeats, counts=[1, PASSES]), options)


if __name__ == "__main__":
    main()
