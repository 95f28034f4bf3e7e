"""The virtual links at this node that pairs feed: they come and go with the rules of policy."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from keyweave.agent.pairs.deliver import KeyRun, PairOutcomes
from keyweave.agent.pairs.keys.link import PairKeyLink
from keyweave.agent.pairs.keys.settings import PairKeySettings
from keyweave.agent.pairs.keys.tally import Tally
from keyweave.common import log
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2, pairs_pb2


class TakesLinks(Protocol):
    """What takes up a link that has come to life, and lets go of one that is no more: the key plane."""

    def take_up(self, driver: PairKeyLink) -> bool:
        """False where there is a link of that name already."""
        ...

    def let_go(self, link: LinkName) -> None:
        """Its pools are destroyed."""
        ...


class VirtualLinks:
    """One end each; discussions run in tasks of a group of their own."""

    def __init__(
        self, node: NodeName, settings: PairKeySettings, takes: TakesLinks, *, emulated: bool
    ) -> None:
        self._node = node
        self._settings = settings
        self._takes = takes
        # Whether the node's memories are.
        self.emulated = emulated
        self._links: dict[LinkName, PairKeyLink] = {}
        self._tasks: dict[LinkName, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def tallies(self) -> Mapping[LinkName, Tally]:
        """Counts of every link."""
        return {name: link.tally for name, link in self._links.items()}

    def apply(self, rules: Iterable[agent_pb2.Rule]) -> bool:
        """Have just the links that these rules feed; whether any came or went."""
        wanted = {
            LinkName(rule.pair.key_link): rule.pair
            for rule in rules
            if rule.WhichOneof("kind") == "pair" and rule.pair.key_link and self._ends_here(rule.pair)
        }
        gone = [
            name
            for name, link in self._links.items()
            if name not in wanted or self._other_end(wanted[name]) != (link.peer_node, link.leads)
        ]
        for name in gone:
            self._remove(name)
        fresh = [name for name in wanted if name not in self._links]
        came = [name for name in fresh if self._add(name, *self._other_end(wanted[name]))]
        return bool(gone or came)

    def begin(self, run: KeyRun) -> PairOutcomes | None:
        """See BeginKeyRun; None where the link is not there: nobody wants the outcomes."""
        link = self._links.get(run.key_link)
        return link.begin(run) if link is not None else None

    async def run(self) -> None:
        """Own the discussions until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for name, link in self._links.items():
                self._start(name, link)
            await asyncio.Event().wait()

    def _add(self, name: LinkName, peer: NodeName, leads: bool) -> bool:
        link = PairKeyLink(name, peer, self._settings, leads=leads, emulated=self.emulated)
        if not self._takes.take_up(link):
            log.get().error("virtual_link_refused", link=name, reason="a link of that name is there already")
            return False
        self._links[name] = link
        self._start(name, link)
        log.get().info("virtual_link_up", link=name, peer=peer)
        return True

    def _remove(self, name: LinkName) -> None:
        del self._links[name]
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        self._takes.let_go(name)
        log.get().info("virtual_link_gone", link=name)

    def _start(self, name: LinkName, link: PairKeyLink) -> None:
        if self._group is not None:
            self._tasks[name] = self._group.create_task(link.run(), name=f"pair-keys-{name}")

    def _ends_here(self, rule: pairs_pb2.PairRule) -> bool:
        return self._node in (rule.nodes[0], rule.nodes[-1])

    def _other_end(self, rule: pairs_pb2.PairRule) -> tuple[NodeName, bool]:
        """The peer, and whether this end leads: it is the source."""
        leads = rule.nodes[0] == self._node
        return NodeName(rule.nodes[-1] if leads else rule.nodes[0]), leads
