"""`keyweave guard`: what a node's owner does with the guard file, away from any controller."""

from pathlib import Path
from typing import Annotated

import typer

from keyweave.cli.exits import ExitCode
from keyweave.common.errors import describe_status

guard_app = typer.Typer(no_args_is_help=True, help="What a node's owner allows, whatever a controller says.")

TEMPLATE = """\
# What the owner of node {node} allows. Policy can only tighten it; no controller can change it.
# keyweave guard check FILE tells what it says; SIGHUP makes a running agent read it again.
node: {node}

# Nodes this one has business with: neighbours on its links, and far ends of its streams.
peers: [NEIGHBOUR, FAR-NODE]

# No link is used at a higher QBER, whatever threshold policy sets; single links may have their own.
qber_ceiling_ratio: 0.11
links:
  LINK: {{qber_ceiling_ratio: 0.06}}

# Which nodes you hold to be of a domain, for allowed_trust_domains below.
trust_domains:
  DOMAIN: [NEIGHBOUR]

# For each local SAE: with whom it may share keys, and what every such key needs at the least.
saes:
  LOCAL-SAE:
    - peer_sae: FAR-SAE
      peer_node: FAR-NODE
      require_qkd: true
      require_pqc: true
      min_k: 1                          # shares, each down a path of its own
      min_key_size_bits: 256
      # streams: [STREAM]               # left out: a stream of any name
      allowed_trust_domains: [DOMAIN]   # left out: any trusted node
      max_trusted_nodes: 2              # on each path; left out: no limit

# Which local SAEs may have entangled pairs of a pair stream that ends here.
pair_streams:
  STREAM: [LOCAL-SAE]

# What this node relays for others; left out: nothing.
transit:
  for_nodes: [NEIGHBOUR, FAR-NODE]      # both ends of a relayed path
  max_bps: 10000                        # secret bits that each neighbour may send through here
  max_bps_from: {{NEIGHBOUR: 100000}}

# For a laboratory only.
other_saes: refuse                      # "allow": a controller may set up SAEs that are not listed
accept_emulated: false                  # whether key bits that an emulator made count as QKD

may_clear_quarantine: false             # whether a controller may order suspect key to be used after all
"""


@guard_app.command("template")
def template(
    node: Annotated[str, typer.Argument(help="The node whose owner you are.")],
) -> None:
    """Print a guard to start from; names in capitals are yours to fill in."""
    typer.echo(TEMPLATE.format(node=node), nl=False)


@guard_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The guard (YAML).")],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="An agent's policy.json: what of it would not run?")
    ] = None,
) -> int:
    """Read a guard as the agent will, and say what it allows; 3 if it forbids some of a policy."""
    from keyweave.agent.guard.checks import lawful  # noqa: PLC0415
    from keyweave.agent.guard.model import Guard  # noqa: PLC0415  # other commands start faster without these
    from keyweave.agent.policy import PolicyStore  # noqa: PLC0415
    from keyweave.common import settings  # noqa: PLC0415
    from keyweave.common.errors import InvalidInputError  # noqa: PLC0415

    guard = settings.load(file, Guard)
    typer.echo(f"node {guard.node}, digest {guard.digest.hex()}")
    for line in guard.notes():
        typer.echo(f"note: {line}")
    if policy is None:
        return ExitCode.OK
    if not policy.is_file():
        raise InvalidInputError.of("--policy", f"{policy} is no file")
    _, withheld = lawful(guard, PolicyStore(policy).policy.rules)
    for status in withheld:
        typer.echo(f"{status.rule_id}: {describe_status(status.status)}")
    if not withheld:
        typer.echo("the policy runs as it is")
    return ExitCode.DEGRADED if withheld else ExitCode.OK
