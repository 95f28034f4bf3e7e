"""Four nodes, their links and streams, and what policy tells each node of them."""

from dataclasses import dataclass, field
from itertools import combinations

from keyweave.v1 import agent_pb2, types_pb2
from tests.integration.mesh_policy import MeshStream, link_between, relay_rule, stream_rule

NODES = ("a", "b", "p", "q")
LINKS = tuple(link for link in (link_between(*pair) for pair in combinations(NODES, 2)) if link != "p-q")
# Short, so that much of it happens in little time.
KEY_SECONDS = 4
EXCHANGE_SECONDS = 2

NARROW = MeshStream(
    name="narrow", path_sets=((("a", "b"),), (("a", "p", "b"),)), buffer_keys=12, rate_bps=50_000
)
WIDE = MeshStream(
    name="wide",
    path_sets=((("a", "b"), ("a", "p", "b")), (("a", "p", "b"), ("a", "q", "b"))),
    k=2,
    min_k=2,
    require_qkd=True,
    on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
    buffer_keys=40,
    rate_bps=50_000,
)
# With the same SAE at a as the narrow one has: a key can be for the slaves of both.
BESIDE = MeshStream(
    name="beside",
    path_sets=((("a", "q", "b"),), (("a", "b"),)),
    require_qkd=True,
    on_exhaustion=types_pb2.ON_EXHAUSTION_REFUSE,
    buffer_keys=8,
    rate_bps=50_000,
)
STREAMS = {stream.name: stream for stream in (NARROW, WIDE, BESIDE)}
SAES = {(name, "b"): f"sae-{name}" for name in STREAMS} | {
    ("narrow", "a"): "sae-a",
    ("beside", "a"): "sae-a",
    ("wide", "a"): "sae-w",
}


@dataclass
class Policy:
    """What the controller wants; each node has it when it gets there."""

    streams: dict[str, MeshStream]
    suspected: dict[str, float] = field(default_factory=dict)

    def copy(self) -> "Policy":
        """As it is now."""
        return Policy(dict(self.streams), dict(self.suspected))

    def rules(self, node: str) -> list[agent_pb2.Rule]:
        """As one node gets it."""
        made = []
        for link in (link for link in LINKS if node in link.split("-")):
            (peer,) = {*link.split("-")} - {node}
            rule = agent_pb2.LinkRule(link=link, peer_node=peer, abort_qber_ratio=0.11)
            if link in self.suspected:
                rule.suspect_since_unix_nanos = int(self.suspected[link] * 1e9)
                rule.suspect_reason = "heard"
            made += [agent_pb2.Rule(link=rule), agent_pb2.Rule(peer=agent_pb2.PeerRule(node=peer))]
            made[-1].peer.key_plane_address = f"{peer}:1"
        for stream in self.streams.values():
            if node in stream.ends:
                made.append(agent_pb2.Rule(stream=self.stream_rule(stream, node)))
            for path_id, path in stream.paths.items():
                if node in path[1:-1]:
                    made.append(agent_pb2.Rule(relay=relay_rule(stream, path_id, path, node)))
        return made

    @staticmethod
    def stream_rule(stream: MeshStream, node: str) -> agent_pb2.StreamRule:
        """A stream for one of its ends."""
        rule = stream_rule(stream, node)
        rule.local_sae, rule.peer_sae = SAES[stream.name, node], SAES[stream.name, rule.peer_node]
        rule.key_ttl_seconds = KEY_SECONDS
        rule.refresh_seconds = EXCHANGE_SECONDS
        return rule
