"""The `server` generator against a real HTTP server, which fails in every way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from llm_server import WRITTEN, Body, completed, question, serve
from tiny_llama import ask

import harness
from harness.chat import constraint_schema
from harness.config import EvalConfig, GeneratorRef
from harness.errors import ConfigError, HarnessError
from harness.plugins import load_registry
from harness.protocols import ModelRef, RunContext, SilentProgress
from harness.tools import DECLINE, ToolCall, parse_calls, render_tools, write_calls
from harness.types import AdapterCheckpoint, Prompt, Sampling
from harness_plugins.generators.configs import ServerConfig
from harness_plugins.generators.server import ServerGenerator

SERVED = ModelRef("served", None, "f")
TOOLS = json.dumps(
    [{"name": "add", "description": "Adds", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}]
)
WARM = Sampling(temperature=0.7, top_p=0.9, max_tokens=33)


@pytest.fixture(autouse=True)
def no_server_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def generator(url: str, **settings: Any) -> ServerGenerator:
    return ServerGenerator(ServerConfig(base_url=url, **settings), RunContext(model=SERVED))


def prompts(count: int) -> list[Prompt]:
    return [ask(f"question {i}", id=f"p{i}") for i in range(count)]


def echo(body: Body) -> str:
    return f"{question(body)} seed {body['seed']}"


def slow_echo(body: Body) -> str:
    time.sleep(0.001 * (body["seed"] % 30))  # answers overtake each other
    return echo(body)


def replying(message: Mapping[str, Any], reason: str = "stop") -> Any:
    return lambda body: {**completed("", body), "choices": [{"index": 0, "message": message, "finish_reason": reason}]}


# ---------------------------------------------------------------- what is sent, and what comes of it


def test_answers_stand_in_the_order_of_the_prompts_each_under_its_own_seed() -> None:
    with serve(slow_echo) as server:
        served = generator(server.url, max_connections=12)
        groups = served.generate(prompts(10), n=3, sampling=WARM, seed=5)
        again = served.generate(prompts(10)[4:], n=3, sampling=WARM, seed=5)
        other = served.generate(prompts(1), n=3, sampling=WARM, seed=6)
    texts = [[c.text for c in group.completions] for group in groups]
    assert [t.split(" seed ")[0] for one in texts for t in one] == [
        f"question {i}" for i in range(10) for _ in range(3)
    ]
    seeds = [int(text.split(" seed ")[1]) for one in texts for text in one]
    assert len(set(seeds)) == 30
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert [[c.text for c in group.completions] for group in again] == texts[4:]  # whatever is sampled beside them
    assert not {c.text for c in other[0].completions} & set(texts[0])


def test_groups_say_what_is_not_known() -> None:
    with serve(echo) as server:
        [group] = generator(server.url).generate(prompts(1), n=1, sampling=WARM, seed=0)
    [completion] = group.completions
    assert (group.prompt_token_ids, completion.token_ids, completion.logprobs) == ((), (), None)
    assert (group.policy_version, group.generator, group.sampling) == ("base", "server", WARM)
    assert completion.finish_reason == "stop"


def test_sampling_settings_are_fields_of_the_api() -> None:
    with serve(echo) as server:
        named = generator(server.url, model="other", extra_body={"repetition_penalty": 1.1})
        named.generate(prompts(1), n=1, sampling=Sampling(0.5, top_k=7, min_p=0.1, max_tokens=9), seed=0)
        generator(server.url, max_tokens_field="max_completion_tokens").generate(prompts(1), n=1, sampling=WARM, seed=0)
        first, second = server.seen
    sent = {key: first[key] for key in ("model", "temperature", "top_p", "top_k", "min_p", "max_tokens")}
    assert sent == {"model": "other", "temperature": 0.5, "top_p": 1.0, "top_k": 7, "min_p": 0.1, "max_tokens": 9}
    assert first["repetition_penalty"] == 1.1
    assert second["model"] == "served"  # the run's
    assert (second["max_completion_tokens"], second["top_p"]) == (33, 0.9)
    assert not {"max_tokens", "top_k", "min_p", "tools", "response_format"} & set(second)


def test_tools_are_written_into_the_system_message_or_sent_beside_it() -> None:
    prompt = Prompt("t", ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "add 1"}), TOOLS)
    with serve(echo) as server:
        for sends in (False, True):
            generator(server.url, send_tools=sends).generate([prompt], n=1, sampling=WARM, seed=0)
        written, sent = server.seen
    assert written["messages"][0]["content"] == f"{render_tools(TOOLS)}\n\nBe brief."
    assert "tools" not in written
    assert sent["messages"][0]["content"] == f"Be brief.\n\n{DECLINE}"
    assert sent["tools"] == [{"type": "function", "function": tool} for tool in json.loads(TOOLS)]


@pytest.mark.parametrize("arguments", ['{"x": 1, "name": "\u00e9"}', "{}"])
def test_returned_calls_are_read_as_those_of_any_other_model(arguments: str) -> None:
    calls = [{"id": str(i), "type": "function", "function": {"name": "add", "arguments": arguments}} for i in range(2)]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    with serve(replying(message, "tool_calls"), whole=True) as server:
        [group] = generator(server.url, send_tools=True).generate(prompts(1), n=1, sampling=WARM, seed=0)
    assert parse_calls(group.completions[0].text) == [ToolCall("add", json.loads(arguments))] * 2
    assert group.completions[0].finish_reason == "stop"


def test_names_that_the_protocol_does_not_allow_are_changed_on_the_way() -> None:
    tools = json.dumps([{"name": "math.add", "parameters": {}}, {"name": "other", "parameters": {}}])
    calls = [
        {"id": "1", "type": "function", "function": {"name": n, "arguments": "{}"}} for n in ("math_add", "made_up")
    ]
    asked = Prompt("t", ({"role": "user", "content": "add"},), tools)
    with serve(replying({"role": "assistant", "tool_calls": calls}, "tool_calls"), whole=True) as server:
        [group] = generator(server.url, send_tools=True).generate([asked], n=1, sampling=WARM, seed=0)
        assert [tool["function"]["name"] for tool in server.seen[0]["tools"]] == ["math_add", "other"]
        alike = replace(asked, tools=tools.replace("other", "math_add"))
        with pytest.raises(HarnessError, match=r"prompt t: .*tell its tools apart"):
            generator(server.url, send_tools=True).generate([alike], n=1, sampling=WARM, seed=0)
    assert [call.name for call in parse_calls(group.completions[0].text)] == ["math.add", "made_up"]


def test_arguments_that_are_not_json_are_the_model_s_own_failure() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"x": '}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    with serve(replying(message), whole=True) as server:
        [group] = generator(server.url).generate(prompts(1), n=1, sampling=WARM, seed=0)
    assert group.completions[0].text == '[{"name": "add", "arguments": {"x": }]'
    with pytest.raises(ValueError, match="not JSON"):
        parse_calls(group.completions[0].text)


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        ({"content": "some", "refusal": None}, "content_filter", "some"),
        ({"content": None}, "content_filter", ""),
        ({"content": None, "refusal": "I will not."}, "stop", "I will not."),
        ({"content": "half \ud83d"}, "stop", "half ?"),
    ],
)
def test_what_is_withheld_refused_or_broken_is_an_answer(message: dict[str, Any], reason: str, text: str) -> None:
    with serve(replying({"role": "assistant", **message}, reason), whole=True) as server:
        [group] = generator(server.url, retries=0).generate(prompts(1), n=1, sampling=WARM, seed=0)
    assert (group.completions[0].text, group.completions[0].finish_reason) == (text, "stop")


def test_a_schema_constrains_the_answer() -> None:
    free = ask("a", schema='{"type": "object", "properties": {"a": {"type": "string"}}}')
    tools = Prompt("t", ({"role": "user", "content": "add 1"},), TOOLS)
    held = Sampling(constrained=True)
    with serve(echo) as server:
        generator(server.url).generate([free, tools], n=1, sampling=held, seed=0)
        sent = {question(body): body["response_format"] for body in server.seen}
        with pytest.raises(HarnessError, match=r"prompt t: .*send_tools"):
            generator(server.url, send_tools=True).generate([tools], n=1, sampling=held, seed=0)
        with pytest.raises(HarnessError, match="needs a schema"):
            generator(server.url).generate([ask("b")], n=1, sampling=held, seed=0)
    for prompt in (free, tools):
        said = sent[prompt.messages[-1]["content"]]
        assert (said["type"], said["json_schema"]["strict"]) == ("json_schema", True)
        assert said["json_schema"]["schema"] == constraint_schema(prompt)


def test_an_answer_that_ran_into_the_limit_is_cut_off() -> None:
    with serve(echo, faults={"cut off": 1.0}) as server:
        [group] = generator(server.url).generate(prompts(1), n=1, sampling=WARM, seed=0)
    assert group.completions[0].finish_reason == "length"


# ---------------------------------------------------------------- servers that fail


def test_nothing_is_lost_by_a_server_that_fails_in_every_way() -> None:
    faults = dict.fromkeys(("429", "500", "hangs", "breaks off", "broken json", "no completion"), 0.05)
    with serve(slow_echo, faults={"ok": 0.7, **faults}, hang=0.8) as server:
        served = generator(server.url, timeout=0.4, retries=12, max_connections=25)
        groups = served.generate(prompts(15), n=2, sampling=WARM, seed=0)
        assert set(server.served) == {"ok", *faults}
    with serve(echo) as sound:
        expected = generator(sound.url).generate(prompts(15), n=2, sampling=WARM, seed=0)
    assert groups == expected


@pytest.mark.parametrize("fault", ["500", "hangs", "broken json", "no completion", "breaks off"])
def test_what_fails_in_spite_of_retries_says_which_prompt_and_what_to_do(fault: str) -> None:
    started = time.monotonic()
    with serve(echo, faults={fault: 1.0}, hang=30) as server:
        served = generator(server.url, timeout=0.2, retries=1)
        with pytest.raises(HarnessError, match=r"prompt p0: no answer came in spite of 1 retries .*See whether"):
            served.generate(prompts(1), n=1, sampling=WARM, seed=0)
        assert sum(server.served.values()) == 2
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("status", "says"),
    [("400", r"prompt p0: the server cannot answer this"), ("401", "OPENAI_API_KEY"), ("404", "model")],
)
def test_what_a_server_refuses_is_not_asked_again(status: str, says: str) -> None:
    with serve(echo, faults={status: 1.0}) as server:
        with pytest.raises(HarnessError, match=says):
            generator(server.url).generate(prompts(1), n=1, sampling=WARM, seed=0)
        assert sum(server.served.values()) == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"content": [{"type": "text"}]}, "stop"),
        ({"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]}, "stop"),
        ({"content": "x"}, "no idea"),
        ({"content": "x"}, None),
        ("hi", "stop"),
    ],
)
def test_a_body_that_is_no_answer_is_none(message: Any, reason: Any) -> None:
    with serve(replying(message, reason), whole=True) as server, pytest.raises(HarnessError, match="no answer came"):
        generator(server.url, retries=0).generate(prompts(1), n=1, sampling=WARM, seed=0)


def test_no_more_requests_are_under_way_than_allowed() -> None:
    with serve(lambda body: time.sleep(0.02) or "x") as server:  # type: ignore[func-returns-value]
        generator(server.url, max_connections=3).generate(prompts(8), n=3, sampling=WARM, seed=0)
        assert server.most_at_once == 3


def test_progress_is_shown() -> None:
    class Bar(SilentProgress):
        tasks: ClassVar[list[tuple[str, float | None]]] = []
        figures: ClassVar[list[float]] = []

        @contextmanager
        def task(self, description: str, total: float | None = None) -> Iterator[Any]:
            self.tasks.append((description, total))
            yield lambda amount=1, **figures: self.figures.append(figures["tokens_per_s"])

    started = time.perf_counter()
    with serve(echo) as server:
        context = RunContext(model=SERVED, progress=Bar())
        ServerGenerator(ServerConfig(base_url=server.url), context).generate(prompts(4), n=2, sampling=WARM, seed=0)
    assert Bar.tasks == [("generate", 8)]
    assert len(Bar.figures) == 8
    assert Bar.figures[-1] > 8 * WRITTEN / (time.perf_counter() - started)


def test_what_only_weights_could_do_is_refused(tmp_path: Path) -> None:
    served = generator("http://127.0.0.1:9/v1")
    served.load_adapter(None)
    assert served.score_tokens([1, 2, 3]) is None
    with pytest.raises(ConfigError, match=r"adapter.*--model NAME"):
        served.load_adapter(AdapterCheckpoint(tmp_path, "v", "b"))
    with pytest.raises(HarnessError, match="no messages"):
        served.generate([Prompt("d", ())], n=1, sampling=WARM, seed=0)
    with pytest.raises(ConfigError, match="a server holds this model"):
        _ = SERVED.path


def test_the_client_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "harness_plugins.generators.server")
    with pytest.raises(HarnessError, match=r"openai is not installed.*harness-align\[server\]"):
        load_registry().create("generator", "server", {}, RunContext(model=SERVED))


def test_a_server_of_others_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="the environment has no MY_KEY"):
        ServerGenerator(ServerConfig(api_key_env="MY_KEY"), RunContext(model=SERVED))


# ---------------------------------------------------------------- evaluating


def letter(body: Body) -> str:
    return question(body)[-1]


def test_a_model_is_evaluated_by_the_name_that_its_server_has_for_it(
    letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.assets.model", lambda *_: pytest.fail("no model is needed here"))
    with serve(letter) as server:
        ref = GeneratorRef(name="server", config={"base_url": server.url})
        report, results = harness.evaluate(
            str(letters), model="org/far-away", generator=ref, config=EvalConfig(limit=6)
        )
        assert {body["model"] for body in server.seen} == {"org/far-away"}
    assert report.suites[0].mean == 1.0
    assert len(results["letters"]) == 6


SUITE = """[suite]
name = "calls"
version = "1"
role = "target"
summary = "Adds"
license = "none"
items = "items.jsonl"

