"""Judges that ask a language model: a prompt that people can read, a schema for the reply, and a parser.

`asking` settles questions with a provider (`server`, `local`); `prompts` and
`rubric` say what is asked; `pointwise`, `pairwise` and `ranking` are the judges.
"""
