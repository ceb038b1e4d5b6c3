"""What this package registers. Nothing heavy is imported until a filter is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from harness.protocols import RunContext
from harness.specs import FilterSpec
from harness_plugins.filters.quality.configs import (
    BoilerplateConfig,
    LanguageConfig,
    LengthConfig,
    RepetitionConfig,
    SpamConfig,
    SymbolsConfig,
    TemplatesConfig,
    TruncationConfig,
)


def _lazy(module: str, name: str) -> Callable[[Any, RunContext], Any]:
    """`create` of a filter whose module is imported when a use of data names it."""

    def create(config: Any, context: RunContext) -> Any:
        return getattr(import_module(f"harness_plugins.filters.quality.{module}"), name)(config)

    return create


SPECS: tuple[FilterSpec, ...] = (
    FilterSpec(
        "format",
        "Roles, turns, chat separators, tools and calls",
        _lazy("format", "FormatFilter"),
        reasons={
            "unknown_role": "a role other than system, user, assistant and tool",
            "system_not_first": "a system message after the first",
            "repeated_role": "two turns of the user or of the assistant in a row",
            "no_question": "nothing is asked, or the last turn is not the user's or a tool's",
            "empty_turn": "a turn says nothing",
            "no_answer": "fewer answers than a record of its kind has",
            "empty_answer": "an answer says nothing",
            "equal_pair": "the chosen answer is the rejected one",
            "separator": "a chat template's token, or its marks, within text",
            "extra_turn": "an answer goes on with the other's turn",
            "placeholder": "a slot of a template that nothing was filled into",
            "bad_tools": "the tools are no JSON array of functions with JSON Schemas",
            "broken_call": "an answer begins as a call and cannot be read",
            "unknown_tool": "an answer calls what is not among the tools",
            "bad_arguments": "an answer's arguments are not what the tool's schema allows",
        },
    ),
    FilterSpec(
        "length",
        "Prompts and answers of unusual length",
        _lazy("length", "LengthFilter"),
        LengthConfig,
        reasons={
            "too_short": "an answer under `min_answer`, or far shorter than the others",
            "too_long": "a prompt or an answer over `max_chars`, or far longer than the others",
        },
    ),
    FilterSpec(
        "repetition",
        "Answers that say the same again and again",
        _lazy("repetition", "RepetitionFilter"),
        RepetitionConfig,
        reasons={
            "duplicate_lines": "too many lines, or too much in lines, that were there before",
            "duplicate_paragraphs": "too many paragraphs, or too much in paragraphs, that were there before",
            "top_ngram": "too much is one and the same run of 2 to 4 words",
            "duplicate_ngrams": "too much is in runs of 5 to 10 words that come more than once",
        },
    ),
    FilterSpec(
        "symbols",
        "Text of too many symbols, or of broken characters",
        _lazy("symbols", "SymbolsFilter"),
        SymbolsConfig,
        reasons={
            "control_characters": "characters that mean nothing in text, or stand for ones that were lost",
            "mojibake": "text that was decoded with the wrong encoding",
            "blob": "base64 or hexadecimal digits",
            "symbol_share": "too few letters and digits",
            "symbol_ratio": "too many hash signs or ellipses for its words",
            "bullet_lines": "raw text of hardly anything but list items",
            "ellipsis_lines": "too many lines that end in an ellipsis",
            "word_length": "words are too short or too long in the mean",
            "alphabetic_words": "too many words without a letter",
        },
    ),
    FilterSpec(
        "boilerplate",
        "Phrases of web pages and of assistants",
        _lazy("boilerplate", "BoilerplateFilter"),
        BoilerplateConfig,
        reasons={
            "assistant_phrase": "an answer speaks of the assistant that wrote it",
            "web_phrase": "an answer holds what surrounds the text of a web page",
            "own_phrase": "an answer holds a phrase of the setting `more`",
            "closing": "an answer ends with an offer of further help",
        },
    ),
    FilterSpec(
        "truncation",
        "Answers that end in the middle",
        _lazy("truncation", "TruncationFilter"),
        TruncationConfig,
        reasons={
            "open_fence": "a code block is not closed",
            "open_json": "JSON is not closed",
            "open_end": "a long last line ends without punctuation, or with a word that no sentence ends with",
        },
    ),
    FilterSpec(
        "language",
        "Text in another language than those wanted",
        _lazy("language", "LanguageFilter"),
        LanguageConfig,
        reasons={
            "prompt_language": "what is asked reads as another language",
            "answer_language": "an answer reads as another language, which the prompt does not ask for",
        },
    ),
    FilterSpec(
        "spam",
        "Advertising: links, calls to buy, shouting, keywords",
        _lazy("spam", "SpamFilter"),
        SpamConfig,
        reasons={"spam": "enough signs of advertising in what is asked or in an answer"},
    ),
    FilterSpec(
        "templates",
        "One text with slots, too many times",
        _lazy("templates", "TemplatesFilter"),
        TemplatesConfig,
        reasons={"templated": "it is beyond what may be left of its template"},
    ),
)
