"""What `keyweave up` tells a controller of a scenario that is there already."""

from typing import Any

from keyweave.cli.objects import KINDS
from keyweave.cli.up.wishes import _settle
from keyweave.v1 import admin_pb2, types_pb2

STREAM = next(kind for kind in KINDS if kind.spec is types_pb2.Stream)
LINK = next(kind for kind in KINDS if kind.spec is types_pb2.Link)


class Admin:
    """Notes what it is asked to update."""

    def __init__(self) -> None:
        self.masks: list[list[str]] = []

    async def UpdateStream(self, request: admin_pb2.UpdateStreamRequest, **_: Any) -> None:  # noqa: N802
        self.masks.append(list(request.update_mask.paths))


async def test_no_relay_at_all_is_not_taken_for_no_limit() -> None:
    admin = Admin()
    present = types_pb2.Stream(name="s")
    wanted = types_pb2.Stream(name="s", max_trusted_nodes=0)
    assert await _settle(admin, STREAM, wanted, present) == "updated"
    assert admin.masks == [["max_trusted_nodes"]]
    assert await _settle(admin, STREAM, wanted, wanted) == "as before"


async def test_a_link_that_the_operator_disabled_stays_so() -> None:
    present = types_pb2.Link(name="l", disabled=True, maintenance=True)
    assert await _settle(Admin(), LINK, types_pb2.Link(name="l"), present) == "as before"
