"""The bridge to lm-evaluation-harness: the same items and the same model give the package's own numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config import EvalConfig, GeneratorRef
from harness.errors import ConfigError, HarnessError, PluginError
from harness.plugins import load_registry
from harness.protocols import RunContext, Suite
from harness.suites import load_suite
from harness.types import Completion, Group, ScoredGroup
from harness_suites.lm_eval.judge import LmEvalJudge
from harness_suites.lm_eval.settings import ResultConfig, TaskConfig
from harness_suites.lm_eval.task import load_task

lm_eval = pytest.importorskip("lm_eval")

from lm_eval.api.model import LM  # noqa: E402
from lm_eval.evaluator import simple_evaluate  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

FLOAT32 = GeneratorRef(name="transformers", config={"dtype": "float32"})
WORDS = ("sea", "Öl", "lamp", "über", "tree", "äöü", "hat", "sand")

CHOICE = """
task: tiny_choice
output_type: multiple_choice
doc_to_text: "Question: which is {{number}}?\\nAnswer:"
doc_to_choice: options
doc_to_target: answer
num_fewshot: 2
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}]
"""
TEXT = """
task: tiny_text
output_type: loglikelihood
doc_to_text: "The word of {{number}} is"
doc_to_target: " {{options[0]}}"
metric_list: [{metric: perplexity}]
"""
ROLLING = """
task: tiny_rolling
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{options | join(' and ')}}"
metric_list: [{metric: bits_per_byte}]
"""
GENERATE = """
task: tiny_generate
output_type: generate_until
doc_to_text: "Which is {{number}}?"
doc_to_target: "{{options[answer]}}"
num_fewshot: 1
generation_kwargs: {until: ["\\n", "END"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, ignore_case: true}]
filter_list:
  - name: after-colon
    filter: [{function: regex, regex_pattern: ": (\\\\w+)"}, {function: take_first}]
  - name: as-it-is
    filter: [{function: take_first}]
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of tasks whose data are files."""
    import datasets

    folder = tmp_path_factory.mktemp("tasks")
    for split, start in (("train", 20), ("test", 0)):
        rows = [
            {
                "number": number,
                "options": [WORDS[(number * k + k) % 8] * (1 + (number + k) % 3) for k in (1, 2, 3)],
                "answer": number % 3,
            }
            for number in range(start, start + 12)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    data = f"dataset_path: json\ndataset_kwargs: {json.dumps({'data_files': files})}\n"
    for text in (CHOICE, TEXT, ROLLING, GENERATE):
        name = text.split()[1]
        (folder / f"{name}.yaml").write_text(f"{text}{data}training_split: train\ntest_split: test\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def theirs(tiny_model: Path) -> HFLM:
    return HFLM(pretrained=str(tiny_model), dtype="float32", device="cpu", batch_size=1)


def named(tasks: Path, name: str) -> str:
    return str(tasks / f"{name}.yaml")


def samples(lm: LM, task: str, **options: Any) -> list[dict[str, Any]]:
    """What the package says of each item."""
    index = TaskManager(include_defaults=False)  # reading the names of all tasks takes seconds
    (found,) = simple_evaluate(lm, tasks=[task], bootstrap_iters=0, task_manager=index, **options)["samples"].values()
    return list(found)


def evaluated(task: str, model: Path, **options: Any) -> list[ScoredGroup]:
    _, results = harness.evaluate(f"lm_eval:{task}", model=str(model), generator=FLOAT32, **options)
    (groups,) = results.values()
    return groups


def suite_of(**config: Any) -> Suite:
    made: Suite = load_registry().create("suite", "lm_eval", config, RunContext())
    return made


# ---------------------------------------------------------------- likelihood


def test_choices_are_the_packages_own_item_by_item(tasks: Path, tiny_model: Path, theirs: HFLM) -> None:
    task = named(tasks, "tiny_choice")
    expected = samples(theirs, task)
    for metric in ("acc", "acc_norm", "acc_bytes"):
        use = suite_of(task=task, metric=metric).judges[0]
        groups = evaluated(task, tiny_model, judges={use.name: use.config})
        for group, sample in zip(groups, expected, strict=True):
            sums = [sum(completion.logprobs or ()) for completion in group.group.completions]
            assert sums == pytest.approx([logp for ((logp, _),) in sample["resps"]], abs=1e-3)
            assert set(group.rewards) == {sample[metric]}
    kinds = {tuple(sample[metric] for sample in expected) for metric in ("acc", "acc_norm", "acc_bytes")}
    assert len(kinds) == 3, "metrics that agree on all items would show nothing"


def test_through_the_chat_template_as_well(tasks: Path, tiny_model: Path, theirs: HFLM, tmp_path: Path) -> None:
    task = named(tasks, "tiny_choice")
    (tmp_path / "suite.toml").write_text(
        '[suite]\nname = "asked"\nversion = "1"\nrole = "monitor"\nsummary = "s"\nlicense = "none"\n'
        'kind = "likelihood"\nbuilder = "harness_suites.lm_eval.build:build"\n[suite.options]\n'
        f'task = "{task}"\nchat = true\nnum_fewshot = 1\n[[judges]]\nname = "choice"\n'
    )
    expected = samples(theirs, task, apply_chat_template=True, num_fewshot=1)
    _, results = harness.evaluate(f"{tmp_path}/", model=str(tiny_model), generator=FLOAT32)
    assert [group.rewards[0] for group in results["asked"]] == [sample["acc"] for sample in expected]
    assert [message["role"] for message in results["asked"][0].group.prompt.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize("name", ["tiny_text", "tiny_rolling"])
def test_log_probs_of_texts_are_the_packages_own(tasks: Path, tiny_model: Path, theirs: HFLM, name: str) -> None:
    expected = samples(theirs, named(tasks, name))
    groups = evaluated(named(tasks, name), tiny_model)
    for group, sample in zip(groups, expected, strict=True):
        (completion,), ((found,),) = group.group.completions, sample["resps"]
        assert sum(completion.logprobs or ()) == pytest.approx(
            found[0] if isinstance(found, tuple) else found, abs=1e-3
        )


# ---------------------------------------------------------------- generation


def test_what_is_generated_is_asked_for_as_the_package_does(tasks: Path, tiny_model: Path, theirs: HFLM) -> None:
    task = named(tasks, "tiny_generate")
    expected = samples(theirs, task, apply_chat_template=True, limit=4)
    judge = LmEvalJudge(ResultConfig(task=task, filter="as-it-is"))
    groups = evaluated(task, tiny_model, config=EvalConfig(limit=4))
    for group, sample in zip(groups, [s for s in expected if s["filter"] == "as-it-is"], strict=True):
        (completion,) = group.group.completions
        assert len(completion.token_ids) == 12
        assert sample["resps"] == [[completion.text.split("\n")[0].split("END")[0]]]
        assert judge.results(sample["doc"], completion.text)["exact_match"] == sample["exact_match"]


ANSWERS = ("Answer: {}", "answer: {}\nOr: hat", "{}", "{}END of it", "Say: {}END: pin", "Nothing")


class Scripted(LM):
    """Answers in turn with `ANSWERS`, about the right option, stopped as the package asks its models to."""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        texts = []
        for index, request in enumerate(requests):
            text = ANSWERS[index % len(ANSWERS)].format(request.doc["options"][request.doc["answer"]].upper())
            for stop in request.args[1]["until"]:
                text = text.split(stop)[0]
            texts.append(text)
        return texts

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        raise AssertionError("nothing is to be scored")

    loglikelihood_rolling = loglikelihood


@pytest.mark.parametrize("name", ["after-colon", "as-it-is"])
def test_answers_are_cut_filtered_and_scored_as_the_package_does(tasks: Path, name: str) -> None:
    task = named(tasks, "tiny_generate")
    suite = suite_of(task=task)
    judge = LmEvalJudge(ResultConfig(task=task, filter=name))
    groups = []
    for index, item in enumerate(suite.items):
        text = ANSWERS[index % len(ANSWERS)].format((item.reference or "").upper())
        groups.append(Group(item, (1,), (Completion(text, (1,)),), "base", suite.sampling))
    values = [score.value for (score,) in judge.score(groups)]
    assert values == [s["exact_match"] for s in samples(Scripted(), task) if s["filter"] == name]
    by_answer = {"after-colon": [1, 1, 0, 0, 1, 0], "as-it-is": [0, 0, 1, 1, 0, 0]}[name]
    assert values == by_answer * 2


# ---------------------------------------------------------------- suites


def test_a_task_becomes_the_suite_that_it_is(tasks: Path) -> None:
    made = {name: suite_of(task=named(tasks, name)) for name in ("tiny_choice", "tiny_text", "tiny_rolling")}
    uses = {name: (suite.kind, suite.judges[0].name, dict(suite.judges[0].config)) for name, suite in made.items()}
    assert uses == {
        "tiny_choice": ("likelihood", "choice", {"normalize": "none"}),
        "tiny_text": ("likelihood", "likelihood", {"per": "token"}),
        "tiny_rolling": ("likelihood", "likelihood", {"per": "byte"}),
    }
    suite = suite_of(task=named(tasks, "tiny_generate"))
    assert (suite.name, suite.kind, suite.judges[0].name) == ("lm_eval:tiny_generate", "generate", "lm_eval")
    assert (suite.sampling.temperature, suite.sampling.max_tokens) == (0.0, 12)
    assert [message["role"] for message in suite.items[0].messages] == ["user", "assistant", "user"]
    assert len(suite.items) == 12


def test_it_is_made_equal_twice(tasks: Path) -> None:
    first = suite_of(task=named(tasks, "tiny_choice"))
    load_task.cache_clear()
    assert suite_of(task=named(tasks, "tiny_choice")) == first


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("base", "extra", "config", "says"),
    [
        (CHOICE, "", {"metric": "f1"}, "metric 'f1' cannot be had"),
        (TEXT, "", {"metric": "acc"}, "metric 'acc' cannot be had"),
        (ROLLING, "", {"chat": True}, "raw text"),
        (TEXT, "num_fewshot: 0", {"num_fewshot": 1}, "has no examples"),
        (GENERATE, "repeats: 2", {}, "2 answers an item"),
        (GENERATE, 'gen_prefix: "It is"', {}, "begins the model's answer"),
        (GENERATE, "unsafe_code: true", {}, "runs the code"),
        (GENERATE.replace("do_sample: false", "do_sample: false, num_beams: 2"), "", {}, "drawn with num_beams"),
        (CHOICE.replace("doc_to_choice: options", "doc_to_choice: nothing"), "", {}, "cannot be loaded"),
        (CHOICE.replace('"Question: which is {{number}}?\\nAnswer:"', "answer"), "", {}, "vary what comes before"),
    ],
)
def test_what_a_suite_cannot_hold_is_refused(
    tasks: Path, tmp_path: Path, base: str, extra: str, config: dict[str, Any], says: str
) -> None:
    name = base.split()[1]
    data = (tasks / f"{name}.yaml").read_text().partition("dataset_path")
    file = tmp_path / "odd.yaml"
    file.write_text(base + "".join(data[1:]) + extra)
    with pytest.raises(ConfigError, match=says):
        suite_of(task=str(file), **config)


def test_a_file_that_is_not_there_and_a_setting_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lm_eval:.*none\.yaml: no such file"):
        suite_of(task=str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"task.*missing"):
        suite_of()
    with pytest.raises(ConfigError, match="general"):
        harness.evaluate("general:arc_easy")


def test_a_manifest_must_say_the_tasks_kind(tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(
        '[suite]\nname = "asked"\nversion = "1"\nrole = "monitor"\nsummary = "s"\nlicense = "none"\n'
        'builder = "harness_suites.lm_eval.build:build"\n'
        f'options = {{ task = "{named(tasks, "tiny_choice")}" }}\n[[judges]]\nname = "choice"\n'
    )
    with pytest.raises(ConfigError, match=r"item '0' is raw text.*kind = \"likelihood\""):
        load_suite(tmp_path)


def test_tasks_of_the_package_are_found_by_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean arc_easy"):
        suite_of(task="arc_eazy")
    with pytest.raises(ConfigError, match="group of tasks"):
        suite_of(task="mmlu")
    with pytest.raises(ConfigError, match=r"cannot be loaded \(ConnectionError.*dataset_path: json"):
        suite_of(task="arc_easy")  # the tests are offline


def test_the_judge_takes_only_what_is_a_share_and_better_when_more(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no answer to score"):
        LmEvalJudge(ResultConfig(task=named(tasks, "tiny_choice")))
    for setting, says in (({"metric": "bleu"}, "no metric 'bleu'"), ({"filter": "x"}, "no filter 'x'")):
        with pytest.raises(ConfigError, match=says):
            LmEvalJudge(ResultConfig(task=named(tasks, "tiny_generate"), **setting))


@pytest.mark.parametrize(
    ("metric", "error", "says"), [("bleu", PluginError, "no share of 1"), ("ter", ConfigError, "less of ter is better")]
)
def test_metrics_of_a_whole_corpus_are_refused(
    tasks: Path, tmp_path: Path, metric: str, error: type[HarnessError], says: str
) -> None:
    file = tmp_path / "odd.yaml"
    text = (tasks / "tiny_generate.yaml").read_text()
    file.write_text(text.replace("exact_match, ignore_case: true", metric))
    suite = suite_of(task=str(file))
    group = Group(suite.items[0], (1,), (Completion("x", (1,)),), "base", suite.sampling)
    with pytest.raises(error, match=says):
        LmEvalJudge(ResultConfig(task=str(file))).score([group])


def test_without_the_package_it_says_what_to_install(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.task", None)
    load_task.cache_clear()
    with pytest.raises(HarnessError, match=r"not installed.*pip install 'harness-align\[lm-eval\]'"):
        suite_of(task=named(tasks, "tiny_choice"))
    assert TaskConfig(task="arc_easy").num_fewshot is None  # listing and reading settings need no package
