"""`keyweave`, with agents whose link has no pool while its signal is lost: a failure that no pool hides."""

import sys

from keyweave.agent.keyplane.aftermath import Aftermath
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.linkwatch import LinkHealth, Verdict
from keyweave.cli.main import main

_link_verdict = Aftermath.link_verdict
_can_open = LinkEnd._can_open


def _unpooled(aftermath: Aftermath, link: LinkEnd, before: Verdict, after: Verdict) -> None:
    if after.health is LinkHealth.NO_SIGNAL:
        link.destroy_keys("measuring: a failed link has nothing left", tell=False)
    _link_verdict(aftermath, link, before, after)


def _may_open(link: LinkEnd) -> bool:
    # What the device still had to hand over when the fibre was cut would fill a new pool.
    return link.watch.verdict.health is not LinkHealth.NO_SIGNAL and _can_open(link)


if __name__ == "__main__":
    setattr(Aftermath, "link_verdict", _unpooled)  # noqa: B010
    setattr(LinkEnd, "_can_open", _may_open)  # noqa: B010
    sys.exit(main())
