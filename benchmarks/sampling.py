"""What sampling costs: the harness's generators against what is below them, on the same prompts.

    python benchmarks/sampling.py [--case NAME ...] [--repeats 3] [--quick] [--without-vllm] [--json FILE]

Four sides take turns in one process: raw vLLM (`LLM.generate`) and the harness on the same engine object, transformers'
`generate` with `num_return_sequences` and the harness's transformers generator on the same weights. Both sides of vLLM
get the same token ids and the same parameters, seeds and log-probabilities among them. Raw vLLM starts on what has come
so far and the harness on everything together, so that rounding differs and with it some samples: how many are the same
is shown, and sides are compared by tokens a second. In transformers no answer stops before its limit, except in the
case `ends`, so that both sides decode the same number of tokens; `generate` records no log-probabilities, ours does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from side_by_side import Timed, alternating, write_json
from transformers import GenerationConfig

import harness
from harness import assets, chat
from harness.api import find_suite, start_generator
from harness.cli.tables import table
from harness.cli.view import View
from harness.config import GeneratorRef
from harness.protocols import RunContext
from harness.types import Completion, Prompt, Sampling

Ids = list[tuple[int, ...]]
"""The completions of all prompts, in order."""

RAW, OURS = "raw vLLM", "harness vllm"
PLAIN, SHARED = "transformers generate", "harness transformers"


@dataclass(frozen=True)
class Case:
    """`prompts` prompts of at least `length` tokens, `n` completions each of at most `tokens`."""

    name: str
    prompts: int
    length: int
    n: int
    tokens: int
    stops: bool = False


CASES = (
    Case("long prompt", prompts=1, length=1000, n=8, tokens=32),
    Case("tool calls", prompts=8, length=0, n=8, tokens=32),
    Case("evaluation", prompts=32, length=0, n=1, tokens=32),
    Case("ends", prompts=4, length=0, n=8, tokens=64, stops=True),
)


class Bench:
    """The prompts of the suite `tool-calls`, and what samples from them."""

    def __init__(self, *, with_vllm: bool) -> None:
        registry = harness.load_registry()
        self.context = RunContext(model=assets.model("smollm2-135m"), progress=View(quiet=True), components=registry)
        self.items = list(find_suite("tool-calls", registry, self.context).items)
        self.shared: Any = start_generator(GeneratorRef(name="transformers"), registry, self.context)
        self.vllm: Any = start_generator(GeneratorRef(name="vllm"), registry, self.context) if with_vllm else None
        exact = GeneratorRef(name="transformers", config={"dtype": "float32"})
        self.exact: Any = start_generator(exact, registry, self.context)
        self.stop_ids = self.shared._stop_ids

    def prompts(self, case: Case) -> list[Prompt]:
        """Items, each with the texts of those after it until it is long enough."""
        made = []
        for start in range(case.prompts):
            text, following = str(self.items[start].messages[-1]["content"]), start
            while len(self.ids(prompt := self._ask(start, text))) < case.length:
                following += 1
                text += "\n\n" + str(self.items[following].messages[-1]["content"])
            made.append(prompt)
        return made

    def _ask(self, index: int, text: str) -> Prompt:
        item = self.items[index]
        return replace(item, messages=(*item.messages[:-1], {"role": "user", "content": text}))

    def ids(self, prompt: Prompt) -> list[int]:
        return chat.render(self.shared._tokenizer, prompt)

    def sides(self, case: Case) -> dict[str, Callable[[], Ids]]:
        prompts, sampling = self.prompts(case), Sampling(max_tokens=case.tokens)
        ids = [self.ids(prompt) for prompt in prompts]
        self.shared._stop_ids = self.exact._stop_ids = self.stop_ids if case.stops else frozenset()
        sides: dict[str, Callable[[], Ids]] = {}
        if self.vllm is not None:
            sides[RAW] = lambda: self.raw(prompts, ids, case.n, sampling)
            sides[OURS] = lambda: token_ids(self.vllm.generate(prompts, n=case.n, sampling=sampling, seed=0))
        sides[PLAIN] = lambda: self.plain(self.shared._base, ids, case)
        sides[SHARED] = lambda: token_ids(self.shared.generate(prompts, n=case.n, sampling=sampling, seed=0))
        return sides

    def raw(self, prompts: Sequence[Prompt], ids: Sequence[list[int]], n: int, sampling: Sampling) -> Ids:
        requests = [{"prompt_token_ids": ids[p]} for p in range(len(prompts)) for _ in range(n)]
        params = [
            self.vllm._params(prompt, len(ids[p]), g, sampling, 0) for p, prompt in enumerate(prompts) for g in range(n)
        ]
        for each in params:
            each.detokenize = True  # the harness decodes the tokens itself
        self.vllm._llm.reset_prefix_cache()
        outputs = self.vllm._llm.generate(requests, params, use_tqdm=False)
        return [tuple(output.outputs[0].token_ids) for output in outputs]

    def plain(self, model: Any, ids: Sequence[list[int]], case: Case, **options: Any) -> Ids:
        longest, pad = max(map(len, ids)), min(self.stop_ids)
        padded = torch.tensor([[pad] * (longest - len(i)) + i for i in ids])
        mask = torch.tensor([[0] * (longest - len(i)) + [1] * len(i) for i in ids])
        config = {"do_sample": True, "top_k": 0, "num_return_sequences": case.n, "max_new_tokens": case.tokens}
        config |= {"eos_token_id": sorted(self.stop_ids) if case.stops else None, "pad_token_id": pad, **options}
        ours = model.config._attn_implementation
        model.set_attn_implementation("sdpa")  # as transformers has it
        try:
            out = model.generate(padded, attention_mask=mask, generation_config=GenerationConfig(**config))
        finally:
            model.set_attn_implementation(ours)
        return [self.until_stop(row[longest:].tolist(), case) for row in out]

    def until_stop(self, ids: list[int], case: Case) -> tuple[int, ...]:
        ends = [t + 1 for t, i in enumerate(ids) if case.stops and i in self.stop_ids]
        return tuple(ids[: min([*ends, len(ids)])])

    # ------------------------------------------------------------ are the outcomes equal?

    def greedy_agreement(self, case: Case) -> float:
        """Share of the tokens before the first difference, greedily and in float32: in bf16 near-ties fall either way,
        and all that follows is another text."""
        prompts, sampling = self.prompts(case)[:4], Sampling(temperature=0.0, max_tokens=case.tokens)
        ours = token_ids(self.exact.generate(prompts, n=1, sampling=sampling, seed=0))
        ids, one = [self.ids(prompt) for prompt in prompts], replace(case, n=1)
        plain = [self.plain(self.exact._base, [i], one, do_sample=False, top_k=None)[0] for i in ids]
        return fmean(common(a, b) / max(len(a), len(b)) for a, b in zip(ours, plain, strict=True))

    @torch.inference_mode()
    def logp_error(self, case: Case) -> float:
        """Mean absolute difference of the log-probabilities (recorded in bf16) from a float32 forward pass, nats."""
        prompts = self.prompts(case)[:2]
        differences = []
        for group in self.shared.generate(prompts, n=2, sampling=Sampling(max_tokens=case.tokens), seed=0):
            for completion in group.completions:
                whole = torch.tensor([[*group.prompt_token_ids, *completion.token_ids]])
                logits_T_V = self.exact._base(whole).logits[0, len(group.prompt_token_ids) - 1 : -1].float()
                logps_T = logits_T_V.log_softmax(-1).gather(1, whole[0, len(group.prompt_token_ids) :, None])[:, 0]
                differences += (logps_T - torch.tensor(completion.logprobs)).abs().tolist()
        return fmean(differences)


def token_ids(groups: Sequence[Any]) -> Ids:
    completions: list[Completion] = [completion for group in groups for completion in group.completions]
    return [completion.token_ids for completion in completions]


def common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((t for t, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def speeds(turns: Sequence[Timed[Ids]]) -> list[float]:
    """Tokens a second of each turn."""
    return [sum(map(len, turn.result)) / turn.seconds for turn in turns]


def run_case(bench: Bench, case: Case, repeats: int) -> dict[str, Any]:
    sides = bench.sides(case)
    for side in bench.sides(replace(case, tokens=2)).values():  # kernels are chosen in the first turn
        side()
    turns = alternating(sides, repeats)
    row: dict[str, Any] = {"case": case.name, **{k: getattr(case, k) for k in ("prompts", "n", "tokens")}}
    row["prompt_tokens"] = max(len(bench.ids(prompt)) for prompt in bench.prompts(case))
    row["seconds"] = {name: [turn.seconds for turn in side] for name, side in turns.items()}
    row["tokens_per_s"] = {name: speeds(side) for name, side in turns.items()}
    row["decoded"] = {name: sum(map(len, side[0].result)) for name, side in turns.items()}
    if not case.stops and row["decoded"][PLAIN] != row["decoded"][SHARED]:
        raise SystemExit(f"{case.name}: transformers decoded {row['decoded']}, which is not the same work")
    pairs = [(SHARED, PLAIN)] + ([(OURS, RAW), (OURS, PLAIN)] if RAW in turns else [])
    row["speed_ratios"] = {
        f"{a} / {b}": [x / y for x, y in zip(speeds(turns[a]), speeds(turns[b]), strict=True)] for a, b in pairs
    }
    if RAW in turns:
        same = [a == b for a, b in zip(turns[RAW][0].result, turns[OURS][0].result, strict=True)]
        row["same_samples_as_raw_vllm"] = fmean(same)
    row["greedy_agreement"], row["logp_error"] = bench.greedy_agreement(case), bench.logp_error(case)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="short prompts and answers, to see that it runs")
    parser.add_argument("--without-vllm", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    bench = Bench(with_vllm=not options.without_vllm)
    rows = []
    for case in CASES:
        if options.case is None or case.name in options.case:
            small = replace(case, prompts=min(case.prompts, 2), length=case.length // 4, tokens=8)
            rows.append(run_case(bench, small if options.quick else case, options.repeats))
            show(rows[-1])
            if options.json:
                write_json(options.json, rows)
    if bench.vllm is not None:
        bench.vllm.close()


def show(row: dict[str, Any]) -> None:
    sides = [
        [name, f"{median(row['seconds'][name]):.2f}", f"{row['decoded'][name]}", f"{median(speed):.0f}"]
        for name, speed in row["tokens_per_s"].items()
    ]
    title = (
        f"{row['case']}: {row['prompts']} prompts of up to {row['prompt_tokens']}, n {row['n']}, up to {row['tokens']}"
    )
    print(table(["side", "seconds", "tokens", "tokens/s"], sides, title=title))
    for pair, found in row["speed_ratios"].items():
        print(f"{pair}: {median(found):.3f} (each turn: {', '.join(f'{ratio:.3f}' for ratio in found)})")
    if (same := row.get("same_samples_as_raw_vllm")) is not None:
        print(f"samples equal to raw vLLM's: {same:.0%}")
    agreement, error = row["greedy_agreement"], row["logp_error"]
    print(
        f"greedy tokens in float32 before the first difference: {agreement:.0%}; log-probs off by {error:.3f} nats\n",
        flush=True,
    )


if __name__ == "__main__":
    main()
