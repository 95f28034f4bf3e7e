"""From a scenario to ports, certificates and configuration files that the processes accept."""

import socket
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509

from keyweave.agent.config import AgentConfig
from keyweave.agent.keyplane.sessions.enrolment import Enrolment
from keyweave.cli.exits import UnreachableError
from keyweave.cli.main import main
from keyweave.cli.state_dir import Endpoints, StateDir, default_root
from keyweave.cli.up import ports
from keyweave.cli.up.command import suggestions
from keyweave.cli.up.layout import Layout, lay_out
from keyweave.common import settings
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NodeName
from keyweave.common.revocation import Trust
from keyweave.controller.config import ControllerConfig
from keyweave.emulator.config import EmulatorConfig
from keyweave.emulator.scenario import load_scenario

SCENARIO = """
name: pair
nodes: [{name: a}, {name: controller}]
links:
  - {name: ab, a: a, b: controller, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02,
     skr_bps: 10000}
streams:
  - {name: s, source_node: a, target_node: controller, source_sae: "bank/1", target_sae: desk,
     require_qkd: true}
"""


POSTGRESQL = "postgresql+asyncpg://keyweave@127.0.0.1/keyweave"


def laid_out(root: Path, text: str = SCENARIO, *, controllers: int = 1, database: str = "") -> Layout:
    scenario = root.with_suffix(".yaml")
    scenario.write_text(text)
    network = load_scenario(scenario)
    with ports.Held() as held:
        return lay_out(network, scenario, root, held, controllers=controllers, database=database)


def test_every_process_accepts_its_configuration_and_listens_where_the_endpoints_say(tmp_path: Path) -> None:
    layout = laid_out(tmp_path / "state")
    state, endpoints = layout.state, layout.endpoints
    controller = settings.load(state.config("controller"), ControllerConfig)
    emulator = settings.load(state.config("emulator"), EmulatorConfig)
    agents = {name: settings.load(state.config(f"agent-{name}"), AgentConfig) for name in ("a", "controller")}
    assert controller.listen == endpoints.admin
    assert endpoints.metrics == f"http://{controller.metrics_listen}/metrics"
    assert emulator.listen == endpoints.emulator
    for name, agent in agents.items():
        assert agent.node == name
        assert agent.controller.address == endpoints.admin
        assert endpoints.kme[name] == f"https://{agent.kme.listen}"
        assert endpoints.agent_metrics[name] == f"http://{agent.metrics_listen}/metrics"
        assert agent.drivers[0].settings["address"] == endpoints.emulator
        for tls in (agent.control_tls, agent.key_plane.tls, agent.kme.tls):
            assert tls.certificate.is_file()
            assert tls.trust_anchor.is_file()
    directories = {controller.state_dir, *(agent.state_dir for agent in agents.values())}
    assert len(directories) == 3
    assert len({agent.key_plane.tls.trust_anchor for agent in agents.values()}) == 1


def uris(certificate: Path) -> list[str]:
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_certificates_say_who_their_holders_are_and_planes_have_anchors_of_their_own(tmp_path: Path) -> None:
    pki = laid_out(tmp_path / "state").state.pki
    assert uris(pki / "operator.pem") == ["keyweave://control/operator/operator"]
    assert uris(pki / "sae-desk.pem") == ["keyweave://sae/sae/desk"]
    assert uris(pki / "sae-bank%2F1.pem") == ["keyweave://sae/sae/bank/1"]
    assert uris(pki / "controller/control.pem") == ["keyweave://control/controller/controller"]
    assert uris(pki / "emulator/control.pem") == ["keyweave://control/emulator/emulator"]
    assert uris(pki / "agent-a/control.pem") == ["keyweave://control/agent/a"]
    assert uris(pki / "agent-a/key.pem") == ["keyweave://key/agent/a"]
    assert uris(pki / "agent-a/kme.pem") == ["keyweave://sae/kme/a"]
    anchors = {name: (pki / name).read_bytes() for name in ("ca.pem", "control-ca.pem", "key-ca.pem")}
    assert len(set(anchors.values())) == 3
    for leaf, anchor in (
        ("agent-a/control", "control-ca"),
        ("agent-a/key", "key-ca"),
        ("sae-desk", "ca"),
        ("operator", "control-ca"),
    ):
        certificate = x509.load_pem_x509_certificate((pki / f"{leaf}.pem").read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(anchors[f"{anchor}.pem"]))


