"""How each constraint is asked for. The two sides of the split have words of their own."""

from __future__ import annotations

from collections.abc import Mapping

WORDINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "held_out": {
        "words": ("Use between {low} and {high} words.", "The length must lie between {low} and {high} words."),
        "most_words": ("Use at most {high} words.", "Do not go beyond {high} words."),
        "sentences": ("Write exactly {n} sentences.", "Your answer must have {n} sentences, no more and no fewer."),
        "paragraphs": (
            "Write exactly {n} paragraphs, with a blank line between one and the next.",
            "Split the answer into {n} paragraphs separated by blank lines, neither more nor fewer.",
        ),
        "bullets": (
            "Answer with exactly {n} bullet points, each on a line of its own that starts with a hyphen.",
            "Give {n} bullets and not one more; every bullet is a line beginning with a hyphen and a space.",
        ),
        "headings": (
            "Divide the answer into {n} sections, each under a Markdown heading, which is a line starting with #.",
            "Use exactly {n} Markdown headings (lines that begin with #).",
        ),
        "heading": ('One of the headings must read "{text}".', 'Call one section "{text}" in its heading.'),
        "highlights": (
            "Emphasize at least {n} words or phrases by setting one or two asterisks before and after each.",
            "Mark at least {n} terms the Markdown way, between single or double asterisks.",
        ),
        "placeholders": (
            "Leave at least {n} gaps to be filled in later, each named in square brackets.",
            "Put in at least {n} placeholders, that is, words in square brackets which the reader replaces.",
        ),
        "keyword": (
            'The word "{text}" has to appear at least {times}.',
            'Work in the word "{text}" at least {times}.',
        ),
        "forbidden": ('Avoid the word "{text}" altogether.', 'The word "{text}" may not occur.'),
        "responses": (
            "Give two different answers and put a line with nothing but {separator} between them.",
            "I want two versions that differ. Separate them by {separator} on a line of its own.",
        ),
        "starts": ('Your first words must be "{text}"', 'Open with precisely this: "{text}"'),
        "ends": ('Your last words must be "{text}"', 'Close with precisely this: "{text}"'),
        "postscript": (
            "At the end add a postscript in its own paragraph, introduced by P.S.",
            "Finish with a separate last paragraph that begins with P.S.",
        ),
        "no_commas": ("Use no commas.", "There must not be a single comma in it."),
        "lower": (
            "Write everything in small letters, even the first one.",
            "No capital letters are allowed anywhere.",
        ),
        "upper": ("Write everything in capital letters.", "Every single letter must be a capital."),
        "title": ("Begin every word with a capital letter.", "Each word, however short, starts with a capital."),
        "json": (
            'Answer with nothing but a JSON object that has the keys "title" and "text".',
            'The whole answer must be one valid JSON object with "title" and "text" as its keys.',
        ),
    },
    "train": {
        "words": ("Aim for {low} to {high} words.", "Keep it to no fewer than {low} and no more than {high} words."),
        "most_words": ("Stay within {high} words.", "{high} words is the limit."),
        "sentences": ("Do it in {n} sentences exactly.", "I need precisely {n} sentences."),
        "paragraphs": (
            "Make it {n} paragraphs and leave an empty line after each.",
            "There should be precisely {n} paragraphs with an empty line in between.",
        ),
        "bullets": (
            'Put it as a list of precisely {n} points; begin each line with "- ".',
            'Make a list with "- " in front of every point, {n} points in total.',
        ),
        "headings": (
            "Structure it with precisely {n} headings in Markdown, marked by #.",
            "It needs {n} parts, and above each part stands a Markdown heading such as # Part.",
        ),
        "heading": ('Name one of the parts "{text}".', '"{text}" should be one of the headings.'),
        "highlights": (
            "Stress {n} or more expressions with asterisks on both sides, as Markdown does.",
            "Highlight no fewer than {n} key terms in Markdown, wrapped in asterisks.",
        ),
        "placeholders": (
            "Include no fewer than {n} placeholders in square brackets.",
            "Where details are missing put placeholders in square brackets, {n} at the least.",
        ),
        "keyword": ('Say "{text}" {times} or more often.', 'Bring in "{text}" {times} at the least.'),
        "forbidden": ('Never say "{text}".', 'Do without the word "{text}".'),
        "responses": (
            "Offer two distinct replies, with {separator} on a line of its own between them.",
            "Answer twice in different ways and let the line {separator} divide the two.",
        ),
        "starts": ('Start with the words "{text}"', 'The beginning has to be "{text}"'),
        "ends": ('Stop after the words "{text}"', 'The end has to be "{text}"'),
        "postscript": (
            "Append a P.S. as the final paragraph.",
            "After the text put an empty line and then a remark that starts with P.S.",
        ),
        "no_commas": ("Leave out commas.", "Get by without commas."),
        "lower": ("Stick to lower case throughout.", "Use lower case letters only."),
        "upper": ("Stick to upper case throughout.", "Use upper case letters only."),
        "title": ("Capitalize each word.", "Use a capital at the start of each and every word."),
        "json": (
            'Wrap it in a JSON object with the keys "title" and "text", and output that alone.',
            'Return only JSON: an object whose keys are "title" and "text".',
        ),
    },
}

STARTS = {
    "held_out": ("In plain words:", "Here is what matters:", "The short answer goes like this:"),
    "train": ("To put it simply:", "This is the idea:", "Let me tell you:"),
}
ENDS = {
    "held_out": ("That is all there is to it.", "The rest is practice.", "Nothing else is needed."),
    "train": ("And that is it.", "Now you know.", "So much for the essentials."),
}
SEPARATORS = {"held_out": ("******", "=====", "-----"), "train": ("~~~~~~", "++++", "%%%%%")}
HEADINGS = {
    "held_out": (("At first", "Later on"), ("To begin with", "What follows"), ("The start", "The rest")),
    "train": (("First part", "Second part"), ("Opening", "Continuation"), ("Before", "After")),
}
GAPS = {"held_out": "Ask [name] in [place] for more.", "train": "For more see [title] by [author]."}
