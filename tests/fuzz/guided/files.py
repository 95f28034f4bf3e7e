"""Files and lines that others may have written: configuration, scenarios, ledgers, tokens, requests."""

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import yaml
from pydantic import ValidationError

from keyweave.agent.ledger import lines, search, segments
from keyweave.common.names import NodeName
from keyweave.controller.audit.chain import _members_of
from keyweave.pki import messages
from keyweave.v1 import agent_pb2
from tests.fuzz import faces, pki
from tests.fuzz.guided.entry import Entry

HERE = NodeName("m")
SHIPPED = Path(__file__).parents[3] / "scenarios"


def _settings(which: int, data: bytes) -> None:
    """A refusal names the file and the field."""
    faces._read((which, data))


def _settings_seeds(which: int) -> Iterable[bytes]:
    text = faces._FILES[which][1]
    yield text.encode()
    yield yaml.safe_dump(yaml.safe_load(text)).encode()
    if faces._FILES[which][0].__name__ == "Scenario":
        yield (SHIPPED / "tokyo.yaml").read_bytes()
    yield b"a: &a [1]\nb: [*a, *a]\n<<: {c: !!binary x}\n"


@cache
def _directory() -> Path:
    made = Path(tempfile.mkdtemp(prefix="keyweave-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _ledger(data: bytes) -> None:
    """A file of the ledger that somebody has written in: told as such, read as far as it goes."""
    path = segments.segment_path(_directory(), 1)
    path.write_bytes(data)
    for head_only in (False, True):
        segments.check(path, None, head_only=head_only)
    segments.head_time_unix_nanos(path)
    query = agent_pb2.LedgerQuery(stream="s", to_unix_nanos=2**62, limit=10)
    assert [page.last for page in search.pages(_directory(), HERE, query)][-1]
    for streams in (None, frozenset({"s"})):
        assert all(entry.node == HERE for entry in search.delivered_over(_directory(), HERE, "l", 0, streams))
    for line in data.splitlines():
        _members_of(line)


def _ledger_seeds() -> Iterable[bytes]:
    head = lines.head_line("m", 1, 5, lines.NO_DIGEST)
    note, digest = lines.chained(lines.note_line("s", 6), lines.NO_DIGEST)
    yield head + note
    key = (
        b'{"sequence":1,"time_unix_nanos":2,"key_id":"k","created_unix_nanos":1,"stream":"s","key_size_bits":8,'
        b'"master_sae":"x","slave_sae":"y","is_master":true,"peer_node":"p","protection":"qkd","path_ids":["a"],'
        b'"links":["l"],"trusted_nodes":[],"emulated":true,"outcome":"delivered","reason":""'
    )
    yield head + lines.chained(key, digest)[0]
    yield head + lines.chained(key.replace(b"delivered", b"recalled"), digest)[0]
    yield head + segments.KEY_LINE + b'1e999,"time_unix_nanos":null}\n'


def _tokens(data: bytes) -> None:
    pki._parse_token(data)
    pki._certify(data)
    for model in (messages.Enrol, messages.Renew, messages.Certificates, messages.Problem):
        with suppress(ValidationError):
            model.model_validate_json(data)


def _token_seeds() -> Iterable[bytes]:
    yield pki._TOKEN.encode()
    yield from (request.encode() for request in pki._requests().values())
    yield b'{"secret": "5", "role": "agent", "name": "north", "requests": {"key": "x"}}'


_NAMES = ("scenario", "guard", "agent-configuration", "controller-configuration")
ENTRIES = (
    *(
        Entry(name, partial(_settings, which), partial(_settings_seeds, which), quick=60)
        for which, name in enumerate(_NAMES)
    ),
    Entry("ledger-files", _ledger, _ledger_seeds),
    Entry("tokens-and-requests", _tokens, _token_seeds),
)
