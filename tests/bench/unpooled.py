"""`keyweave`, with agents that destroy a link's pool as its signal is lost: a failure that no pool hides."""

import sys

from keyweave.agent.keyplane.linkend import LinkEnd
from keyweave.agent.keyplane.linkwatch import LinkHealth, Verdict
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.cli.main import main

_link_verdict = KeyPlane._link_verdict


def _unpooled(plane: KeyPlane, link: LinkEnd, before: Verdict, after: Verdict) -> None:
    if after.health is LinkHealth.NO_SIGNAL:
        link.destroy_keys("measuring: a failed link has nothing left", tell=False)
    _link_verdict(plane, link, before, after)


if __name__ == "__main__":
    setattr(KeyPlane, "_link_verdict", _unpooled)  # noqa: B010
    sys.exit(main())
