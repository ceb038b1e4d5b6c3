"""Are these the calls that were due? `target` reads what is due, `strict` and `bfcl` compare one argument, `compare`
compares calls, and `judge` turns that into scores."""
