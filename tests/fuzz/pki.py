"""Tokens, requests to certify a key, what the enrolment service is sent, and backups."""

import atexit
import base64
import contextlib
import io
import shutil
import tarfile
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from keyweave.common.errors import InvalidInputError, KeyweaveError
from keyweave.common.identity import Role
from keyweave.controller import backup
from keyweave.pki import messages
from keyweave.pki.enrolling import new_keys
from keyweave.pki.enrolment import Enrolment
from keyweave.pki.holders import Holder
from keyweave.pki.requests import make_request, requested_key
from keyweave.pki.tokens import Token
from tests.authorities import authorities_in, new_token
from tests.fuzz.target import Target

NORTH = Holder(Role.AGENT, "north")
SECRET = "5" * 64


@cache
def _requests() -> dict[str, str]:
    return {kind: make_request(key).decode() for kind, key in new_keys(NORTH).items()}


@st.composite
def _damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Something, or `whole` with a piece of it replaced."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=400))
    at = draw(st.integers(0, len(whole)))
    return whole[:at] + draw(st.binary(max_size=8)) + whole[at + draw(st.integers(0, 8)) :]


# ---- tokens ------------------------------------------------------------------------------------

_TOKEN = Token.to("pki.example:8444", "0" * 64, NORTH).text()


def _parse_token(text: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        Token.parse(text.decode("utf-8", errors="replace"))


# ---- requests ----------------------------------------------------------------------------------


def _certify(request: bytes) -> None:
    for signing in (False, True):
        with contextlib.suppress(InvalidInputError):
            requested_key("request", request, signing=signing)


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    """Bytes of an encoding, damaged and put back into PEM."""
    kind = draw(st.sampled_from(("control", "signing")))
    lines = _requests()[kind].splitlines()
    der = base64.b64decode("".join(lines[1:-1]))
    body = base64.encodebytes(draw(_damaged(der))).decode().strip()
    return "\n".join([lines[0], body, lines[-1], ""]).encode()


# ---- the service -------------------------------------------------------------------------------


@cache
def _service() -> Enrolment:
    directory = Path(tempfile.mkdtemp(prefix="keyweave-fuzz-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    authorities = authorities_in(directory / "authorities")
    new_token(authorities, "pki.example:8444", NORTH)
    return Enrolment(authorities)


_GOOD: dict[str, Any] = {"secret": SECRET, "role": "agent", "name": "north", "requests": {"key": "x"}}
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20))
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*_GOOD, "at", "renewals"]), inner, max_size=4),
    ),
    max_leaves=8,
)


def _ask(changes: dict[str, Any]) -> None:
    """Nothing is issued without a token that was made, and nothing but the documented errors comes out."""
    try:
        asked = messages.Enrol.model_validate({**_GOOD, **changes})
    except ValidationError:
        return
    with contextlib.suppress(KeyweaveError):
        _service().enrol(asked, "192.0.2.1", time.time())
        raise AssertionError("enrolled without a token")


# ---- backups -----------------------------------------------------------------------------------


def _restore(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "backup.tar"
        file.write_bytes(content)
        target = Path(directory) / "target"
        try:
            backup.restore(file, f"sqlite+aiosqlite:///{target}/controller.db", force=True)
        except InvalidInputError:
            assert [*target.iterdir()] == []
        else:
            raise AssertionError("restored what nobody backed up")


def _headers() -> bytes:
    """An archive that begins as a backup does."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in ((backup.MANIFEST, b'{"format": 1}'), (backup.DATABASE, b"SQLite format 3\0")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


TARGETS = (
    Target("one-time tokens", _damaged(_TOKEN.encode()), _parse_token),
    Target("requests to certify", st.one_of(_request(), st.binary(max_size=200)), _certify),
    Target("enrolment", st.dictionaries(st.sampled_from(sorted(_GOOD)), _JSON, max_size=3), _ask),
    Target("backups", _damaged(_headers()), _restore),
)
