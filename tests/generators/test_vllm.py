"""One engine on the real model, for everything that only an engine can show. About two minutes on two cores."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import jsonschema
import psutil
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_llama import ask, teacher_forced
from transformers import AutoModelForCausalLM

from harness import chat
from harness.assets import model
from harness.checkpoints import seal_checkpoint
from harness.errors import HarnessError, StaleSamplerError
from harness.probe import TOLERANCE, serve
from harness.protocols import ModelRef, RunContext
from harness.types import AdapterCheckpoint, Probe, Sampling
from harness_plugins.generators.configs import VllmConfig
from harness_plugins.generators.engine import FEW_CORES
from harness_plugins.generators.vllm_generator import VllmGenerator, create_vllm

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.model]

PROMPTS = [ask("What is the capital of France?"), ask("Count to five."), ask("Name a colour.")]
SAMPLING = Sampling(max_tokens=12)
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def real() -> ModelRef:
    return model("smollm2-135m")


def _state() -> dict[str, object]:
    """What an engine could change for the rest of this process."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "threads": torch.get_num_threads(),
        "cores": os.sched_getaffinity(0),
        "handlers": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "dtype": torch.get_default_dtype(),
    }


@pytest.fixture(scope="module")
def state_and_generator(real: ModelRef) -> Iterator[tuple[dict[str, object], VllmGenerator]]:
    before = _state()
    made = create_vllm(VllmConfig(enforce_eager=True, kv_cache_gib=1, max_model_len=1024), RunContext(model=real))
    yield before, made
    made.close()


@pytest.fixture(scope="module")
def generator(state_and_generator: tuple[dict[str, object], VllmGenerator]) -> VllmGenerator:
    return state_and_generator[1]


