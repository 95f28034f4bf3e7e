"""`python -m tests.builds agent --config ...`: like `keyweave`, with agents that record what they do.

Environment: KEYWEAVE_TEST_HISTORY (folder for the records), KEYWEAVE_TEST_KEY (hex, the run's checker key),
KEYWEAVE_TEST_BREAK (name of a breakage, optional).
"""

import asyncio
import os
import sys
from pathlib import Path

from keyweave.agent import app
from keyweave.agent.config import AgentConfig
from keyweave.cli.main import main
from tests.builds.breakages import BREAKAGES
from tests.checker.history import Recorder

_serve = app.serve


async def _recorded(config: AgentConfig, stop: asyncio.Event) -> None:
    incarnation = os.urandom(8).hex()
    path = Path(os.environ["KEYWEAVE_TEST_HISTORY"]) / f"agent-{config.node}-{incarnation}.jsonl"
    key = bytes.fromhex(os.environ["KEYWEAVE_TEST_KEY"])
    await _serve(config, stop, Recorder(path, f"agent-{config.node}", incarnation, key))


if __name__ == "__main__":
    if "KEYWEAVE_TEST_HISTORY" in os.environ:
        setattr(app, "serve", _recorded)  # noqa: B010
    broken = os.environ.get("KEYWEAVE_TEST_BREAK")
    if broken:
        BREAKAGES[broken]()
    sys.exit(main())
