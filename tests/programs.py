"""For scripts: the path of the agent that `cargo build` or `cargo test` built."""

import os
import pathlib

AGENT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(__file__).resolve().parents[1] / "target") / "debug/heka-insights-agent"
