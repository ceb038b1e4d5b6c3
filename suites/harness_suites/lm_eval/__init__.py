"""Tasks of EleutherAI's lm-evaluation-harness as suites: `--suite lm_eval:TASK`."""
