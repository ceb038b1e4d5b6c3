"""`harness data split`, `pairs`, `negatives`, `adversarial` and `mix` as people meet them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import main
from harness.records import read_groups, write_groups
from harness.store import RunStore
from harness.training_data import read_rows
from harness.types import Completion, Group, Prompt, Sampling, Score, ScoredGroup

Run = Callable[..., tuple[int, str, str]]
TOOLS = [{"name": "pay", "parameters": {"properties": {"n": {"type": "integer"}}, "required": ["n"]}}]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout and stderr of `harness data VERB`, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["data", *arguments])
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return call


def write(name: str, rows: list[dict[str, Any]]) -> bytes:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path(name).read_bytes()


def rows(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def questions(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"prompt": f"What is {n} and {n // 7}?", "completion": f"It is {n}.", "topic": n % 40}
        for n in range(start, start + count)
    ]


# ---------------------------------------------------------------- split


def test_split_writes_every_row_once_and_moves_none_when_rows_are_added(harness: Run) -> None:
    before = write("a.jsonl", questions(300))
    code, out, _ = harness("split", "a.jsonl", "--out", "one", "--json")
    report = json.loads(out)
    assert (code, report["exact_across"], report["source"]) == (0, 0, "a.jsonl")
    assert Path("a.jsonl").read_bytes() == before
    assert json.loads(Path("one/split.json").read_text()) == report
    assert sorted(path.name for path in Path("one").iterdir()) == [
        "split.json",
        "test.jsonl",
        "train.jsonl",
        "valid.jsonl",
    ]
    sides = {row["prompt"][0]["content"]: side for side in report["sides"] for row in rows(f"one/{side}.jsonl")}
    assert len(sides) == 300
    assert {side: count["rows"] for side, count in report["sides"].items()} == Counter(sides.values())
    assert all(list(read_rows(Path(f"one/{side}.jsonl"))) for side in report["sides"])

    write("b.jsonl", questions(200, 300)[::-1] + questions(300))
    assert harness("split", "b.jsonl", "--out", "two")[0] == 0
    again = {row["prompt"][0]["content"]: side for side in report["sides"] for row in rows(f"two/{side}.jsonl")}
    assert len(again) == 500
    assert {text: again[text] for text in sides} == sides


def test_split_by_a_column_and_by_near_copies(harness: Run) -> None:
    passage = " ".join(f"word{n}" for n in range(50))
    copies = [
        {"prompt": f"{'So ' * (n % 2)}{passage} number{n // 2}", "completion": "yes", "topic": n} for n in range(8)
    ]
    write("a.jsonl", questions(100) + copies[:4])
    code, out, _ = harness(
        "split", "a.jsonl", "--out", "topics", "--by", "topic", "--ratio", "a=0.5", "--ratio", "b=0.5"
    )
    assert code == 0
    assert "prompts on two sides: 0; near pairs on two sides:" in out
    on = {side: {row["extra"]["topic"] for row in rows(f"topics/{side}.jsonl")} for side in "ab"}
    assert not on["a"] & on["b"]
    assert len(on["a"] | on["b"]) == 40

    report = json.loads(harness("split", "a.jsonl", "--out", "near", "--by", "near", "--json")[1])
    assert report["near_across"] == 0
    write("b.jsonl", questions(150) + copies)
    code, out, _ = harness("split", "b.jsonl", "--out", "more", "--by", "near", "--like", "near", "--json")
    like = json.loads(out)["like"]
    assert (code, like["folder"], like["kept"], like["bridged"]) == (0, "near", 104, 0)
    for side in report["sides"]:
        assert [*rows(f"near/{side}.jsonl")] == [
            row for row in rows(f"more/{side}.jsonl") if row in rows(f"near/{side}.jsonl")
        ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl"], "missing.jsonl: "),
        (["empty.jsonl"], "empty.jsonl: it holds no row"),
        (["broken.jsonl"], "broken.jsonl:2: not_json"),
        (["a.jsonl", "--by", "colour"], "a.jsonl:1: it has no column 'colour'. Its other columns: topic"),
        (["a.jsonl", "--ratio", "train=1"], "split: ratios"),
        (["a.jsonl", "--ratio", "train"], "--ratio: 'train' is not SIDE=SHARE"),
        (["a.jsonl", "--like", "nowhere"], "nowhere/split.json: cannot be read"),
        (["a.jsonl", "--out", "there"], "there: it is there already"),
    ],
)
def test_split_refuses_before_it_writes(harness: Run, arguments: list[str], said: str) -> None:
    write("a.jsonl", questions(5))
    Path("empty.jsonl").touch()
    Path("broken.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": \n')
    Path("there").mkdir()
    before = sorted(Path().rglob("*"))
    code, _, err = harness("split", "--out", "new", *arguments)
    assert code == 3
    assert said in err
    assert sorted(Path().rglob("*")) == before


def test_an_earlier_split_must_have_been_made_alike(harness: Run) -> None:
    write("a.jsonl", questions(20))
    assert harness("split", "a.jsonl", "--out", "one")[0] == 0
    for other in (["--seed", "1"], ["--by", "prompt"]):
        code, _, err = harness("split", "a.jsonl", "--out", "two", "--like", "one", *other)
        assert (code, f"another {other[0][2:]}" in err) == (3, True)
    assert not Path("two").exists()


# ---------------------------------------------------------------- pairs


def scored(number: int, values: list[float]) -> ScoredGroup:
    texts = [f"answer {number} {'x' * place}" for place in range(len(values))]
    completions = tuple(Completion(text, (place + 1,)) for place, text in enumerate(texts))
    prompt = Prompt(f"p{number}", ({"role": "user", "content": f"Question {number}?"},))
    scores = tuple((Score("exact", value), Score("taste", 1 - value)) for value in values)
    return ScoredGroup(Group(prompt, (1,), completions, "base", Sampling()), scores, tuple(values))


@pytest.fixture
def run_of_two(tmp_path: Path) -> RunStore:
    """A stored run: two rounds of groups, the second the larger."""
    store = RunStore.create(tmp_path / "runs" / "two", {"config": {}}, "")
    for index in (1, 2):
        groups = [scored(number, [0.0, 0.5, 1.0]) for number in range(2 * index)] + [scored(9, [1.0, 1.0])]
        store.step(
            index, "judge", "groups.parquet", make=lambda path, g=groups: write_groups(path, g), read=read_groups
        )
    return store


def test_pairs_of_a_run_say_where_they_are_from(harness: Run, run_of_two: RunStore) -> None:
    code, out, _ = harness("pairs", "two", "--out", "p.jsonl", "--json")
    report = json.loads(out)
    assert (code, report["prompts"], report["without"], report["after"]["pairs"]) == (0, 5, 1, 12)
    assert report["after"]["chosen_longer"] == 1.0
    first = rows("p.jsonl")[0]
    assert first["chosen"] == "answer 0 xx"
    assert first["rejected"] == "answer 0 "
    assert first["extra"] == {"margin": 1.0}
    assert first["origin"] == {"source": "runs/two", "place": 1, "round": 2}
    assert [row.prompt.id for row in read_rows(Path("p.jsonl"))] == [f"p{n}" for n in range(4) for _ in range(3)]

    assert harness("pairs", "two", "--out", "both.jsonl", "--round", "1", "--round", "2", "--per-prompt", "1")[0] == 0
    assert [row["origin"]["round"] for row in rows("both.jsonl")] == [1, 1, 2, 2]
    file = "runs/two/rounds/001/groups.parquet"
    assert harness("pairs", file, "--out", "taste.jsonl", "--judge", "taste", "--best-only")[0] == 0
    assert [(row["chosen"], row["origin"]) for row in rows("taste.jsonl")] == [
        (f"answer {n} ", {"source": file, "place": n + 1, "judge": "taste"}) for n in range(2)
    ]


def test_pairs_from_labels_balanced_by_length(harness: Run) -> None:
    labels = [("short", "a longer one"), ("a longer one", "short"), ("the longest of them", "so")]
    write(
        "l.jsonl",
        [
            {"prompt": f"Question {n}?", "completion": text, "label": text == good}
            for n, (good, bad) in enumerate(labels)
            for text in (good, bad)
        ],
    )
    code, out, _ = harness("pairs", "l.jsonl", "--from-labels", "--out", "p.jsonl", "--balance-length")
    assert code == 0
    assert "chosen is the longer answer: 66.7% (2 longer, 1 shorter, of 3)" in out
    assert "after balancing: 50.0% (1 longer, 1 shorter, of 2)" in out
    assert rows("p.jsonl")[0]["chosen"] == "short"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "runs/nothing: there is no such run, nor file of groups"),
        (["two", "--round", "3"], "runs/two: round 3 has no scored groups. Rounds that have: 1, 2"),
        (["two", "--judge", "mood"], "judge 'mood' did not judge prompt p0. Judges that did: exact, taste"),
        (["two", "--comparisons"], "runs/two: none of 5 prompts has two answers to prefer one of"),
        (["two", "--balance-length"], "runs/two: no pair is left"),
        (["a.jsonl", "--from-labels"], "a.jsonl:1: it is a demonstration"),
        (["a.jsonl", "--from-labels", "--judge", "exact"], "--from-labels: labels have no judges"),
        (["a.jsonl", "--round", "1"], "a.jsonl: this is no run, so it has no rounds"),
        (["two", "--out", "a.jsonl"], "a.jsonl: it is there already"),
        (["two", "--out", "no/where.jsonl"], "no: there is no such folder"),
    ],
)
def test_pairs_refuses_before_it_writes(harness: Run, run_of_two: RunStore, arguments: list[str], said: str) -> None:
    write("a.jsonl", questions(5))
    before = sorted(Path().rglob("*"))
    code, _, err = harness("pairs", "--out", "new.jsonl", *arguments)
    assert code == 3
    assert said in err
    assert sorted(Path().rglob("*")) == before


# ---------------------------------------------------------------- negatives


def test_negatives_of_a_file_and_of_a_suite(harness: Run) -> None:
    asked = [
        {"prompt": f"Pay {n}.", "tools": TOOLS, "completion": json.dumps([{"name": "pay", "arguments": {"n": n}}])}
        for n in range(30)
    ]
    write("calls.jsonl", [*asked, {"prompt": "Hello?", "completion": "Hello."}])
    code, out, _ = harness("negatives", "calls.jsonl", "--out", "n.jsonl", "--kinds", "wrong_value,no_call", "--json")
    report = json.loads(out)
    assert (code, report["rows"], report["used"], report["unreadable"]) == (0, 30, 30, 1)
    made = rows("n.jsonl")
    assert [row["chosen"] for row in made] == [row["completion"] for row in asked]
    assert {row["extra"]["mutation"] for row in made} == {"wrong_value", "no_call"}
    for n, row in enumerate(made):
        assert row["origin"] == {"source": "calls.jsonl", "place": n + 1}
        right = [{"name": "pay", "arguments": {"n": n + 1}}]
        assert json.loads(row["rejected"]) == (right if row["extra"]["mutation"] == "wrong_value" else [])
    assert len(list(read_rows(Path("n.jsonl")))) == 30

    code, out, _ = harness("negatives", "tool-calls", "--out", "s.jsonl", "--as", "labels")
    assert code == 0
    assert "prompts: 568, used: 568" in out
    assert Counter(row["label"] for row in rows("s.jsonl")) == {True: 568, False: 568}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.jsonl"], "a.jsonl: of 5 prompts 5 have no right tool calls to make wrong ones from"),
        (["missing.jsonl"], "missing.jsonl: there is no such file"),
        (["tool-call"], "tool-calls"),
        (["tool-calls-live"], "suite tool-calls-live: it has no training prompts"),
        (["a.jsonl", "--kinds", "wrong_tools"], "there is no kind 'wrong_tools'. Did you mean wrong_tool"),
        (["tool-calls", "--out", "a.jsonl"], "a.jsonl: it is there already"),
    ],
)
def test_negatives_refuses_before_it_writes(harness: Run, arguments: list[str], said: str) -> None:
    write("a.jsonl", questions(5))
    code, _, err = harness("negatives", "--out", "new.jsonl", *arguments)
    assert code == 3
    assert said in err
    assert [path.name for path in Path().iterdir()] == ["a.jsonl"]


# ---------------------------------------------------------------- adversarial


def test_adversarial_variants_of_a_file_and_of_a_suite(harness: Run) -> None:
    call = json.dumps([{"name": "pay", "arguments": {"n": 1}}])
    other = [{"name": "draw_chart", "parameters": {"properties": {}}}]
    asked = [{"prompt": "Pay one euro, please.", "tools": TOOLS, "completion": call}]
    asked += [{"prompt": "Draw it.", "tools": other, "completion": "[]"}, {"prompt": "Hello?", "completion": "Hi."}]
    before = write("calls.jsonl", asked)
    arguments = ["adversarial", "calls.jsonl", "--kinds", "missing_tool,more_tools", "--per-prompt", "2"]
    code, out, _ = harness(*arguments, "--out", "v.jsonl", "--json")
    report = json.loads(out)
    assert (code, report["read"], report["without"], report["rows"]) == (0, 3, 2, 2)
    assert report["written"] == {"missing_tool": 1, "more_tools": 1}
    made = {row["extra"]["variant"]: row for row in rows("v.jsonl")}
    assert made["missing_tool"]["completion"] == "[]"
    assert [tool["name"] for tool in made["missing_tool"]["tools"]] == ["draw_chart"]
    assert made["more_tools"]["completion"] == call
    assert {tool["name"] for tool in made["more_tools"]["tools"]} == {"pay", "draw_chart"}
    assert all(row["origin"] == {"source": "calls.jsonl", "place": 1} for row in made.values())
    assert len(list(read_rows(Path("v.jsonl")))) == 2
    assert Path("calls.jsonl").read_bytes() == before
    harness(*arguments[:-3], "missing_tool,more_tools,missing_tool", "--per-prompt", "3", "--out", "again.jsonl")
    assert Path("again.jsonl").read_bytes() == Path("v.jsonl").read_bytes()

    code, out, _ = harness("adversarial", "tool-calls", "--out", "s.jsonl", "--kinds", "shuffled_tools,typos")
    assert code == 0
    assert set(Counter(row["extra"]["variant"] for row in rows("s.jsonl"))) == {"shuffled_tools", "typos"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.jsonl", "--kinds", "more_tools"], "a.jsonl: none of its 5 rows has a variant of kind more_tools"),
        (["a.jsonl", "--kinds", "typo"], "there is no kind 'typo'. Did you mean typos"),
        (["missing.jsonl"], "missing.jsonl: there is no such file"),
        (["tool-calls-live"], "suite tool-calls-live: it has no training prompts"),
        (["a.jsonl", "--out", "a.jsonl"], "a.jsonl: it is there already"),
        (["a.jsonl", "--out", "none/new.jsonl"], "none: there is no such folder"),
    ],
)
def test_adversarial_refuses_before_it_writes(harness: Run, arguments: list[str], said: str) -> None:
    write("a.jsonl", questions(5))
    code, _, err = harness("adversarial", "--out", "new.jsonl", *arguments)
    assert code == 3
    assert said in err
    assert [path.name for path in Path().iterdir()] == ["a.jsonl"]


# ---------------------------------------------------------------- mix


def test_mix_keeps_weights_and_says_where_rows_are_from(harness: Run) -> None:
    write("a.jsonl", questions(70))
    write("b.jsonl", questions(100, 1000))
    code, out, _ = harness("mix", "a.jsonl=0.7", "b.jsonl=0.3", "--out", "m.jsonl", "--json")
    report = json.loads(out)
    assert (code, report["rows"], report["shrunk"]) == (0, 100, None)
    made = rows("m.jsonl")
    assert Counter(row["origin"]["source"] for row in made) == {"a.jsonl": 70, "b.jsonl": 30}
    for row in made:
        place = row["origin"]["place"] + (999 if row["origin"]["source"] == "b.jsonl" else -1)
        assert row["completion"] == f"It is {place}."
    assert [row["completion"] for row in made] != sorted(row["completion"] for row in made)

    code, _, err = harness("mix", "a.jsonl=0.7", "b.jsonl=0.3", "--out", "big.jsonl", "--size", "500")
    assert "500 rows were asked for, and the weights can be met with 100." in err
    assert Path("big.jsonl").read_bytes() == Path("m.jsonl").read_bytes()
    harness("mix", "a.jsonl=0.7", "b.jsonl=0.3", "--out", "twice.jsonl", "--max-repeats", "2")
    assert Counter(row["origin"]["source"] for row in rows("twice.jsonl")) == {"a.jsonl": 140, "b.jsonl": 60}
    assert harness("mix", "m.jsonl", "--out", "again.jsonl")[0] == 0
    assert Counter(row["origin"]["source"] for row in rows("again.jsonl")) == {"a.jsonl": 70, "b.jsonl": 30}


def test_mix_from_easy_to_hard(harness: Run) -> None:
    write("a.jsonl", questions(40))
    code, _, err = harness("mix", "a.jsonl", "--out", "m.jsonl", "--curriculum", "topic", "--buckets", "4")
    assert code == 0
    assert "harness train shuffles what it is given in every epoch" in err
    topics = [row["extra"]["topic"] for row in rows("m.jsonl")]
    assert [sorted(topics[start : start + 10]) for start in range(0, 40, 10)] == [
        list(range(start, start + 10)) for start in range(0, 40, 10)
    ]
    assert topics != list(range(40))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.jsonl=0.5", "a.jsonl"], "mix: only some sources have a weight"),
        (["a.jsonl=0.5", "--temperature", "2"], "mix: --temperature weighs by size"),
        (["a.jsonl=0"], "mix: weights.0 = 0.0: Input should be greater than 0"),
        (["a.jsonl=nan"], "mix: weights.0 = nan: "),
        (["a.jsonl=1", "empty.jsonl=1"], "empty.jsonl: it holds no row"),
        (["a.jsonl", "--curriculum", "difficulty"], "a.jsonl:1: column 'pass_rate' holds no number"),
        (["a.jsonl", "--out", "a.jsonl"], "a.jsonl: it is there already"),
        (["a.jsonl", "--out", "new.csv"], "new.csv: what is written is JSONL"),
        (["a.jsonl=1", "a.jsonl=2"], "a.jsonl: it is named twice"),
        (["a.jsonl", "--buckets", "3"], "--buckets: they are steps of a curriculum"),
    ],
)
def test_mix_refuses_before_it_writes(harness: Run, arguments: list[str], said: str) -> None:
    write("a.jsonl", questions(5))
    Path("empty.jsonl").touch()
    code, _, err = harness("mix", "--out", "new.jsonl", *arguments)
    assert code == 3
    assert said in err
    assert sorted(path.name for path in Path().iterdir()) == ["a.jsonl", "empty.jsonl"]
