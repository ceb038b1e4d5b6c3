"""The updaters on a tiny model: what is trained on, that it is learned, and that a result can be had again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_families import tiny_model
from tiny_training import plain_logps, scored_group
from transformers import AutoModelForCausalLM

from harness.checkpoints import open_checkpoint
from harness.errors import ConfigError, HarnessError
from harness.protocols import LossOutput, ModelRef, RunContext, SequenceBatch
from harness.types import AdapterCheckpoint, Sampling, ScoredGroup
from harness_plugins.models.adapters import load_base, peft_config, start_adapter
from harness_plugins.objectives.configs import ClippedConfig
from harness_plugins.objectives.grpo import Grpo
from harness_plugins.objectives.nll import Nll
from harness_plugins.updaters.configs import GroupConfig, SftConfig
from harness_plugins.updaters.group import GroupUpdater
from harness_plugins.updaters.sft import SftUpdater

SFT = SftConfig(dtype="float32", epochs=4, learning_rate=1e-2, batch=4)
GROUP = GroupConfig(dtype="float32", learning_rate=1e-2, groups_per_step=2, old_logps="recompute")
DEMONSTRATIONS = [scored_group(seed, (1.0,), logprobs=False) for seed in range(6)]
GROUPS = [scored_group(seed, (1.0, 0.0, 0.5, 0.0)) for seed in range(4)]


def sft(context: RunContext, **changes: Any) -> SftUpdater:
    return SftUpdater(SFT.model_copy(update=changes), context, objective=Nll())


def group(context: RunContext, *, kl_coef: float = 0.0, **changes: Any) -> GroupUpdater:
    return GroupUpdater(GROUP.model_copy(update=changes), context, objective=Grpo(ClippedConfig(kl_coef=kl_coef)))


def sequence_logp(model: Any, scored: ScoredGroup, g: int) -> float:
    with torch.no_grad():
        return float(plain_logps(model, scored.group.prompt_token_ids, scored.group.completions[g].token_ids).sum())


def reload(checkpoint: AdapterCheckpoint, base: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, checkpoint.path).eval()


# ---------------------------------------------------------------- sft


def test_sft_learns_the_demonstrations(context: RunContext, tmp_path: Path) -> None:
    update = sft(context, epochs=10).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/last_loss"] < 0.8 * update.metrics["update/first_loss"]
    base = AutoModelForCausalLM.from_pretrained(context.require_model().path)
    trained = reload(update.checkpoint, context.require_model().path)
    for scored in DEMONSTRATIONS:
        assert sequence_logp(trained, scored, 0) > sequence_logp(base, scored, 0)


@pytest.mark.parametrize(
    ("schedule", "warmup", "factors"),
    [
        ("constant", 0, (1, 1, 1)),
        ("constant", 2, (0, 1 / 2, 1)),
        ("linear", 0, (1, 2 / 3, 1 / 3)),
        ("cosine", 0, (1, 3 / 4, 1 / 4)),
    ],
)
def test_sft_equals_a_hand_written_loop(
    schedule: str, warmup: int, factors: tuple[float, ...], context: RunContext, tmp_path: Path
) -> None:
    """AdamW on the Hugging Face loss of right-padded rows, four at a time, gives the same weights."""
    chosen = DEMONSTRATIONS[:4]
    config: dict[str, Any] = {"epochs": 3, "max_grad_norm": 0.5, "weight_decay": 0.1}
    config |= {"adam_beta1": 0.8, "adam_beta2": 0.95, "lr_scheduler_type": schedule, "warmup_steps": warmup}
    update = sft(context, **config).update(chosen, parent=None, out=tmp_path, seed=3)

    model_ref = context.require_model()
    model = start_adapter(load_base(model_ref.path, "float32"), context.adapter, parent=None, model=model_ref, seed=3)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-8)
    rows = [s.group.prompt_token_ids + s.group.completions[0].token_ids for s in chosen]
    width = max(map(len, rows))
    input_ids = torch.tensor([row + (0,) * (width - len(row)) for row in rows])
    labels = input_ids.clone()
    for i, scored in enumerate(chosen):
        labels[i, : len(scored.group.prompt_token_ids)] = -100
        labels[i, len(rows[i]) :] = -100
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    losses = []
    for factor in factors:
        optimizer.param_groups[0]["lr"] = 1e-2 * factor
        loss = model(input_ids=input_ids, attention_mask=mask, labels=labels).loss
        losses.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        optimizer.zero_grad()

    assert update.metrics["update/loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)
    trained = dict(reload(update.checkpoint, model_ref.path).named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert (trained[name] - parameter).abs().max() < 1e-4, name


def test_sft_trains_on_what_the_judges_accept(context: RunContext, tmp_path: Path) -> None:
    mixed = [scored_group(1, (1.0, 0.4, None)), scored_group(2, (None, 1.0, 0.99))]
    metrics = sft(context, epochs=1).update(mixed, parent=None, out=tmp_path, seed=0).metrics
    accepted = mixed[0].group.completions[0].token_ids + mixed[1].group.completions[1].token_ids
    assert metrics["update/demonstrations"] == 2
    assert metrics["update/tokens"] == len(accepted)
    assert (metrics["update/unscored"], metrics["update/below_min_reward"]) == (2, 2)


@pytest.mark.parametrize(("batch", "epochs", "steps"), [(4, 1, 2), (3, 2, 4), (6, 3, 3), (100, 1, 1)])
def test_a_step_takes_a_batch_of_completions(
    batch: int, epochs: int, steps: int, context: RunContext, tmp_path: Path
) -> None:
    updater = sft(context, batch=batch, epochs=epochs)
    assert updater.update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0).metrics["update/steps"] == steps


def test_sft_without_an_accepted_completion_says_so(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"none of 3 completions.*1 are unscored"):
        sft(context).update([scored_group(1, (0.9, 0.4, None))], parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- both


@pytest.mark.parametrize(("make", "data"), [(sft, DEMONSTRATIONS), (group, GROUPS)], ids=["sft", "group"])
def test_equal_seeds_give_equal_adapters(
    make: Callable[..., Any], data: list[ScoredGroup], context: RunContext, tmp_path: Path
) -> None:
    first, again, other = (
        make(context).update(data, parent=None, out=tmp_path / name, seed=seed).checkpoint.version
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again != other


@pytest.mark.parametrize(("make", "data"), [(sft, DEMONSTRATIONS), (group, GROUPS)], ids=["sft", "group"])
def test_packing_does_not_change_the_update(
    make: Callable[..., Any], data: list[ScoredGroup], context: RunContext, tmp_path: Path
) -> None:
    packed, plain = (
        make(context, max_tokens_per_row=budget).update(data, parent=None, out=tmp_path / str(budget), seed=1)
        for budget in (1024, 0)
    )
    assert packed.metrics["update/loss"] == pytest.approx(plain.metrics["update/loss"], abs=1e-5)
    assert packed.metrics["update/grad_norm"] == pytest.approx(plain.metrics["update/grad_norm"], rel=1e-3)


def test_the_checkpoint_is_sealed_and_its_probe_is_the_trained_policy(context: RunContext, tmp_path: Path) -> None:
    update = sft(context).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoint.json",
    ]
    assert open_checkpoint(tmp_path, base="f" * 64) == update.checkpoint
    probe = update.checkpoint.probe
    assert probe is not None
    ids, first = list(probe.token_ids), DEMONSTRATIONS[0].group
    assert probe.token_ids == first.prompt_token_ids + first.completions[0].token_ids
    for model, same in (
        (reload(update.checkpoint, context.require_model().path), True),
        (AutoModelForCausalLM.from_pretrained(context.require_model().path), False),
    ):
        with torch.no_grad():
            logps_T_V = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        logps_T = logps_T_V[range(len(ids) - 1), ids[1:]]
        assert ((logps_T - torch.tensor(probe.logprobs)).abs().max() < 1e-4) == same


def test_training_goes_on_from_the_parent(context: RunContext, tmp_path: Path) -> None:
    parent = sft(context).update(DEMONSTRATIONS, parent=None, out=tmp_path / "parent", seed=0)
    child = sft(context).update(DEMONSTRATIONS, parent=parent.checkpoint, out=tmp_path / "child", seed=1)
    assert child.metrics["update/first_loss"] < 0.95 * parent.metrics["update/first_loss"]
    stranger = dataclasses.replace(parent.checkpoint, base="e" * 64)
    with pytest.raises(HarnessError, match="another model"):
        sft(context).update(DEMONSTRATIONS, parent=stranger, out=tmp_path / "no", seed=1)


def test_bf16_base_trains_an_fp32_adapter(context: RunContext, tmp_path: Path) -> None:
    update = sft(context, dtype="bfloat16", epochs=10).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/last_loss"] < 0.8 * update.metrics["update/first_loss"]
    from safetensors.torch import load_file

    assert {t.dtype for t in load_file(tmp_path / "adapter_model.safetensors").values()} == {torch.float32}


def test_a_family_that_cannot_share_is_trained_plainly_and_says_so(
    model_folders: Callable[[str], Path], context: RunContext, tmp_path: Path
) -> None:
    notes: list[str] = []

    class Notes(type(context.progress)):  # type: ignore[misc]
        def note(self, text: str) -> None:
            notes.append(text)

    model = ModelRef("hybrid", model_folders("lfm2"), "f" * 64)
    hybrid = dataclasses.replace(context, model=model, progress=Notes())
    update = group(hybrid).update(GROUPS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/shared_prefix"] == 0
    plain = sum(len(g.group.prompt_token_ids) + len(c.token_ids) - 1 for g in GROUPS for c in g.group.completions)
    assert update.metrics["update/packed_tokens"] == plain
    assert len(notes) == 1
    assert "layers of type conv" in notes[0]


# ---------------------------------------------------------------- group


def test_better_siblings_become_likelier(context: RunContext, tmp_path: Path) -> None:
    update = group(context, epochs=4).update(GROUPS, parent=None, out=tmp_path, seed=0)
    path = context.require_model().path
    base, trained = AutoModelForCausalLM.from_pretrained(path), reload(update.checkpoint, path)

    def preference(model: Any) -> float:
        return sum(sequence_logp(model, s, 0) - sequence_logp(model, s, 1) for s in GROUPS)

    assert preference(trained) > preference(base) + 1


def test_recomputed_log_probs_start_at_a_ratio_of_one(context: RunContext, tmp_path: Path) -> None:
    recompute, sampler = (group(context, groups_per_step=4, old_logps=how) for how in ("recompute", "sampler"))
    recomputed = recompute.update(GROUPS, parent=None, out=tmp_path / "a", seed=0).metrics
    assert recomputed["objective/ratio"] == pytest.approx(1, abs=1e-5)
    assert recomputed["objective/approx_kl"] == pytest.approx(0, abs=1e-6)
    sampled = sampler.update(GROUPS, parent=None, out=tmp_path / "b", seed=0).metrics
    assert abs(sampled["objective/ratio"] - 1) > 0.1  # the made-up sampler is not this model


@pytest.mark.parametrize(("reference", "moved"), [("base", True), ("previous", False)])
def test_the_reference_is_the_policy_that_was_named(
    reference: str, moved: bool, context: RunContext, tmp_path: Path
) -> None:
    parent = sft(context).update(DEMONSTRATIONS, parent=None, out=tmp_path / "parent", seed=0).checkpoint
    updater = group(context, kl_coef=0.1, reference=reference, groups_per_step=4)
    metrics = updater.update(GROUPS, parent=parent, out=tmp_path / "child", seed=0).metrics
    # One step: the policy is still the parent when the penalty is measured.
    assert (metrics["objective/reference_kl"] > 1e-3) == moved
    assert metrics["objective/reference_kl"] >= -1e-6


def test_kl_and_reference_go_together(context: RunContext) -> None:
    for kl_coef, reference in ((0.1, "none"), (0.0, "base")):
        with pytest.raises(ConfigError, match="kl_coef"):
            group(context, kl_coef=kl_coef, reference=reference)


def test_groups_without_signal_are_counted_and_not_trained_on(context: RunContext, tmp_path: Path) -> None:
    silent = [scored_group(8, (1.0, 1.0, 1.0)), scored_group(9, (None, 0.5, None))]
    metrics = group(context).update([*GROUPS, *silent], parent=None, out=tmp_path, seed=0).metrics
    assert (metrics["update/groups"], metrics["update/groups_without_signal"]) == (6, 2)
    assert metrics["update/tokens"] == sum(len(c.token_ids) for g in GROUPS for c in g.group.completions)
    assert metrics["update/steps"] == 2
    with pytest.raises(HarnessError, match="no group has signal"):
        group(context).update(silent, parent=None, out=tmp_path / "none", seed=0)


@pytest.mark.parametrize(
    ("sampling", "what"),
    [
        (Sampling(top_p=0.9), "top_p 0.9"),
        (Sampling(top_k=5), "top_k 5"),
        (Sampling(min_p=0.1), "min_p 0.1"),
        (Sampling(constrained=True), "constrained"),
        (Sampling(temperature=0.0), "temperature"),
    ],
)
def test_biased_samples_are_refused(sampling: Sampling, what: str, context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=what):
        group(context).update([scored_group(1, (1.0, 0.0), sampling=sampling)], parent=None, out=tmp_path, seed=0)


def test_samples_without_log_probs_need_recompute(context: RunContext, tmp_path: Path) -> None:
    data = [scored_group(1, (1.0, 0.0), logprobs=False)]
    with pytest.raises(HarnessError, match="recompute"):
        group(context, old_logps="sampler").update(data, parent=None, out=tmp_path, seed=0)


def test_a_loss_that_is_not_finite_stops_the_update(context: RunContext, tmp_path: Path) -> None:
    good = scored_group(1, (1.0, 0.0))
    first, *rest = good.group.completions
    completions = (dataclasses.replace(first, logprobs=(math.nan,) * len(first.token_ids)), *rest)
    bad = dataclasses.replace(good, group=dataclasses.replace(good.group, completions=completions))
    with pytest.raises(HarnessError, match="loss is nan at optimizer step 1"):
        group(context, old_logps="sampler").update([bad], parent=None, out=tmp_path, seed=0)


def test_a_gradient_that_is_not_finite_stops_the_update(context: RunContext, tmp_path: Path) -> None:
    def root_of_zero(batch: SequenceBatch) -> LossOutput:
        return LossOutput((batch.logps_N_T * 0).sum().sqrt())

    with pytest.raises(HarnessError, match="gradient norm is nan at optimizer step 1"):
        SftUpdater(SFT, context, objective=root_of_zero).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)


def test_only_the_adapter_drops_out(model_folders: Callable[[str], Path], context: RunContext, tmp_path: Path) -> None:
    """GPT-2 has dropout of its own; if it were on, the ratio to the policy that sampled would not start at 1."""
    assert tiny_model("gpt2").config.resid_pdrop > 0
    gpt2 = dataclasses.replace(context, model=ModelRef("gpt2", model_folders("gpt2"), "f" * 64))
    kl_after_one_step = []
    for dropout in (0.0, 0.5):
        adapter = {**context.adapter, "fan_in_fan_out": True, "lora_dropout": dropout}
        for epochs in (1, 2):
            updater = group(dataclasses.replace(gpt2, adapter=adapter), groups_per_step=4, epochs=epochs)
            metrics = updater.update(GROUPS, parent=None, out=tmp_path / f"{dropout}-{epochs}", seed=0).metrics
            if epochs == 1:  # a new adapter's B is zero, so its dropout does not show yet
                assert metrics["objective/approx_kl"] == pytest.approx(0, abs=1e-6)
            else:
                kl_after_one_step.append(metrics["objective/approx_kl"])
    assert abs(kl_after_one_step[0] - kl_after_one_step[1]) > 1e-4


def test_nothing_is_printed(context: RunContext, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    parent = sft(context, epochs=1).update(DEMONSTRATIONS, parent=None, out=tmp_path / "a", seed=0).checkpoint
    group(context).update(GROUPS, parent=parent, out=tmp_path / "b", seed=0)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------- the adapter table


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({}, "peft_type '' is unknown"),
        ({"peft_type": "LORAX"}, "LORA"),
        ({"peft_type": "LORA", "rnk": 4}, "no field 'rnk'"),
        ({"peft_type": "LORA", "r": 0, "target_modules": ["q_proj"]}, "PEFT refuses"),
        ({"peft_type": "LORA", "target_modules": ["no_such_layer"]}, "PEFT refuses"),
        ({"peft_type": "LORA", "target_modules": ["q_proj"], "init_lora_weights": "pissa"}, "rewrites the base"),
        ({"peft_type": "LORA", "target_modules": ["q_proj"], "init_lora_weights": "olora"}, "rewrites the base"),
    ],
)
def test_a_wrong_adapter_table_is_named(table: dict[str, Any], what: str, context: RunContext, tmp_path: Path) -> None:
    wrong = dataclasses.replace(context, adapter=table)
    with pytest.raises(ConfigError, match=what):
        sft(wrong).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)


@pytest.mark.parametrize("kind", ["LORA", "LOHA", "IA3", "VERA", "OFT"])
def test_adapter_kinds_pass_through(kind: str, context: RunContext, tmp_path: Path) -> None:
    table = {"peft_type": kind, "target_modules": ["q_proj", "v_proj"]}
    extra = {"IA3": {"feedforward_modules": []}, "OFT": {"oft_block_size": 4}}.get(kind, {})
    assert peft_config(table).peft_type == kind
    other = dataclasses.replace(context, adapter={**table, **extra})
    update = sft(other, batch=len(DEMONSTRATIONS)).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/last_loss"] < update.metrics["update/first_loss"]
