from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest
import torch
from tiny_llama import PROBE_IDS, ask, teacher_forced
from transformers import AutoModelForCausalLM

from harness import chat
from harness.errors import HarnessError
from harness.protocols import ModelRef, RunContext
from harness.tools import answer_schema
from harness.types import AdapterCheckpoint, Sampling
from harness_plugins.generators import scoring
from harness_plugins.generators.caching import ROOM
from harness_plugins.generators.configs import TransformersConfig
from harness_plugins.generators.transformers_generator import TransformersGenerator, create_transformers

PROMPTS = [ask("hi"), ask("a much longer question, to be padded to"), ask("x" * 90), ask("why?")]


def start(model: ModelRef, batch_size: int = 64) -> TransformersGenerator:
    return create_transformers(TransformersConfig(dtype="float32", batch_size=batch_size), RunContext(model=model))


@pytest.fixture(scope="module")
def generator(tiny: ModelRef) -> Iterator[TransformersGenerator]:
    made = start(tiny)
    yield made
    made.close()


@pytest.fixture(scope="module")
def model(tiny: ModelRef):
    return AutoModelForCausalLM.from_pretrained(tiny.path).eval()


def ids_of(groups):
    return [[completion.token_ids for completion in group.completions] for group in groups]


def test_greedy_equals_generate_of_transformers(generator, model):
    groups = generator.generate(PROMPTS, n=2, sampling=Sampling(temperature=0, max_tokens=100), seed=0)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        ids = torch.tensor([group.prompt_token_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=100)
        assert group.prompt is prompt
        for completion in group.completions:
            assert completion.token_ids == tuple(expected[0, ids.shape[1] :].tolist())
    assert max(len(group.completions[0].token_ids) for group in groups) > ROOM  # the cache has grown


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_log_probs_are_those_of_a_teacher_forced_forward(generator, model, temperature):
    sampling = Sampling(temperature=temperature, top_k=20, max_tokens=20)
    groups = generator.generate(PROMPTS, n=3, sampling=sampling, seed=3)
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([group.prompt_token_ids + completion.token_ids])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, len(group.prompt_token_ids) - 1 : -1] / (temperature or 1.0)
            expected = logits.log_softmax(-1).gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_samples_do_not_depend_on_the_batch(tiny, generator):
    sampling = Sampling(max_tokens=40)
    whole = ids_of(generator.generate(PROMPTS, n=4, sampling=sampling, seed=5))
    assert ids_of(start(tiny, batch_size=3).generate(PROMPTS, n=4, sampling=sampling, seed=5)) == whole
    fewer = ids_of(generator.generate(PROMPTS[::-1], n=2, sampling=sampling, seed=5))
    assert fewer == [group[:2] for group in whole[::-1]]
    shorter = ids_of(generator.generate(PROMPTS, n=4, sampling=Sampling(max_tokens=9), seed=5))
    assert shorter == [[ids[:9] for ids in group] for group in whole]


def test_seed_prompt_and_index_each_give_other_samples(generator):
    sampling = Sampling(max_tokens=20)
    (group,) = ids_of(generator.generate(PROMPTS[:1], n=8, sampling=sampling, seed=0))
    (other_seed,) = ids_of(generator.generate(PROMPTS[:1], n=8, sampling=sampling, seed=1))
    (other_id,) = ids_of(generator.generate([ask("hi", id="another")], n=8, sampling=sampling, seed=0))
    assert len(set(group)) == 8
    assert not set(group) & set(other_seed)
    assert not set(group) & set(other_id)


def test_first_token_frequencies_are_the_model_s(generator, model):
    n = 4000
    (group,) = generator.generate(PROMPTS[:1], n=n, sampling=Sampling(max_tokens=1, temperature=1.3), seed=0)
    with torch.no_grad():
        probs = (model(torch.tensor([group.prompt_token_ids])).logits[0, -1] / 1.3).softmax(-1).double()
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in group.completions]), minlength=len(probs))
    common = probs * n >= 5
    observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
    expected = torch.cat([probs[common], probs[~common].sum()[None]]) * n
    from scipy.stats import chisquare

    assert chisquare(observed.numpy(), expected.numpy() * n / expected.sum().item()).pvalue > 1e-3


def test_stop_token_ends_and_is_kept_and_a_limit_is_a_length(generator):
    groups = generator.generate(PROMPTS, n=16, sampling=Sampling(max_tokens=150), seed=0)
    completions = [completion for group in groups for completion in group.completions]
    stop = chat.stop_ids(generator._tokenizer, generator._base.generation_config)
    assert {completion.finish_reason for completion in completions} == {"stop", "length"}
    for completion in completions:
        assert all(i not in stop for i in completion.token_ids[:-1])
        assert (completion.token_ids[-1] in stop) == (completion.finish_reason == "stop")
        assert (len(completion.token_ids) == 150) or completion.finish_reason == "stop"
        assert completion.text == chat.decode(generator._tokenizer, completion.token_ids)
        assert len(completion.logprobs) == len(completion.token_ids)


def test_context_limits_the_answer_and_refuses_a_prompt_that_fills_it(generator):
    (group,) = generator.generate([ask("y" * 470)], n=4, sampling=Sampling(max_tokens=500), seed=0)
    assert max(len(c.token_ids) for c in group.completions) + len(group.prompt_token_ids) <= 512
    with pytest.raises(HarnessError, match="prompt long: the prompt has"):
        generator.generate([ask("hi"), ask("y" * 600, id="long")], n=1, sampling=Sampling(), seed=0)


