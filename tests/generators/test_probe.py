"""The probe against generators that fail in the ways that have been seen in practice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

import pytest
from tiny_llama import PROBE_IDS

from harness.errors import StaleSamplerError
from harness.probe import serve
from harness.protocols import ModelRef, RunContext
from harness.types import AdapterCheckpoint, Probe
from harness_plugins.generators.configs import ScriptedConfig, TransformersConfig
from harness_plugins.generators.scripted import create_scripted
from harness_plugins.generators.transformers_generator import TransformersGenerator

Adapters = Callable[[int], AdapterCheckpoint]


class Stale(TransformersGenerator):
    """Says yes and serves what it served before."""

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        pass


class Wrong(TransformersGenerator):
    """Loads an adapter, but another one."""

    other: AdapterCheckpoint

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        super().load_adapter(self.other)


def start(kind: type[TransformersGenerator], model: ModelRef) -> TransformersGenerator:
    return kind(TransformersConfig(dtype="float32"), RunContext(model=model))


@pytest.fixture
def generator(tiny: ModelRef) -> Iterator[TransformersGenerator]:
    made = start(TransformersGenerator, tiny)
    yield made
    made.close()


def test_honest_swaps_pass_and_report_figures(generator, adapters: Adapters):
    first = serve(generator, adapters(1), before=None)
    assert first["serve/probe_error"] < 1e-4
    assert first["serve/probe_shift"] > 0.1
    assert serve(generator, adapters(2), before=adapters(1))["serve/probe_error"] < 1e-4
    back = serve(generator, None, before=adapters(2))
    assert set(back) == {"serve/probe_shift"}
    assert back["serve/probe_shift"] > 0.1


def test_serving_the_same_version_again_may_change_nothing(generator, adapters: Adapters):
    serve(generator, adapters(1), before=None)
    assert serve(generator, adapters(1), before=adapters(1))["serve/probe_shift"] == 0


def test_stale_generator_is_found(tiny, adapters: Adapters):
    with pytest.raises(StaleSamplerError, match="exactly those from before"):
        serve(start(Stale, tiny), adapters(1), before=None)


def test_stale_generator_is_found_when_going_back_to_the_base(tiny, adapters: Adapters):
    stale = start(Stale, tiny)
    TransformersGenerator.load_adapter(stale, adapters(1))
    with pytest.raises(StaleSamplerError, match="exactly those from before"):
        serve(stale, None, before=adapters(1))


def test_wrong_adapter_is_found(tiny, adapters: Adapters):
    wrong = start(Wrong, tiny)
    wrong.other = adapters(2)
    with pytest.raises(StaleSamplerError, match="from the trainer's"):
        serve(wrong, adapters(1), before=None)


def test_small_update_that_moved_the_wrong_way_is_found(generator, adapters: Adapters):
    """Within tolerance of the trainer, but farther from it than before the swap."""
    before = generator.score_tokens(PROBE_IDS)
    generator.load_adapter(adapters(1))
    after = generator.score_tokens(PROBE_IDS)
    generator.load_adapter(None)
    scale = 0.16 / (sum(abs(a - b) for a, b in zip(after, before, strict=True)) / len(before))
    served = tuple(b + scale * (a - b) for a, b in zip(after, before, strict=True))
    backwards = tuple(b - 0.2 * scale * (a - b) for a, b in zip(after, before, strict=True))

    class Scripted(TransformersGenerator):
        answers: ClassVar = [before, backwards]

        def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
            pass

        def score_tokens(self, token_ids):
            return self.answers.pop(0)

    checkpoint = replace(adapters(1), probe=Probe(PROBE_IDS, served))
    with pytest.raises(StaleSamplerError, match="no nearer"):
        serve(start(Scripted, generator._model_ref), checkpoint, before=None)


def test_update_that_the_trainer_does_not_see_either_is_not_an_error(tiny, adapters: Adapters):
    """A version whose probe equals its predecessor's: the sampler need not show a difference."""
    stale = start(Stale, tiny)
    TransformersGenerator.load_adapter(stale, adapters(1))
    renamed = replace(adapters(1), version="another version of the same weights")
    assert serve(stale, renamed, before=adapters(1))["serve/probe_shift"] == 0


def test_generators_without_weights_and_checkpoints_without_probe_are_exempt(generator, adapters: Adapters):
    scripted = create_scripted(ScriptedConfig(), RunContext())
    assert serve(scripted, adapters(1), before=None) == {}
    assert serve(generator, replace(adapters(1), probe=None), before=None) == {}
