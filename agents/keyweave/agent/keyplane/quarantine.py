"""Telling the ends of streams that keys built on a link are no longer to be trusted.

Hop by hop over the sessions that are there anyway, away from where the news came from, each once.
"""

import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping

from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams.route import Transit
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.v1 import keyplane_pb2 as pb

# Quarantines remembered as passed on; a stream's paths may form circles in which one would go round.
REMEMBERED_QUARANTINES = 4096
# Quarantines sent to a neighbour this long before its session broke may not have reached it: sent again.
REPEAT_QUARANTINE_SECONDS = 10.0
REPEATED_QUARANTINES = 64


class QuarantineNotices:
    """What this node has passed on, and to whom."""

    def __init__(self, peers: Mapping[NodeName, Peer]) -> None:
        self._peers = peers
        # When each neighbour was last sent which notices; infinite where there was no session.
        self._told: dict[NodeName, deque[tuple[float, pb.Frame]]] = {}
        self._passed_on: OrderedDict[tuple[LinkName, StreamName, int], None] = OrderedDict()

    def spread(self, notice: pb.Quarantine, transits: Iterable[Transit], from_node: NodeName | None) -> None:
        """Pass a notice on along these paths, towards both ends of their streams."""
        towards: dict[NodeName, set[StreamName]] = {}
        for transit in transits:
            sides = (transit.towards_source.node, transit.towards_target.node)
            for here, there in (sides, sides[::-1]):
                if from_node in (None, here):
                    towards.setdefault(there, set()).add(transit.stream)
        link, since = LinkName(notice.link), notice.since_unix_nanos
        all_names = set().union(*towards.values())
        known = {name for name in all_names if (link, name, since) in self._passed_on}
        for node, names in towards.items():
            fresh = names - known
            if fresh and node in self._peers:
                onward = pb.Quarantine(link=link, since_unix_nanos=since, reason=notice.reason[:300])
                onward.streams.extend(sorted(fresh))
                self.tell(self._peers[node], pb.Frame(quarantine=onward))
        self._passed_on.update(dict.fromkeys((link, name, since) for name in all_names))
        while len(self._passed_on) > REMEMBERED_QUARANTINES:
            self._passed_on.popitem(last=False)

    def repeat(self, peer: Peer) -> None:
        """The session is back: what could not be sent, or may have been lost with the one before."""
        for told, frame in self._told.pop(peer.node, ()):
            if time.monotonic() - told < REPEAT_QUARANTINE_SECONDS:
                peer.post(frame)

    def withdraw(self, peer: Peer, stream: StreamName, key_ids: Iterable[uuid.UUID], reason: str) -> None:
        """These keys are gone here: the other end must neither hand out nor keep its copies."""
        withdraw = pb.Withdraw(stream=stream, reason=reason[:300])
        withdraw.key_ids.extend(key_id.bytes for key_id in key_ids)
        self.tell(peer, pb.Frame(withdraw=withdraw))

    def tell(self, peer: Peer, frame: pb.Frame) -> None:
        """Send a notice, now and again if the session breaks on it."""
        posted = peer.post(frame)
        self._told.setdefault(peer.node, deque(maxlen=REPEATED_QUARANTINES)).append(
            (time.monotonic() if posted else float("inf"), frame)
        )
