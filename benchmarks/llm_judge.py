"""What the judge `llm` adds to the engine that serves its model: the same questions, through it and sent directly.

    python benchmarks/llm_judge.py [--url http://localhost:8000/v1 --model NAME] [--answers N] [--repeats N]

Without --url it starts `vllm serve` with the 135M model. Both ways send the same bodies with equally many at once, in
turns, and nothing is cached. The answers are those of the check `written`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import openai
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "judges"))
from vllm_server import NAME, vllm_server

from harness.checking import group
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness_judges.llm.pointwise import LlmJudge
from harness_judges.llm.server import ServerProvider
from harness_judges.llm.settings import LlmConfig

CONCURRENCY = 32


def through_the_judge(config: LlmConfig, groups: list[Any]) -> float:
    judge = LlmJudge(config, RunContext())
    started = time.perf_counter()
    judge.score(groups)
    seconds = time.perf_counter() - started
    judge.close()
    return seconds


def directly(url: str, config: LlmConfig, groups: list[Any]) -> float:
    judge = LlmJudge(config, RunContext())
    asked = [question for g in groups for c in g.completions for question in judge.questions(g.prompt, c)]
    assert isinstance(judge.asker.provider, ServerProvider)
    bodies = list(map(judge.asker.provider.body, asked))
    judge.close()

    async def send_all() -> None:
        free = asyncio.Semaphore(CONCURRENCY)
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

            async def send(body: dict[str, Any]) -> None:
                async with free:
                    await client.chat.completions.create(**body)

            await asyncio.gather(*map(send, bodies))

    started = time.perf_counter()
    asyncio.run(send_all())
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="The judge llm against its engine.")
    parser.add_argument("--url", help="of a running server; default: start one")
    parser.add_argument("--model", default=NAME)
    parser.add_argument("--answers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    registry = load_registry()
    pairs = registry.create("check", "written", {}, RunContext(components=registry))
    groups = [group(pair.prompt, pair.better, pair.worse) for pair in pairs[: options.answers // 2]]
    with vllm_server() if options.url is None else nullcontext(options.url) as url:
        os.environ["OPENAI_BASE_URL"] = url
        rows = {}
        for score in ("verdict", "expected"):
            config = LlmConfig(
                model=options.model,
                score=score,  # type: ignore[arg-type]
                cache=False,
                attempts=1,
                max_tokens=64,
                reasoning=False,
                provider_config={"concurrency": CONCURRENCY},
            )
            directly(url, config, groups)  # the server's prefix cache is warm for both
            times = [(directly(url, config, groups), through_the_judge(config, groups)) for _ in range(options.repeats)]
            ratio = statistics.median(judged / direct for direct, judged in times)
            direct, judged = (statistics.median(column) for column in zip(*times, strict=True))
            rows[score] = {"direct": direct, "judged": judged, "ratio": ratio, "answers": 2 * len(groups)}
    made = Table("score", "answers", "directly", "through the judge", "ratio", box=box.SIMPLE_HEAD, pad_edge=False)
    for score, row in rows.items():
        figures = (f"{row['direct']:.2f} s", f"{row['judged']:.2f} s", f"{row['ratio']:.3f}")
        made.add_row(score, str(row["answers"]), *figures)
    Console().print(made)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
