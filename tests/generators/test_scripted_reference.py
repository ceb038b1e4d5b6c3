from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from tiny_llama import ask, byte_tokenizer

from harness import chat
from harness.errors import HarnessError
from harness.protocols import ModelRef, RunContext
from harness.specs import NoConfig
from harness.types import AdapterCheckpoint, Sampling
from harness_plugins.generators.configs import ScriptedConfig
from harness_plugins.generators.reference import create_reference
from harness_plugins.generators.scripted import create_scripted

V1 = AdapterCheckpoint(Path("nowhere"), "v1", "base")
V2 = AdapterCheckpoint(Path("nowhere"), "v2", "base")


def scripted(context: RunContext | None = None, **settings):
    return create_scripted(ScriptedConfig(**settings), context or RunContext())


def texts(generator, prompt, n=1, seed=0, **sampling):
    (group,) = generator.generate([prompt], n=n, sampling=Sampling(**sampling), seed=seed)
    return [completion.text for completion in group.completions]


def test_lookup_goes_from_the_prompt_over_the_version_to_the_default():
    generator = scripted(answers={"a": ["A"]}, by_version={"base": ["B"], "v1": ["C"], "*": ["D"]}, default=["E"])
    assert texts(generator, ask("a")) == ["A"]
    assert texts(generator, ask("b")) == ["B"]
    generator.load_adapter(V1)
    assert texts(generator, ask("a")) == ["A"]
    assert texts(generator, ask("b")) == ["C"]
    generator.load_adapter(V2)
    assert texts(generator, ask("b")) == ["D"]
    generator.load_adapter(None)
    assert texts(generator, ask("b")) == ["B"]
    assert texts(scripted(by_version={"v1": ["C"]}, default=["E"]), ask("b")) == ["E"]


def test_groups_carry_the_served_version():
    generator = scripted()
    generator.load_adapter(V1)
    (group,) = generator.generate([ask("a")], n=2, sampling=Sampling(), seed=0)
    assert (group.policy_version, group.generator, len(group.completions)) == ("v1", "scripted", 2)
    assert generator.score_tokens([1, 2]) is None


def test_cycle_repeats_the_answers_in_order():
    assert texts(scripted(default=["x", "y", "z"]), ask("a"), n=5) == ["x", "y", "z", "x", "y"]


def test_random_depends_on_seed_prompt_and_index_only():
    generator = scripted(default=[str(i) for i in range(10)], pick="random")
    long = texts(generator, ask("a"), n=40)
    assert long[:8] == texts(generator, ask("a"), n=8)
    assert len(set(long)) > 5
    assert long != texts(generator, ask("a"), n=40, seed=1)
    assert long != texts(generator, ask("b"), n=40)


def test_tokens_are_bytes_and_a_limit_cuts_them():
    generator = scripted(default=["héy"], logprob=-0.5)
    (group,) = generator.generate([ask("q")], n=1, sampling=Sampling(), seed=0)
    (completion,) = group.completions
    assert completion.token_ids == (*"héy".encode(), 256)
    assert completion.logprobs == (-0.5,) * 5
    assert group.prompt_token_ids == (ord("q"),)
    (group,) = generator.generate([ask("q")], n=1, sampling=Sampling(max_tokens=1), seed=0)
    (completion,) = group.completions
    assert (completion.text, completion.token_ids, completion.finish_reason) == ("h", (104,), "length")


def test_reference_answer_in_a_script():
    assert texts(scripted(default=["$reference"]), ask("a", reference="gold")) == ["gold"]
    with pytest.raises(HarnessError, match=r"prompt a: .*no reference"):
        texts(scripted(default=["$reference"]), ask("a"))


def test_with_a_model_the_ids_are_the_model_s(tiny: ModelRef):
    generator = scripted(RunContext(model=tiny), default=["yes"])
    (group,) = generator.generate([ask("q")], n=1, sampling=Sampling(), seed=0)
    tokenizer = byte_tokenizer()
    assert group.completions[0].token_ids == tuple(chat.encode_completion(tokenizer, "yes"))
    assert group.prompt_token_ids == tuple(chat.render(tokenizer, ask("q")))


@pytest.mark.parametrize("settings", [{"default": []}, {"answers": {"a": []}}, {"logprob": 1.0}, {"unknown": 1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        ScriptedConfig(**settings)


def test_reference_returns_the_gold_answer_once(tiny: ModelRef):
    generator = create_reference(NoConfig(), RunContext(model=tiny))
    (group,) = generator.generate([ask("q", reference="gold")], n=1, sampling=Sampling(max_tokens=2), seed=0)
    (completion,) = group.completions
    assert completion.text == "gold"
    assert completion.logprobs is None
    assert completion.finish_reason == "stop"
    assert completion.token_ids == tuple(chat.encode_completion(byte_tokenizer(), "gold"))
    assert group.policy_version == "reference"
    assert generator.score_tokens([1, 2]) is None


def test_reference_refuses_copies_and_prompts_without_an_answer(tiny: ModelRef):
    generator = create_reference(NoConfig(), RunContext(model=tiny))
    with pytest.raises(HarnessError, match="one gold answer"):
        generator.generate([ask("q", reference="gold")], n=2, sampling=Sampling(), seed=0)
    with pytest.raises(HarnessError, match="prompt q7: no gold answer"):
        generator.generate([ask("q", id="q7")], n=1, sampling=Sampling(), seed=0)
