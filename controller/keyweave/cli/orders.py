"""`keyweave link clear|destroy|calibrate|disable|enable`, `keyweave node zeroize|drain|undrain`."""

from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.cli.completion import names
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.output import Output, OutputOption, as_json, show_json
from keyweave.common.errors import NotAllowedError
from keyweave.v1 import admin_pb2, types_pb2

Link = Annotated[str, typer.Argument(help="The link.", autocompletion=names)]
Node = Annotated[str, typer.Argument(help="The node.", autocompletion=names)]
Confirm = Annotated[bool, typer.Option("--confirm", help="Yes: what is destroyed cannot be brought back.")]


async def clear(network: Network, name: Link, output: OutputOption = Output.TABLE) -> None:
    """A false alarm: let both ends use what they hold of this link in quarantine."""
    async with network.admin() as admin:
        answer = await admin.ClearLink(admin_pb2.ClearLinkRequest(name=name), timeout=CALL_TIMEOUT_SECONDS)
    _show(answer.order, output)


async def destroy(
    network: Network, name: Link, confirm: Confirm = False, output: OutputOption = Output.TABLE
) -> None:
    """Have both ends destroy what they hold of this link, its pools, and undelivered keys built on it."""
    if not confirm:
        raise NotAllowedError(
            f"this destroys both pools of link '{name}', what is held of it in quarantine, and undelivered "
            "keys built on it; if that is meant, say so with --confirm"
        )
    async with network.admin() as admin:
        request = admin_pb2.DestroyLinkRequest(name=name)
        answer = await admin.DestroyLink(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(answer.order, output)


async def calibrate(network: Network, name: Link, output: OutputOption = Output.TABLE) -> None:
    """Have the devices of this link calibrate; it makes no key meanwhile, its pools go on."""
    async with network.admin() as admin:
        request = admin_pb2.CalibrateLinkRequest(name=name)
        answer = await admin.CalibrateLink(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(answer.order, output)


async def zeroize(
    network: Network, name: Node, confirm: Confirm = False, output: OutputOption = Output.TABLE
) -> None:
    """Have a node destroy all its key material, now."""
    if not confirm:
        raise NotAllowedError(
            f"this destroys every pool, share and undelivered key at node '{name}', and what its peers hold "
            "with it; if that is meant, say so with --confirm"
        )
    async with network.admin() as admin:
        request = admin_pb2.ZeroizeNodeRequest(name=name)
        answer = await admin.ZeroizeNode(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(answer.order, output)


def _show(order: admin_pb2.Order, output: Output) -> None:
    if output is Output.JSON:
        show_json(as_json(order))
    else:
        typer.echo(f"order {order.order_id} is stored; {waiting(order)}")


def waiting(order: admin_pb2.Order) -> str:
    """For whom an order waits."""
    if not order.waiting_for_nodes:
        return "carried out"
    return f"waits for {', '.join(order.waiting_for_nodes)}"


async def drain(network: Network, name: Node, output: OutputOption = Output.TABLE) -> None:
    """Relay nothing through this node: streams leave it make-before-break, those that end there go on."""
    await _maintain(network, types_pb2.Node(name=name, maintenance=True), output)


async def undrain(network: Network, name: Node, output: OutputOption = Output.TABLE) -> None:
    """Let this node relay again."""
    await _maintain(network, types_pb2.Node(name=name, maintenance=False), output)


async def _maintain(network: Network, node: types_pb2.Node, output: Output) -> None:
    request = admin_pb2.UpdateNodeRequest(node=node, update_mask=FieldMask(paths=["maintenance"]))
    async with network.admin() as admin:
        answer = await admin.UpdateNode(request, timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        typer.echo(f"node {node.name}: {'relays nothing' if answer.node.maintenance else 'relays again'}")


async def disable(network: Network, name: Link, output: OutputOption = Output.TABLE) -> None:
    """Take a link out of use at once: no path crosses it, and both ends destroy its pools."""
    await _switch(network, types_pb2.Link(name=name, disabled=True), output)


async def enable(network: Network, name: Link, output: OutputOption = Output.TABLE) -> None:
    """Use a link again; its pools start empty."""
    await _switch(network, types_pb2.Link(name=name, disabled=False), output)


async def _switch(network: Network, link: types_pb2.Link, output: Output) -> None:
    request = admin_pb2.UpdateLinkRequest(link=link, update_mask=FieldMask(paths=["disabled"]))
    async with network.admin() as admin:
        answer = await admin.UpdateLink(request, timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        typer.echo(f"link {link.name}: {'disabled' if answer.link.disabled else 'enabled'}")
