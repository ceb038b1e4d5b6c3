"""A judge in eight lines: harness --plugin examples/eight_lines.py plugins"""

import harness


def brief(prompts, completions, **columns):
    """Is it at most twenty words?"""
    return [float(len(c[0]["content"].split()) <= 20) for c in completions]


@harness.hookimpl
def harness_register_judges():
    return [harness.function_judge(brief, deterministic=True)]
