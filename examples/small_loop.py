"""The loop in under a hundred lines, from the parts: what `harness loop` does without its store and its config.

    python examples/small_loop.py

Samples groups with transformers, scores them with the `tool_call` judge, takes one group-relative update, evaluates the
candidate beside the incumbent, and asks the gate. About ten minutes on two cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import RunContext, Sampling, load_registry
from harness.assets import model
from harness.config import EvalConfig
from harness.evaluation import evaluate_suites
from harness.gate import gate
from harness.judging import seat_judges
from harness.probe import serve
from harness.sampling_step import train_batch


def main() -> None:
    registry = load_registry()
    context = RunContext(
        model=model("smollm2-135m"),
        adapter={"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
        components=registry,
    )
    suite = registry.create("suite", "tool-calls", {}, context)
    judges = seat_judges(suite, "train", registry, context)
    demonstrate = registry.create("generator", "reference", {}, context)
    policy = registry.create("generator", "transformers", {}, context)
    stages = [
        (demonstrate, registry.create("updater", "sft", {"epochs": 1}, context), 64, 1),
        (policy, registry.create("updater", "group", {}, context), 8, 8),
    ]

    def evaluate(version: str):
        limited = EvalConfig(limit=40)
        report, _ = evaluate_suites(
            [suite], policy, policy_version=version, registry=registry, context=context, config=limited
        )
        return report

    incumbent, standing = None, evaluate("base")
    anchor = standing
    used = 0
    with tempfile.TemporaryDirectory() as folder:
        for index, (generator, updater, prompts, n) in enumerate(stages):
            groups = generator.generate(
                train_batch(suite, 0, used, prompts), n=n, sampling=Sampling(max_tokens=192), seed=index
            )
            used += prompts
            out = Path(folder) / str(index)
            out.mkdir()
            update = updater.update(judges.score(groups), parent=incumbent, out=out, seed=index)
            serve(policy, update.checkpoint, before=incumbent)
            report = evaluate(update.checkpoint.version)
            decision = gate(standing, report, anchor)
            print(f"round {index}: {decision.sentence}")
            if decision.promoted:
                incumbent, standing = update.checkpoint, report
            else:
                serve(policy, incumbent, before=update.checkpoint)


if __name__ == "__main__":
    main()
