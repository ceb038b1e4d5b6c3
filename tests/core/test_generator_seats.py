"""What a run is when its generator holds another."""

from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.plugins import Registry, load_registry
from harness.seats import explicit_generator, generator_identity, named_generators


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def ray(**settings: object) -> dict:
    return {"of": {"name": "transformers", "config": {"batch_size": 8}}, **settings}


def test_defaults_of_the_held_generator_are_written_out(registry):
    written = explicit_generator("ray", ray(), registry, where="[generator]")
    assert written["of"] == {
        "name": "transformers",
        "config": {"dtype": "bfloat16", "device": "auto", "batch_size": 8},
    }
    assert written["workers"] == 2
    assert explicit_generator("ray", written, registry, where="[generator]") == written


def test_settings_of_the_held_generator_are_refused_before_anything_starts(registry):
    wrong = ray(of={"name": "transformers", "config": {"batch": 8}})
    with pytest.raises(ConfigError, match=r"\[generator\] of: unknown key 'batch'"):
        explicit_generator("ray", wrong, registry, where="[generator]")
    with pytest.raises(ConfigError, match="generator server asks a server"):
        explicit_generator("ray", ray(of={"name": "server"}), registry, where="[generator]")


def test_both_generators_are_part_of_what_a_run_is(registry):
    assert named_generators("ray", ray(), registry) == {"ray", "transformers"}
    assert named_generators("transformers", {}, registry) == {"transformers"}
    identity = generator_identity("ray", ray(), registry)
    assert identity[-1] == generator_identity("transformers", {"batch_size": 8}, registry)
    assert identity != generator_identity("ray", ray(workers=3), registry)
    assert identity == generator_identity("ray", ray(address="auto", num_gpus=1), registry)
