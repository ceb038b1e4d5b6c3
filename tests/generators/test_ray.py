"""The generator `ray` on a cluster whose two nodes are processes of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from tiny_llama import PROBE_IDS, ask

from harness import assets
from harness.errors import HarnessError
from harness.plugins import Registry, load_registry
from harness.protocols import Generator, ModelRef, RunContext
from harness.types import Sampling

PROMPTS = [ask("hi"), ask("a much longer question, to be padded to"), ask("x" * 90), ask("why?"), ask("and?")]
EXACT = {"name": "transformers", "config": {"dtype": "float32", "batch_size": 1}}
"""One completion at a time: nothing is computed side by side."""

FAULTY = textwrap.dedent(
    """
    import os
    from harness import Completion, GeneratorSpec, Group, HarnessError, hookimpl

    class Faulty:
        def generate(self, prompts, *, n, sampling, seed):
            groups = []
            for prompt in prompts:
                if prompt.id == "refused":
                    raise HarnessError("I would rather not", where=f"prompt {prompt.id}", remedy="Ask another.")
                if prompt.id == "bug":
                    raise ZeroDivisionError("division by nothing")
                if prompt.id == "deadly":
                    os._exit(1)
                completions = () if prompt.id == "lazy" else (Completion("", ()),)
                groups.append(Group(prompt, (), completions, "base", sampling))
            return groups

        def load_adapter(self, checkpoint):
            pass

        def score_tokens(self, token_ids):
            return None

        def close(self):
            pass

    @hookimpl
    def harness_register_generators():
        return [GeneratorSpec("faulty", "Fails as it is told", lambda config, context: Faulty())]
    """
)


LOCAL = textwrap.dedent(
    """
    import os, signal
    from dataclasses import replace
    from pathlib import Path
    from harness.errors import ConfigError, HarnessError
    from harness.plugins import load_registry
    from harness.protocols import RunContext
    from harness.types import Prompt, Sampling

    registry = load_registry(local_files=[Path({faulty!r})])
    context = RunContext(components=registry)
    try:
        registry.create("generator", "ray", {{"of": {{"name": "faulty"}}, "num_gpus": 64}}, context)
    except ConfigError as error:
        assert "2 workers of 64 GPUs are 128, and this machine has" in error.what
    else:
        raise AssertionError("GPUs that are not there were not refused")
    import ray
    assert not ray.is_initialized()
    handler = signal.getsignal(signal.SIGTERM)
    generator = registry.create("generator", "ray", {{"of": {{"name": "faulty"}}}}, context)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    fine = Prompt("fine", ({{"role": "user", "content": "?"}},))
    assert len(generator.generate([fine], n=1, sampling=Sampling(), seed=0)) == 1
    try:
        generator.generate([fine, replace(fine, id="deadly")], n=1, sampling=Sampling(), seed=0)
    except HarnessError as error:
        assert "process ended" in error.what
        print("ended")
    generator.close()
    assert not ray.is_initialized()
    """
)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A plugin file."""
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY)
    return file


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of two nodes with a CPU each, so that two workers are on two of them."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="module")
def model(tiny: ModelRef) -> ModelRef:
    """With the fingerprint of its content, which a worker on another node checks."""
    return assets.model(tiny.path)


@pytest.fixture
def start(address: str, registry: Registry) -> Iterator[Callable[..., Generator]]:
    made: list[Generator] = []

    def create(of: dict, *, model: ModelRef | None = None, components: Registry | None = None, **config) -> Generator:
        context = RunContext(model=model, components=components or registry)
        settings = {"of": of, "address": address, **config}
        made.append((components or registry).create("generator", "ray", settings, context))
        return made[-1]

    yield create
    for generator in made:
        generator.close()


def test_scripted_groups_are_those_of_one_generator(start, registry):
    of = {"name": "scripted", "config": {"default": ["a", "b", "c", "d"], "pick": "random"}}
    sampling = Sampling(max_tokens=5)
    alone = registry.create("generator", of["name"], of["config"], RunContext(components=registry))
    expected = alone.generate(PROMPTS, n=4, sampling=sampling, seed=7)
    two = start(of)
    assert two.generate(PROMPTS, n=4, sampling=sampling, seed=7) == expected
    assert two.generate(PROMPTS[:1], n=4, sampling=sampling, seed=7) == expected[:1]
    assert two.generate([], n=4, sampling=sampling, seed=7) == []
    assert two.score_tokens([1, 2]) is None
    two.close()
    assert not ray.is_initialized()  # this process was no driver before
    assert start(of, workers=1).generate(PROMPTS, n=4, sampling=sampling, seed=7) == expected


