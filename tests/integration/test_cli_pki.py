"""`keyweave pki`, and `enrol` and `renew` of agent and controller, as people type them."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keyweave.agent.config import AgentConfig
from keyweave.cli.main import main
from keyweave.common import settings
from keyweave.common.identity import Role
from keyweave.common.pki import hosts_of, identity_of, new_key
from keyweave.common.tls import Material
from keyweave.pki.authorities import Authorities
from keyweave.pki.holder_dir import HolderDir
from keyweave.pki.holders import Holder
from keyweave.pki.requests import make_request
from keyweave.pki.tokens import Token
from tests.authorities import serving
from tests.waiting import POLL_SECONDS

PASSPHRASE = "four words are better"


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Keyweave = Callable[..., Said]


@pytest.fixture
def keyweave(capsys: pytest.CaptureFixture[str]) -> Keyweave:
    def run(*arguments: str | Path) -> Said:
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture(scope="module")
def passphrase_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secret") / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def as_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "authorities"
    assert main(["pki", "init", "--dir", str(directory), "--no-passphrase"]) == 0
    return directory


@pytest.fixture
def authorities(tmp_path: Path, as_made: Path) -> Path:
    """What `keyweave pki init` makes, a copy for each test."""
    return Path(shutil.copytree(as_made, tmp_path / "authorities"))


def issue(keyweave: Keyweave, directory: Path, role: str, name: str, out: Path, *more: str | Path) -> Said:
    return keyweave("pki", "issue", "--dir", directory, "--role", role, "--name", name, "--out", out, *more)


def test_authorities_keep_their_keys_from_others_and_under_a_passphrase(
    tmp_path: Path, keyweave: Keyweave, passphrase_file: Path
) -> None:
    directory = tmp_path / "authorities"
    made = keyweave("pki", "init", "--dir", directory, "--passphrase-file", passphrase_file)
    assert (made.code, made.err) == (0, "")
    for path in [directory, *directory.rglob("*")]:
        private = path.is_dir() or path.parent.name == "private" or path.name == "journal.jsonl"
        assert not private or path.stat().st_mode & 0o077 == 0, path
    keys = [*(directory / "private").iterdir()]
    keys.remove(directory / "private" / "salt")
    assert sorted(key.name for key in keys) == [
        f"{name}-ca-key.pem" for name in ("control", "key", "key-signing", "sae")
    ]
    assert all(b"ENCRYPTED" in key.read_bytes() for key in keys)
    for key in keys:
        # A wrong one seems right to one in 256, by the last byte of what it makes of the file.
        with pytest.raises(ValueError, match=r"Incorrect password|Could not deserialize"):
            serialization.load_pem_private_key(key.read_bytes(), PASSPHRASE.encode())
    again = keyweave("pki", "init", "--dir", directory, "--no-passphrase")
    assert (again.code, "has trust anchors already" in again.err) == (1, True)

    unasked = issue(keyweave, directory, "operator", "alice", tmp_path / "alice")
    assert (unasked.code, "--passphrase-file: is needed" in unasked.err) == (1, True)
    wrong = tmp_path / "wrong"
    wrong.write_text("some other passphrase")
    wrong.chmod(0o600)
    refused = issue(keyweave, directory, "operator", "alice", tmp_path / "alice", "--passphrase-file", wrong)
    assert (refused.code, refused.err) == (1, "error: passphrase: is not that of the keys\n")
    assert not (tmp_path / "alice").exists()
    good = issue(
        keyweave, directory, "operator", "alice", tmp_path / "alice", "--passphrase-file", passphrase_file
    )
    assert good.code == 0


@pytest.mark.parametrize(
    ("passphrase", "mode", "told"),
    [("short", 0o600, "at least 12 characters"), (PASSPHRASE, 0o644, "can be read by everybody")],
)
def test_a_passphrase_that_protects_nothing_is_refused(
    tmp_path: Path, keyweave: Keyweave, passphrase: str, mode: int, told: str
) -> None:
    file = tmp_path / "passphrase"
    file.write_text(passphrase)
    file.chmod(mode)
    refused = keyweave("pki", "init", "--dir", tmp_path / "a", "--passphrase-file", file)
    assert refused.code == 1
    assert told in refused.err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--role", "king", "--name", "a"), "role: 'king' is none of agent, controller, operator"),
        (("--role", "agent", "--name", "../a"), "name: '../a' is no name"),
        (("--role", "agent", "--name", ""), "name: '' is no name"),
        (("--role", "controller", "--name", "second"), "always called 'controller'"),
        (("--role", "sae", "--name", "a\nb"), "is no SAE ID"),
        (("--role", "agent", "--name", "a", "--host", "a b"), "host: 'a b' is neither"),
        (
            ("--role", "agent", "--name", "a", "--host", "controller.controller.control.keyweave.internal"),
            "below keyweave.internal",
        ),
        ((), "--role: is missing"),
    ],
)
def test_a_name_that_means_something_else_is_refused(
    tmp_path: Path, keyweave: Keyweave, authorities: Path, arguments: tuple[str, ...], told: str
) -> None:
    refused = keyweave("pki", "issue", "--dir", authorities, "--out", tmp_path / "out", *arguments)
    assert refused.code == 1
    assert told in refused.err
    assert not (tmp_path / "out").exists()


def test_keys_for_a_request_never_come_here(tmp_path: Path, keyweave: Keyweave, authorities: Path) -> None:
    keys = {"control": new_key(signing=False)}
    (tmp_path / "alice.csr").write_bytes(make_request(keys["control"]))
    csr = f"control={tmp_path / 'alice.csr'}"
    assert issue(keyweave, authorities, "viewer", "alice", tmp_path / "out", "--csr", csr).code == 0
    got = x509.load_pem_x509_certificate((tmp_path / "out/current/control.pem").read_bytes())
    assert got.public_key() == keys["control"].public_key()
    assert identity_of(got).uri == "keyweave://control/viewer/alice"
    assert not [*(tmp_path / "out").rglob("*key*.pem.key"), *(tmp_path / "out/current").glob("*-key.pem")]
    incomplete = issue(keyweave, authorities, "agent", "a", tmp_path / "a", "--csr", csr)
    assert incomplete.err == (
        "error: --csr: must be given for control and key and kme and signing, as in control=FILE\n"
    )


def test_what_ends_soon_is_listed_first_and_ends_the_command_with_3(
    tmp_path: Path, keyweave: Keyweave, authorities: Path
) -> None:
    assert issue(keyweave, authorities, "sae", "bank/1", tmp_path / "bank").code == 0
    assert keyweave("pki", "list", "--dir", authorities, "--within", "30d").code == 0
    assert issue(keyweave, authorities, "operator", "alice", tmp_path / "alice", "--days", "7").code == 0
    listed = keyweave("pki", "list", "--dir", authorities, "--within", "30d", "-o", "json")
    assert listed.code == 3
    entries = json.loads(listed.out)["entries"]
    assert entries[0]["what"] == "keyweave://control/operator/alice"
    assert [entry["what"] for entry in entries if entry["ends_soon"]] == [entries[0]["what"]]
    assert {"trust anchor", "revocation list", "keyweave://sae/sae/bank/1"} <= {e["what"] for e in entries}
    # Renewed, the one before is in nobody's way any more.
    renewed = keyweave("pki", "renew", "--dir", authorities, "--out", tmp_path / "alice")
    assert renewed.code == 0, renewed.err
    assert keyweave("pki", "list", "--dir", authorities, "--within", "30d").code == 0
    told = keyweave("pki", "list", "--dir", authorities, "--all").out
    assert [line.split()[-1] for line in told.splitlines() if "alice" in line] == ["replaced", "use"]
    bad = keyweave("pki", "list", "--dir", authorities, "--within", "soon")
    assert bad.err == "error: --within: 'soon' is no length of time; give one like 90s, 15m, 1h, 30d\n"


def test_revoking_a_holder_revokes_all_that_it_has_on_every_plane(
    tmp_path: Path, keyweave: Keyweave, authorities: Path
) -> None:
    for name in ("north", "south"):
        assert issue(keyweave, authorities, "agent", name, tmp_path / name).code == 0
    token = ("pki", "token", "--dir", authorities, "--node", "north", "--server", "pki.example:8444")
    assert keyweave(*token).code == 0
    revoked = keyweave("pki", "revoke", "--dir", authorities, "--role", "agent", "--name", "north")
    assert revoked.code == 0
    assert len(revoked.out.splitlines()) == 4
    entries = json.loads(keyweave("pki", "list", "--dir", authorities, "--all", "-o", "json").out)["entries"]
    states = {(entry["what"], entry["authority"]): entry["state"] for entry in entries}
    assert {state for (what, _), state in states.items() if what.endswith("/north")} == {"revoked"}
    assert {state for (what, _), state in states.items() if what.endswith("/south")} == {"in use"}
    assert not [what for what, _ in states if what.startswith("token")], "nor does a token bring it back"
    again = keyweave("pki", "revoke", "--dir", authorities, "--role", "agent", "--name", "north")
    assert again.err == "error: agent 'north' has no certificate that is good\n"
    one = keyweave("pki", "revoke", tmp_path / "south/current/key.pem", "--dir", authorities)
    assert one.code == 0
    assert "of key is revoked" in one.out


def test_a_token_is_printed_once_and_kept_nowhere(keyweave: Keyweave, authorities: Path) -> None:
    token = ("pki", "token", "--dir", authorities, "--node", "north", "--ttl", "1h")
    said = keyweave(*token, "--server", "pki.example:8444", "--host", "192.0.2.7")
    assert (said.code, said.err) == (0, "")
    parsed = Token.parse(said.out)
    assert (parsed.service, parsed.holder) == ("pki.example:8444", Holder(Role.AGENT, "north"))
    kept = [file for file in authorities.rglob("*") if file.is_file()]
    assert not [file for file in kept if parsed.secret in file.read_text(encoding="ascii")]
    assert keyweave(*token).err == "error: --server: is missing: host:port of `keyweave pki serve`\n"
    assert "at most 7 days" in keyweave(*token[:-1], "8d", "--server", "pki.example:1").err
    assert "is not host:port" in keyweave(*token, "--server", "pki example").err
    withdrawn = keyweave("pki", "token", "--dir", authorities, "--node", "north", "--withdraw")
    assert withdrawn.out == "1 open tokens of agent 'north' withdrawn\n"


def test_a_node_is_enrolled_and_renewed_by_two_commands(
    tmp_path: Path, keyweave: Keyweave, authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Authorities.open(authorities, None), tmp_path, burst=1000) as service:
        make = ("pki", "token", "--dir", authorities, "--server", service)
        file = tmp_path / "token"
        file.write_text(token_in(keyweave(*make, "--node", "north", "--host", "127.0.0.1")))
        held = tmp_path / "north"
        wrong = keyweave("controller", "enrol", "--token-file", file, "--dir", tmp_path / "controller")
        assert "holds a token for agent 'north', not for controller" in wrong.err
        address = ("--controller", "192.0.2.1:21001")
        got = keyweave("agent", "enrol", "--token-file", file, "--dir", held, *address)
        assert got.code == 0, got.err
        config = held / "agent.yaml"
        assert "name this node's devices" in got.out
        with pytest.raises(Exception, match=r"drivers: tuple should have at least 1 item"):
            settings.load(config, AgentConfig)
        text = config.read_text().replace("drivers: []", "drivers: [{driver: emulator}]")
        config.write_text(text)
        agent = settings.load(config, AgentConfig)
        for files in (agent.control_tls, agent.key_plane.tls, agent.key_plane.signing, agent.kme.tls):
            Material.read(files)
            assert files.revocation_list is not None
            assert files.revocation_list.is_file()
        assert hosts_of(HolderDir.open(held).held("kme").certificate) == ("127.0.0.1",)

        used = keyweave("agent", "enrol", "--token-file", file, "--dir", tmp_path / "again")
        assert used.code == 1
        assert "this token was used already" in used.err

        assert f"{held}: nothing is due\n" in keyweave("agent", "renew", "--dir", held).out
        renewed = keyweave("agent", "renew", "--dir", held, "--now")
        assert f"{held}: renewed control, key, kme, signing\n" in renewed.out

        monkeypatch.setattr(sys, "stdin", _Input(token_in(keyweave(*make, "--role", "controller"))))
        enrolled = keyweave("controller", "enrol", "--token-file", "-", "--dir", tmp_path / "controller")
        assert enrolled.code == 0, enrolled.err
        assert keyweave("controller", "renew", "--dir", tmp_path / "controller", "--within", "91d").code == 0
    gone = keyweave("agent", "renew", "--dir", held)
    assert gone.code == 1
    assert "cannot be reached" in gone.err
    nothing = keyweave("agent", "renew", "--dir", tmp_path / "nowhere")
    assert "holds no certificates; enrol first" in nothing.err
    for damaged in ("", "keyweave-enrol-1.AAAA", "nonsense"):
        file.write_text(damaged)
        assert (
            "error: token: " in keyweave("agent", "enrol", "--token-file", file, "--dir", tmp_path / "x").err
        )


def test_any_holder_enrols_and_renews_by_its_token(
    tmp_path: Path, keyweave: Keyweave, authorities: Path
) -> None:
    with serving(Authorities.open(authorities, None), tmp_path, burst=1000) as service:
        file = tmp_path / "token"
        make = ("pki", "token", "--dir", authorities, "--server", service, "--days", "1")
        for role, name in (("emulator", "emulator"), ("operator", "alice"), ("sae", "bank/1")):
            file.write_text(token_in(keyweave(*make, "--role", role, "--name", name)))
            out = tmp_path / role
            assert keyweave("pki", "enrol", "--token-file", file, "--out", out).code == 0
            assert f"{out}: nothing is due\n" in keyweave("pki", "renew", "--out", out).out
        unlocked = tmp_path / "sae"
        refused = keyweave("pki", "enrol", "--token-file", file, "--out", unlocked)
        assert "holds certificates already" in refused.err


def test_the_service_runs_as_a_process_and_says_nothing_secret(
    tmp_path: Path, keyweave: Keyweave, passphrase_file: Path
) -> None:
    directory, ready = tmp_path / "authorities", tmp_path / "ready.json"
    assert keyweave("pki", "init", "--dir", directory, "--passphrase-file", passphrase_file).code == 0
    command = [sys.executable, "-m", "keyweave.cli", "pki", "serve", "--dir", str(directory)]
    command += ["--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    command += ["--passphrase-file", str(passphrase_file)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(POLL_SECONDS)
            service = json.loads(ready.read_text())["address"]
            made = keyweave("pki", "token", "--dir", directory, "--node", "north", "--server", service)
            token = Token.parse(made.out)
            (tmp_path / "token").write_text(made.out)
            arguments = ("agent", "enrol", "--token-file", tmp_path / "token", "--dir", tmp_path / "north")
            assert keyweave(*arguments).code == 0
            again = keyweave(*arguments[:-1], tmp_path / "again")
            assert "was used already" in again.err
        finally:
            process.terminate()
            code = process.wait(30)
    assert code == 0
    said = (tmp_path / "log").read_text()
    assert '"event": "enrolment_alarm"' in said
    assert "enrolment_service_stopped" in said
    written = said + (directory / "journal.jsonl").read_text() + again.err
    for secret in (token.secret, token.text(), PASSPHRASE, "PRIVATE KEY"):
        assert secret not in written


def test_people_are_asked_for_the_passphrase(
    tmp_path: Path, keyweave: Keyweave, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([PASSPHRASE, "something else here", PASSPHRASE, PASSPHRASE, PASSPHRASE])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    monkeypatch.setattr(sys, "stdin", _Input("", terminal=True))
    directory = tmp_path / "authorities"
    assert keyweave("pki", "init", "--dir", directory).err == "error: passphrase: was not the same twice\n"
    assert not directory.exists()
    assert keyweave("pki", "init", "--dir", directory).code == 0
    assert issue(keyweave, directory, "viewer", "alice", tmp_path / "alice").code == 0
    assert next(answers, None) is None


def test_what_the_system_refuses_is_told_in_words(
    tmp_path: Path, keyweave: Keyweave, authorities: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = issue(keyweave, authorities, "viewer", "alice", tmp_path / "file" / "alice")
    assert (refused.code, refused.err.splitlines()[0]) == (
        1,
        f"error: {tmp_path}/file/alice: Not a directory",
    )
    serve = ("pki", "serve", "--dir", authorities)
    assert keyweave(*serve, "--listen", "here").err == "error: --listen: 'here' is not host:port\n"
    nothing = keyweave("pki", "list", "--dir", tmp_path / "nothing")
    assert "has no trust anchors; see `keyweave pki init`" in nothing.err


def token_in(said: Said) -> str:
    """The token that a command printed; the service's log goes to the same place here."""
    (line,) = (line for line in said.out.splitlines() if line.startswith("keyweave-enrol-1."))
    return line


class _Input:
    """Standard input with a token in it."""

    def __init__(self, text: str, *, terminal: bool = False) -> None:
        self._text = text
        self._terminal = terminal

    def read(self) -> str:
        return self._text

    def isatty(self) -> bool:
        return self._terminal


def test_private_keys_are_readable_by_their_owner_only_whatever_the_umask(
    tmp_path: Path, keyweave: Keyweave, authorities: Path
) -> None:
    assert issue(keyweave, authorities, "agent", "north", tmp_path / "north").code == 0
    keys = [*(tmp_path / "north/current").glob("*-key.pem")]
    assert len(keys) == 4
    for key in keys:
        assert key.stat().st_mode & 0o777 == 0o600
        serialization.load_pem_private_key(key.read_bytes(), None)