def test_only_their_owner_reads_private_keys(tmp_path: Path) -> None:
    pki = laid_out(tmp_path / "state").state.pki
    keys = [*pki.rglob("*-key.pem")]
    assert len(keys) == 4 + 1 + 2 + 2 + 2 * 4  # anchors, operator, SAEs, controller and emulator, agents
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_second_start_keeps_certificates_and_ports(tmp_path: Path) -> None:
    first = laid_out(tmp_path / "state")
    before = {path: path.read_bytes() for path in first.state.pki.rglob("*.pem")}
    second = laid_out(tmp_path / "state")
    assert {path: path.read_bytes() for path in second.state.pki.rglob("*.pem")} == before
    assert second.ports == first.ports


def test_a_certificate_that_is_damaged_or_of_another_anchor_is_issued_anew(tmp_path: Path) -> None:
    pki = laid_out(tmp_path / "state").state.pki
    other = laid_out(tmp_path / "other").state.pki
    (pki / "operator.pem").write_text("damaged")
    (pki / "sae-desk.pem").write_bytes((other / "sae-desk.pem").read_bytes())
    laid_out(tmp_path / "state")
    for name, anchor in (("operator.pem", "control-ca.pem"), ("sae-desk.pem", "ca.pem")):
        certificate = x509.load_pem_x509_certificate((pki / name).read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((pki / anchor).read_bytes()))


def test_an_sae_id_that_fits_no_certificate_is_refused_by_field(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"streams\[0\].target_sae: 'schlüssel'"):
        laid_out(tmp_path / "state", SCENARIO.replace("desk", "schlüssel"))


def test_a_port_in_use_is_refused_where_it_is_fixed_and_replaced_where_it_is_remembered(
    tmp_path: Path,
) -> None:
    remembered = tmp_path / "ports.json"
    chosen = ports.choose({"admin": None, "metrics": None}, remembered)
    assert all(20000 <= port < 32000 for port in chosen.values())
    with socket.socket() as other:
        other.bind((ports.HOST, chosen["admin"]))
        other.listen()
        again = ports.choose({"admin": None, "metrics": None}, remembered)
        assert again["admin"] != chosen["admin"]
        assert again["metrics"] == chosen["metrics"]
        with pytest.raises(InvalidInputError, match=f"ports admin: {chosen['admin']} is in use"):
            ports.choose({"admin": chosen["admin"]}, remembered)


def test_a_port_that_is_held_is_given_to_nobody_else_and_can_be_listened_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ports.choose({"x": None}, tmp_path / "ports.json")["x"]
    with ports.Held() as held:
        held.hold([chosen])
        drawn = iter([chosen - 20000, chosen - 20000])
        monkeypatch.setattr("secrets.randbelow", lambda bound: next(drawn, (chosen + 1) % bound))
        assert ports.free(()) != chosen
        with socket.create_server((ports.HOST, chosen)), pytest.raises(OSError, match="in use"):
            socket.create_server((ports.HOST, chosen))


def test_fixed_ports_are_taken_and_must_differ(tmp_path: Path) -> None:
    free = ports.choose({"x": None}, tmp_path / "free.json")["x"]
    assert ports.choose({"admin": free, "metrics": None}, tmp_path / "ports.json")["admin"] == free
    with pytest.raises(InvalidInputError, match="is also that of admin"):
        ports.choose({"admin": free, "metrics": free}, tmp_path / "ports.json")