@pytest.fixture(scope="module")
def adapter(real: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> AdapterCheckpoint:
    """A random LoRA adapter that moves the policy visibly, sealed with its probe as a trainer would."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(real.path, dtype=torch.bfloat16)
    peft_model = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")).eval()
    for name, parameter in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    ids = tuple(chat.render(chat.load_tokenizer(real.path), PROMPTS[0]))
    folder = tmp_path_factory.mktemp("adapter")
    peft_model.save_pretrained(folder)
    return seal_checkpoint(folder, base=real.fingerprint, probe=Probe(ids, teacher_forced(peft_model, ids)))


def ids_of(groups):
    return [[completion.token_ids for completion in group.completions] for group in groups]


def test_starting_leaves_the_process_as_it_was(state_and_generator):
    before, _ = state_and_generator
    assert _state() == before


@pytest.mark.skipif(len(os.sched_getaffinity(0)) > FEW_CORES, reason="vLLM keeps a core for its scheduler")
def test_few_cores_are_all_computed_on(generator):
    generator.generate(PROMPTS, n=1, sampling=SAMPLING, seed=0)
    threads = [
        int(thread.name)
        for process in psutil.Process().children(recursive=True)
        if "Worker" in "".join(process.cmdline())
        for thread in Path(f"/proc/{process.pid}/task").iterdir()
    ]
    assert set().union(*map(os.sched_getaffinity, threads)) == os.sched_getaffinity(0)


def test_equal_arguments_give_equal_samples_and_other_seeds_others(generator):
    first = ids_of(generator.generate(PROMPTS, n=4, sampling=SAMPLING, seed=0))
    generator.generate(PROMPTS[:1], n=1, sampling=SAMPLING, seed=7)
    assert ids_of(generator.generate(PROMPTS, n=4, sampling=SAMPLING, seed=0)) == first
    assert ids_of(generator.generate(PROMPTS, n=4, sampling=SAMPLING, seed=1)) != first
    assert all(len(set(group)) > 1 for group in first)


def test_groups_are_whole(generator, real):
    tokenizer = chat.load_tokenizer(real.path)
    groups = generator.generate(PROMPTS, n=2, sampling=Sampling(max_tokens=40, temperature=0.7), seed=0)
    stop = chat.stop_ids(tokenizer, chat.load_generation_config(real.path))
    for prompt, group in zip(PROMPTS, groups, strict=True):
        assert group.prompt is prompt
        assert group.policy_version == "base"
        assert group.generator == "vllm"
        assert list(group.prompt_token_ids) == chat.render(tokenizer, prompt)
        for completion in group.completions:
            assert (completion.token_ids[-1] in stop) == (completion.finish_reason == "stop")
            assert len(completion.logprobs) == len(completion.token_ids) <= 40
            assert completion.text == chat.decode(tokenizer, completion.token_ids)
    assert {completion.finish_reason for group in groups for completion in group.completions} == {"stop", "length"}


def test_log_probs_are_those_of_transformers_at_the_sampling_temperature(generator, real):
    (group,) = generator.generate(PROMPTS[:1], n=4, sampling=Sampling(max_tokens=12, temperature=0.7), seed=0)
    reference = AutoModelForCausalLM.from_pretrained(real.path, dtype=torch.float32)
    for completion in group.completions:
        ids = torch.tensor([group.prompt_token_ids + completion.token_ids])
        with torch.no_grad():
            logits = reference(input_ids=ids).logits[0, len(group.prompt_token_ids) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1).gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        assert (torch.tensor(completion.logprobs) - expected).abs().mean() < 0.1


def test_truncated_sampling_reports_no_log_probs(generator):
    (group,) = generator.generate(PROMPTS[:1], n=1, sampling=Sampling(max_tokens=4, top_p=0.9), seed=0)
    assert group.completions[0].logprobs is None


def test_constrained_answers_are_valid(generator):
    sampling = Sampling(max_tokens=40, constrained=True)
    (group,) = generator.generate([ask("Pick a number.", schema=json.dumps(SCHEMA))], n=4, sampling=sampling, seed=0)
    finished = [completion for completion in group.completions if completion.finish_reason == "stop"]
    assert finished
    for completion in finished:
        jsonschema.validate(json.loads(completion.text), SCHEMA)
        assert completion.text == json.dumps(json.loads(completion.text))


def test_prompt_longer_than_the_context_is_named(generator):
    with pytest.raises(HarnessError, match="prompt long: the prompt has"):
        generator.generate([ask("word " * 2000, id="long")], n=1, sampling=SAMPLING, seed=0)


def test_swap_is_proved_by_the_probe_and_taken_back(generator, adapter):
    base = generator.score_tokens(adapter.probe.token_ids)
    metrics = serve(generator, adapter, before=None)
    assert metrics["serve/probe_error"] < TOLERANCE
    assert metrics["serve/probe_shift"] > 2 * metrics["serve/probe_error"]
    (group,) = generator.generate(PROMPTS[:1], n=1, sampling=SAMPLING, seed=0)
    assert group.policy_version == adapter.version
    serve(generator, None, before=adapter)
    assert generator.score_tokens(adapter.probe.token_ids) == base


def test_engine_that_ignores_the_swap_is_found(generator, adapter, monkeypatch):
    monkeypatch.setattr(generator, "_reload", lambda folder: None)
    with pytest.raises(StaleSamplerError, match="exactly those from before"):
        serve(generator, adapter, before=None)
    monkeypatch.undo()
    generator.load_adapter(None)


def test_adapter_that_cannot_be_merged_leaves_the_generator_usable(generator, adapter, tmp_path: Path):
    broken = AdapterCheckpoint(tmp_path, "broken", adapter.base)
    with pytest.raises(HarnessError):
        generator.load_adapter(broken)
    generator.load_adapter(None)
    (group,) = generator.generate(PROMPTS[:1], n=1, sampling=SAMPLING, seed=0)
    assert group.policy_version == "base"


def test_texts_scored_in_one_queue_are_scored_as_each_alone(generator, adapter):
    ids = adapter.probe.token_ids
    given = [(ids[:4], [ids[4:], ids[4:7]]), (ids[:1], [ids[1:]])]
    found = generator.score_texts(given)
    assert generator.score_texts(given) == found
    expected = generator.score_tokens(ids)
    # bf16 rounds otherwise in another batch.
    for logps, alone in zip((*found[0], *found[1]), (expected[3:], expected[3:6], expected), strict=True):
        assert logps == pytest.approx(alone, abs=0.3)
        assert fmean(logps) == pytest.approx(fmean(alone), abs=0.05)


def test_interrupt_reaches_the_caller_and_the_engine_lives_on(generator):
    expected = ids_of(generator.generate(PROMPTS, n=1, sampling=SAMPLING, seed=0))
    timer = threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        generator.generate(PROMPTS, n=32, sampling=Sampling(max_tokens=900), seed=0)
    timer.join()
    assert ids_of(generator.generate(PROMPTS, n=1, sampling=SAMPLING, seed=0)) == expected