[[judges]]
name = "tool_call"
"""


@pytest.mark.parametrize("sends", [True, False])
def test_calls_are_judged_alike_however_they_come(tmp_path: Path, sends: bool) -> None:
    """Of three items one is declined as it should be, one called as it should be, and one called wrongly."""
    due = [[], [{"name": "add", "arguments": {"x": [1]}}], [{"name": "add", "arguments": {"x": [2]}}]]
    rows = [
        {"id": str(i), "prompt": f"{i}", "tools": json.loads(TOOLS), "target": {"calls": calls}}
        for i, calls in enumerate(due)
    ]
    (tmp_path / "suite.toml").write_text(SUITE)
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def reply(body: Body) -> dict[str, Any]:
        called = [] if question(body) == "0" else [ToolCall("add", {"x": 1})]
        if called and "tools" in body:
            function = {"name": "add", "arguments": '{"x": 1}'}
            return replying({"tool_calls": [{"id": "1", "type": "function", "function": function}]}, "tool_calls")(body)
        return completed(write_calls(called), body)

    with serve(reply, whole=True) as server:
        ref = GeneratorRef(name="server", config={"base_url": server.url, "send_tools": sends})
        report, _ = harness.evaluate(str(tmp_path), model="m", generator=ref)
    assert [item.score for item in report.suites[0].items] == [1.0, 1.0, 0.0]


def test_an_adapter_is_the_server_s_affair(letters: Path, adapters: Any) -> None:
    ref = GeneratorRef(name="server", config={"base_url": "http://127.0.0.1:9/v1"})
    with pytest.raises(ConfigError, match=r"adapter.*--model NAME"):
        harness.evaluate(str(letters), model="m", adapter=adapters(0).path, generator=ref)


def test_what_identifies_a_served_model() -> None:
    served = load_registry().get("generator", "server").spec.served

    def fingerprint(name: str = "m", **settings: Any) -> str:
        return served(ServerConfig(**settings), name).fingerprint

    assert fingerprint() == fingerprint(model="m") == fingerprint(max_connections=3, timeout=1.0, retries=0)
    others = [
        fingerprint("n"),
        fingerprint(model="n", base_url="u"),
        fingerprint(base_url="u"),
        fingerprint(revision="2"),
    ]
    assert len({fingerprint(), *others}) == 5
    assert set(ServerConfig().identity()) == set(ServerConfig.model_fields) - {
        *("api_key_env", "max_connections", "timeout", "retries")
    }


def test_ctrl_c_ends_an_evaluation_at_once(letters: Path) -> None:
    with serve(echo, faults={"hangs": 1.0}, hang=30) as server:
        command = [sys.executable, "-c", "from harness.cli import main; main()", "-q", "eval"]
        command += ["--suite", str(letters), "--model", "m"]
        command += ["--generator", "server", "--set", f"base_url={server.url}", "--set", "max_connections=4"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while server.most_at_once < 4 and process.poll() is None:
            time.sleep(0.02)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        assert time.monotonic() - started < 5