# ---------------------------------------------------------------- adapters


def test_adapters_are_served_replaced_and_taken_off(tiny, generator, model, adapters):
    base = generator.score_tokens(PROBE_IDS)
    assert base == pytest.approx(teacher_forced(model, PROBE_IDS), abs=1e-4)
    for seed in (1, 2, 1):
        generator.load_adapter(adapters(seed))
        assert generator.score_tokens(PROBE_IDS) == pytest.approx(adapters(seed).probe.logprobs, abs=1e-4)
        (group,) = generator.generate(PROMPTS[:1], n=1, sampling=Sampling(max_tokens=2), seed=0)
        assert group.policy_version == adapters(seed).version
    generator.load_adapter(None)
    assert generator.score_tokens(PROBE_IDS) == base
    (group,) = generator.generate(PROMPTS[:1], n=1, sampling=Sampling(max_tokens=2), seed=0)
    assert group.policy_version == "base"


def test_adapter_of_another_model_is_refused_and_changes_nothing(generator, adapters):
    stranger = AdapterCheckpoint(adapters(1).path, adapters(1).version, "another-model")
    base = generator.score_tokens(PROBE_IDS)
    with pytest.raises(HarnessError, match="another model"):
        generator.load_adapter(stranger)
    assert generator.score_tokens(PROBE_IDS) == base


# ---------------------------------------------------------------- constrained decoding

TOOLS = json.dumps(
    [
        {
            "name": "add",
            "description": "",
            "parameters": {
                "type": "object",
                "properties": {
                    "x": {"type": "integer", "minimum": 0, "maximum": 99},
                    "unit": {"enum": ["m", "km"]},
                    "exact": {"type": "boolean"},
                },
                "required": ["x", "unit"],
            },
        },
        {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}},
    ]
)
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


def test_constrained_answers_of_a_random_model_are_valid(generator):
    prompts = [ask("call", tools=TOOLS), ask("say", schema=json.dumps(SCHEMA), tools=TOOLS)]
    sampling = Sampling(max_tokens=200, constrained=True)
    groups = generator.generate(prompts, n=16, sampling=sampling, seed=0)
    finished = 0
    for group, schema in zip(groups, [answer_schema(TOOLS), SCHEMA], strict=True):
        for completion in group.completions:
            if completion.finish_reason == "stop":
                value = json.loads(completion.text)
                jsonschema.validate(value, schema)
                assert completion.text == json.dumps(value, ensure_ascii=False)
                finished += 1
    assert finished >= 20


def test_constrained_log_probs_are_the_policy_s_own(generator, model):
    sampling = Sampling(constrained=True, max_tokens=40)
    (group,) = generator.generate([ask("call", tools=TOOLS)], n=2, sampling=sampling, seed=1)
    for completion in group.completions:
        ids = group.prompt_token_ids + completion.token_ids
        expected = teacher_forced(model, ids)[len(group.prompt_token_ids) - 1 :]
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (ask("q"), "prompt q: constrained sampling needs a schema or tools"),
        (ask("q", schema='{"type": "object", "not": {}}'), "prompt q: its schema cannot constrain"),
    ],
)
def test_prompt_that_cannot_be_constrained(generator, prompt, message):
    with pytest.raises(HarnessError, match=message):
        generator.generate([prompt], n=1, sampling=Sampling(constrained=True), seed=0)


# ---------------------------------------------------------------- given texts

GIVEN = [((5, 9, 2), [(77, 31), (8,), (120, 64, 3, 200)]), ((17,), [(42, 5)]), ((7,) * 40, [(1, 2), (1, 3)])]


def alone(generator, given):
    """Text by text."""
    return [[generator.score_tokens([*ids, *text])[len(ids) - 1 :] for text in texts] for ids, texts in given]


def test_texts_scored_together_are_scored_as_each_alone(generator, adapters):
    for checkpoint in (adapters(1), None):
        generator.load_adapter(checkpoint)
        for found, expected in zip(generator.score_texts(GIVEN), alone(generator, GIVEN), strict=True):
            assert [len(logps) for logps in found] == [len(logps) for logps in expected]
            assert [p for logps in found for p in logps] == pytest.approx([p for e in expected for p in e], abs=1e-4)


def test_texts_that_fill_several_rows_are_scored_alike(generator, monkeypatch):
    whole = generator.score_texts(GIVEN)
    monkeypatch.setattr(scoring, "ROW_TOKENS", 0)  # each text in a row of its own
    for found, expected in zip(generator.score_texts(GIVEN), whole, strict=True):
        assert [p for logps in found for p in logps] == pytest.approx([p for e in expected for p in e], abs=1e-4)


def test_what_is_found_of_texts_does_not_depend_on_those_beside_them(tiny):
    """To the last bit, in bfloat16 as well: a suite's report is the same whatever is measured with it."""
    made = create_transformers(TransformersConfig(dtype="bfloat16"), RunContext(model=tiny))
    whole = made.score_texts(GIVEN)
    assert whole == [made.score_texts([item])[0] for item in GIVEN]
    assert whole[::-1] == made.score_texts(GIVEN[::-1])


def test_texts_that_do_not_fit_are_refused(generator):
    with pytest.raises(HarnessError, match="513 tokens to score and the context holds 512"):
        generator.score_texts([((1,) * 510, [(2,), (2, 3, 4)])])