def test_a_damaged_memory_of_ports_only_costs_their_sameness(tmp_path: Path) -> None:
    for damage in ("", "[1]", '{"admin": "x"}'):
        (tmp_path / "ports.json").write_text(damage)
        assert set(ports.choose({"admin": None}, tmp_path / "ports.json")) == {"admin"}


def test_each_of_several_controllers_has_its_own_addresses_and_all_agents_know_them(tmp_path: Path) -> None:
    layout = laid_out(tmp_path / "state", controllers=3, database=POSTGRESQL)
    configs = [settings.load(layout.state.config(each), ControllerConfig) for each in layout.controllers]
    assert layout.controllers == ("controller", "controller-2", "controller-3")
    assert tuple(config.listen for config in configs) == layout.endpoints.controllers
    assert len({config.metrics_listen for config in configs} | set(layout.endpoints.controllers)) == 6
    assert {config.database_url for config in configs} == {POSTGRESQL}
    for name in layout.agents:
        agent = settings.load(layout.state.config(name), AgentConfig)
        assert agent.controller.all == layout.endpoints.controllers


@pytest.mark.parametrize(
    ("controllers", "database", "field"),
    [(2, "", "--controllers"), (2, "sqlite+aiosqlite:///x", "--database"), (1, "mysql://x", "--database")],
)
def test_several_controllers_need_a_postgresql(
    tmp_path: Path, controllers: int, database: str, field: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"{field}: .*PostgreSQL"):
        laid_out(tmp_path / "state", controllers=controllers, database=database)


def test_endpoints_are_read_as_they_were_written_and_are_missed_with_advice(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with pytest.raises(UnreachableError, match="keyweave up"):
        state.read_endpoints()
    endpoints = Endpoints(
        "h:1", "http://h:2/metrics", {"a": "http://h:3/metrics"}, "h:4", {"a": "https://h:5"}
    )
    state.write_endpoints(endpoints)
    assert state.read_endpoints() == endpoints
    state.endpoints_file.write_text("{}")
    with pytest.raises(UnreachableError, match="cannot be read"):
        state.read_endpoints()


def test_the_state_directory_is_the_environments_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYWEAVE_STATE_DIR", raising=False)
    assert default_root() == Path(".keyweave")
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", "/somewhere")
    assert default_root() == Path("/somewhere")


def test_what_to_try_next_names_things_of_this_network(tmp_path: Path) -> None:
    layout = laid_out(tmp_path / "state")
    fetch, cut, watch = suggestions(layout, "keyweave", tmp_path / "state")
    assert f"{layout.endpoints.kme['a']}/api/v1/keys/desk/enc_keys" in fetch
    assert "sae-bank%2F1.pem" in fetch
    assert cut == f"keyweave fault cut ab --state-dir {tmp_path / 'state'}"
    assert watch.startswith("keyweave event watch")


def test_a_certificate_is_replaced_and_revoked_below_a_state_directory(tmp_path: Path) -> None:
    state = laid_out(tmp_path / "state").state
    config = settings.load(state.config("agent-a"), AgentConfig)
    for files in (config.key_plane.tls, config.key_plane.signing, config.kme.tls):
        before = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        assert main(["pki", "revoke", str(files.certificate), "--state-dir", str(state.root)]) == 0
        assert main(["pki", "issue", str(files.certificate), "--state-dir", str(state.root)]) == 0
        after = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        assert after.subject == before.subject
        trust = Trust("it", files)
        assert trust.refusal(trust.standing(after), time.time()) == ""
        assert "revoked" in trust.refusal(trust.standing(before), time.time())
    assert main(["pki", "revoke", str(tmp_path / "none.pem"), "--state-dir", str(state.root)]) == 1
    Enrolment(NodeName("a"), config.key_plane.tls, config.key_plane.signing)
