"""What an evaluation costs on top of the engine that samples for it.

    python benchmarks/evaluation.py [--items 1000] [--repeats 3] [--max-tokens 32] [--json FILE]

The same items, token for token, sampled by raw vLLM (`LLM.generate` on prompt ids) and by `harness eval`'s whole path
(rendering, sampling, judging, reports, files), in turns in one process and on one engine. Prints seconds and ratios,
and of each side the seconds in which it does not wait for the engine: on a busy machine the ratios move by more than
the overhead is, and these do not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from side_by_side import alternating, ratios, write_json
from vllm import SamplingParams

import harness
from harness import assets, chat
from harness.api import find_suite, start_generator
from harness.cli.table import table
from harness.cli.view import View
from harness.config import EvalConfig, GeneratorRef
from harness.evaluation import evaluate_suites
from harness.measuring import write_eval
from harness.protocols import RunContext, Suite


def items_of(count: int, registry: harness.Registry, context: RunContext, max_tokens: int) -> list[Suite]:
    """Suites that hold `count` items together, with short answers: those leave an overhead the least to hide behind."""
    found, left = [], count
    for name in ("tool-calls", "general", "grounded-qa"):
        suite = find_suite(name, registry, context)
        taken = suite.items[:left]
        found.append(replace(suite, items=taken, sampling=replace(suite.sampling, max_tokens=max_tokens)))
        left -= len(taken)
    if left:
        raise SystemExit(f"only {count - left} items are to be had")
    return [suite for suite in found if suite.items]


@dataclass(frozen=True)
class Work:
    """What a side's turn made, and how long it waited for the engine to make it, in seconds."""

    tokens: int
    waited: float


class Waiting:
    """Adds up the seconds that the engine's client waits for its outputs."""

    def __init__(self, client: Any) -> None:
        self.seconds, self._wait = 0.0, client.get_output
        client.get_output = self._timed

    def _timed(self) -> Any:
        started = time.perf_counter()
        try:
            return self._wait()
        finally:
            self.seconds += time.perf_counter() - started

    def during(self, work: Callable[[], int]) -> Callable[[], Work]:
        def timed() -> Work:
            self.seconds = 0.0
            return Work(work(), self.seconds)

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    registry = harness.load_registry()
    context = RunContext(model=assets.model("smollm2-135m"), progress=View(quiet=True), components=registry)
    suites = items_of(options.items, registry, context, options.max_tokens)
    generator = start_generator(GeneratorRef(name="vllm"), registry, context)
    tokenizer = chat.load_tokenizer(context.require_model().path)
    stops = sorted(chat.stop_ids(tokenizer, chat.load_generation_config(context.require_model().path)))
    # Rendered beforehand: what the harness does between a row and its token ids is a part of its overhead.
    prompts = [[{"prompt_token_ids": chat.render(tokenizer, item)} for item in suite.items] for suite in suites]
    engine = generator._llm  # type: ignore[attr-defined]

    def raw() -> int:
        tokens = 0
        for batch in prompts:
            # With log-probs, as they are recorded: their cost is the engine's.
            params = SamplingParams(
                temperature=0.0, max_tokens=options.max_tokens, stop_token_ids=stops, logprobs=0, detokenize=True
            )
            engine.reset_prefix_cache()
            outputs = engine.generate(batch, params, use_tqdm=False)
            tokens += sum(len(output.outputs[0].token_ids) for output in outputs)
        return tokens

    def ours() -> int:
        report, results = evaluate_suites(
            suites, generator, policy_version="base", registry=registry, context=context, config=EvalConfig()
        )
        with tempfile.TemporaryDirectory() as folder:
            write_eval(Path(folder), report, results)
        return sum(len(c.token_ids) for groups in results.values() for g in groups for c in g.group.completions)

    raw()  # warms the engine up
    waiting = Waiting(engine.llm_engine.engine_core)
    turns = alternating({"raw vLLM": waiting.during(raw), "harness": waiting.during(ours)}, options.repeats)
    generator.close()
    rows: list[dict[str, Any]] = [
        {
            "side": name,
            "items": options.items,
            "seconds": [turn.seconds for turn in of],
            "outside": [turn.seconds - turn.result.waited for turn in of],
            "tokens": [turn.result.tokens for turn in of],
        }
        for name, of in turns.items()
    ]
    each = ratios(turns["harness"], turns["raw vLLM"])
    cells = [
        [
            row["side"],
            f"{median(row['seconds']):.1f}",
            f"{median(row['outside']):.2f} ({median(row['outside']) / median(row['seconds']):.1%})",
            f"{median(row['tokens']):.0f}",
        ]
        for row in rows
    ]
    columns = ["side", "seconds (median)", "of them not waiting for the engine", "tokens"]
    print(table(columns, cells, title=f"{options.items} items"))
    print(f"harness / raw vLLM: {median(each):.3f} (each turn: {', '.join(f'{r:.3f}' for r in each)})")
    if options.json:
        write_json(options.json, [*rows, {"ratio": median(each), "each": each}])


if __name__ == "__main__":
    main()