def test_a_model_and_its_adapters_in_two_workers(start, registry, model, adapters, tmp_path):
    """What one generator in this process says; the workers read copies of the adapter's files, and each proves them."""
    made = adapters(1)
    checkpoint = replace(made, base=model.fingerprint)
    alone = registry.create("generator", EXACT["name"], EXACT["config"], RunContext(model=model))
    two = start(EXACT, model=model)

    def same() -> set[str]:
        sampling = Sampling(max_tokens=8)
        ours, theirs = (g.generate(PROMPTS, n=2, sampling=sampling, seed=3) for g in (two, alone))
        for one, other in zip(ours, theirs, strict=True):
            for c, d in zip(one.completions, other.completions, strict=True):
                assert c.logprobs == pytest.approx(d.logprobs, abs=1e-5)
                assert replace(c, logprobs=None) == replace(d, logprobs=None)
            assert replace(one, completions=()) == replace(other, completions=())
        return {completion.text for group in ours for completion in group.completions}

    base = same()
    lent = tmp_path / "adapter"
    shutil.copytree(checkpoint.path, lent)
    two.load_adapter(replace(checkpoint, path=lent))
    shutil.rmtree(lent)
    alone.load_adapter(checkpoint)
    assert same() != base
    assert two.score_tokens(PROBE_IDS) == pytest.approx(made.probe.logprobs, abs=1e-4)
    two.load_adapter(None)
    alone.load_adapter(None)
    assert same() == base

    wrong = replace(made.probe, logprobs=tuple(logp - 1 for logp in made.probe.logprobs))
    with pytest.raises(HarnessError, match=r"worker [12] of 2.*nats a token from the trainer's"):
        two.load_adapter(replace(checkpoint, probe=wrong))
    with pytest.raises(HarnessError, match="no such folder"):
        two.load_adapter(replace(checkpoint, path=lent))


def test_a_worker_on_another_machine_refuses_another_model(start, model):
    with pytest.raises(HarnessError, match=r"worker [12] of 2.*another model lies here"):
        start(EXACT, model=replace(model, fingerprint="0" * 64))


def test_failures_name_the_worker(start, faulty):
    generator = start({"name": "faulty"}, components=load_registry(local_files=[faulty]))

    def generate(*ids: str) -> None:
        prompts = [replace(PROMPTS[0], id=name) for name in ids]
        generator.generate(prompts, n=1, sampling=Sampling(), seed=0)

    with pytest.raises(HarnessError, match=r"worker 2 of 2, prompt refused: I would rather not\. Ask another"):
        generate("fine", "refused")
    with pytest.raises(HarnessError, match="worker 1 of 2: it failed: ZeroDivisionError: division by nothing"):
        generate("bug", "fine")
    with pytest.raises(HarnessError, match="worker 2 of 2, generator Faulty: 0 completions of prompt lazy, not 1"):
        generate("fine", "lazy")
    generate("fine", "fine")  # the workers outlive all of these
    with pytest.raises(HarnessError, match="worker 2 of 2: its process ended") as caught:
        generate("fine", "deadly")
    assert "\n" not in str(caught.value)


def test_workers_that_the_cluster_has_no_room_for(start):
    with pytest.raises(HarnessError, match="1 of 3 workers have not started within 3 s; the cluster has 2 CPUs"):
        start({"name": "scripted"}, workers=3, start_timeout=3)
    assert not ray.is_initialized()


def test_on_this_machine_alone_ray_is_quiet_and_ends_with_the_generator(faulty):
    """In a process of its own, because what Ray says and where is settled when it is first imported."""
    script = LOCAL.format(faulty=str(faulty))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


def test_what_others_connected_stays_connected(start, address):
    ray.init(address, log_to_driver=False, logging_level="ERROR")
    try:
        start({"name": "scripted"}, workers=1).close()
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_no_cluster_at_the_address(start):
    with pytest.raises(HarnessError, match=r"no cluster at 127\.0\.0\.1:1 "):
        start({"name": "scripted"}, address="127.0.0.1:1")
