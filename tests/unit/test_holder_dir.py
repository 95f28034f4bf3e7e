"""What a holder has on its machine: replaced whole, or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Role
from keyweave.common.pki import Authority, PrivateKey, new_key
from keyweave.common.tls import Material
from keyweave.pki import holder_dir
from keyweave.pki.holder_dir import HolderDir
from keyweave.pki.holders import SIGNING, Holder
from keyweave.pki.register import ANCHORS

NORTH = Holder(Role.AGENT, "north")
KINDS = ("control", "key", "kme", "signing")


@pytest.fixture(scope="module")
def authorities() -> dict[str, Authority]:
    return {name: Authority.create(plane, signing=name == SIGNING) for name, plane in ANCHORS.items()}


def keys_for(holder: Holder) -> dict[str, PrivateKey]:
    return {wanted.kind: new_key(signing=wanted.authority == SIGNING) for wanted in holder.wanted}


def certified(
    authorities: dict[str, Authority], keys: dict[str, PrivateKey], holder: Holder = NORTH
) -> dict[str, str]:
    return {
        wanted.kind: authorities[wanted.authority]
        .certify(keys[wanted.kind].public_key(), wanted.identity)
        .decode()
        for wanted in holder.wanted
    }


def trust(authorities: dict[str, Authority]) -> dict[str, str]:
    anchors = {f"{n}-ca.pem": a.credential.certificate.decode() for n, a in authorities.items()}
    return anchors | {f"{n}-crl.pem": a.revoke((), number=1).decode() for n, a in authorities.items()}


@pytest.fixture
def held(tmp_path: Path, authorities: dict[str, Authority]) -> HolderDir:
    made = HolderDir(tmp_path / "north", NORTH, "pki.example:8444")
    keys = keys_for(NORTH)
    with made.changing():
        made.put(keys, certified(authorities, keys), trust(authorities))
    return made


def contents(held: HolderDir) -> dict[str, bytes]:
    """What processes see."""
    files = [file for part in ("current", "trust") for file in (held.root / part).iterdir()]
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("module", "step", "succeed"),
    [
        (holder_dir, "write_atomically", 0),
        (holder_dir, "write_atomically", 5),
        (holder_dir, "write_atomically", 8),
        (holder_dir, "write_atomically", 11),
        (shutil, "copy2", 3),
        (holder_dir, "sync_directory", 0),
        (shutil, "rmtree", 0),
    ],
)
def test_whatever_step_fails_every_certificate_still_has_its_key(
    held: HolderDir,
    authorities: dict[str, Authority],
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    step: str,
    succeed: int,
) -> None:
    whole, calls = getattr(module, step), iter(range(100))

    def fails(*arguments: object, **options: object) -> object:
        if next(calls) >= succeed:
            raise OSError("disk gone")
        return whole(*arguments, **options)

    keys = keys_for(NORTH)
    answer = certified(authorities, keys)
    with monkeypatch.context() as patch:
        patch.setattr(module, step, fails)
        with pytest.raises(OSError, match="disk gone"):
            held.put(keys, answer, trust(authorities))
    for kind in KINDS:
        Material.read(held.files(kind))
    # And what was left half-made is in nobody's way.
    held.put(keys, answer, trust(authorities))
    assert [held.held(kind).pem for kind in KINDS] == [answer[kind] for kind in KINDS]
    for kind in KINDS:
        Material.read(held.files(kind))
    assert len([*held.root.glob("generation-*")]) == 1


def _for_another_key(answer: dict[str, str], authorities: dict[str, Authority]) -> None:
    other = new_key(signing=False).public_key()
    wanted = NORTH.wanted[1]
    answer["key"] = authorities["key"].certify(other, wanted.identity).decode()


def _for_somebody_else(answer: dict[str, str], authorities: dict[str, Authority]) -> None:
    south = Holder(Role.AGENT, "south").wanted[0]
    answer["control"] = authorities["control"].issue(south.identity).certificate.decode()


def _from_another_authority(answer: dict[str, str], authorities: dict[str, Authority]) -> None:
    answer["kme"] = authorities["control"].issue(NORTH.wanted[2].identity).certificate.decode()


def _nonsense(answer: dict[str, str], authorities: dict[str, Authority]) -> None:
    answer["signing"] = "nonsense"


@pytest.mark.parametrize("spoil", [_for_another_key, _for_somebody_else, _from_another_authority, _nonsense])
def test_an_answer_with_one_wrong_certificate_changes_nothing(
    held: HolderDir,
    authorities: dict[str, Authority],
    spoil: Callable[[dict[str, str], dict[str, Authority]], None],
) -> None:
    before, keys = contents(held), keys_for(NORTH)
    answer = certified(authorities, keys)
    spoil(answer, authorities)
    with pytest.raises(InvalidInputError, match="what came is"):
        held.put(keys, answer, trust(authorities))
    assert contents(held) == before


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "holder.json", "sae-ca.pem/..", "x-ca.pem", ""])
def test_an_answer_names_no_file_but_those_of_trust(held: HolderDir, name: str) -> None:
    before = contents(held)
    with pytest.raises(InvalidInputError, match="no name of a trust anchor"):
        held.put_trust({name: "content"})
    assert contents(held) == before


def test_one_certificate_is_replaced_and_the_others_stay(
    held: HolderDir, authorities: dict[str, Authority]
) -> None:
    before = {kind: held.held(kind).pem for kind in KINDS}
    keys = {"key": new_key(signing=False)}
    answer = {"key": authorities["key"].certify(keys["key"].public_key(), NORTH.wanted[1].identity).decode()}
    held.put(keys, answer, trust(authorities))
    after = {kind: held.held(kind).pem for kind in KINDS}
    assert [kind for kind in KINDS if after[kind] != before[kind]] == ["key"]
    for kind in KINDS:
        Material.read(held.files(kind))


@pytest.mark.parametrize("content", ["", "[]", '{"role": "king", "name": "a", "service": ""}', "{}"])
def test_a_directory_that_says_nothing_of_its_holder_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "holder.json").write_text(content)
    with pytest.raises(InvalidInputError, match=r"role|holder\.json"):
        HolderDir.open(tmp_path)
