"""A process that has imported the whole command line, and forks one that runs a command whenever it is asked.

Importing takes a command most of its time. What is forked is a process as any other: it has an environment,
standard streams and an exit code of its own, and nothing it does is seen by the next.

    python -m tests.integration.ready_shell SOCKET
"""

import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from keyweave.cli.main import main
from keyweave.cli.report import from_prometheus, html  # noqa: F401  # imported here, so that no command has to
from keyweave.cli.words import command_line
from keyweave.common import process


def serve(path: Path) -> None:
    """Answer calls until whoever started this dies."""
    process.die_with_parent()
    command_line()  # imports what all commands need
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        while True:
            calling, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(calling)
                os._exit(0)
            calling.close()


def _answer(calling: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with calling, calling.makefile("rb") as asked:
        call = json.loads(asked.read())
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            running = os.fork()
            if running == 0:
                calling.close()
                _run(call, out.fileno(), err.fileno())
            _, status = os.waitpid(running, 0)
            for file in (out, err):
                file.seek(0)
            told: dict[str, Any] = {"out": out.read().decode(), "err": err.read().decode()}
        told["code"] = os.waitstatus_to_exitcode(status)
        calling.sendall(json.dumps(told).encode())


def _run(call: dict[str, Any], out: int, err: int) -> None:
    os.environ.clear()
    os.environ.update(call["environment"])
    os.chdir(call["directory"])
    with Path(os.devnull).open("rb") as nothing:
        for number, file in enumerate((nothing.fileno(), out, err)):
            os.dup2(file, number)
    code = 1
    try:
        code = main(call["arguments"])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001  # as an interpreter does
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
