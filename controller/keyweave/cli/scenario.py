"""`keyweave scenario check|show|plot`: a scenario file, without starting anything."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from keyweave.cli.output import Output, OutputOption, show_json
from keyweave.cli.tables import new_table, rate
from keyweave.common.errors import InvalidInputError, KeyweaveError, Violation

if TYPE_CHECKING:  # it brings in the emulator's physics, which no other command needs
    from keyweave.emulator.scenario import LinkSpec, Scenario, StreamSpec

app = typer.Typer(no_args_is_help=True, help="Scenario files: check, show and draw them.")
_TABLE_COLUMNS = 150
File = Annotated[Path, typer.Argument(help="Scenario file (YAML).")]


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario files (YAML).")],
) -> None:
    """Say what is wrong with scenario files, each error with its line; warn of what can never work."""
    wrong: list[Violation] = []
    for file in files:
        try:
            scenario = _load(file)
        except InvalidInputError as error:
            wrong += error.violations
            continue
        for warning in _warnings(scenario):
            sys.stderr.write(f"warning: {file}: {warning}\n")
        typer.echo(f"{file}: good: {scenario.name}, {_counts(scenario)}")
    if wrong:
        raise InvalidInputError(wrong)


@app.command("show")
def show_(file: File, output: OutputOption = Output.TABLE) -> None:
    """A scenario's nodes, links as they start, streams, quantum memories and timeline."""
    scenario = _load(file)
    if output is Output.JSON:
        show_json(_as_json(scenario))
        return
    typer.echo(f"{scenario.name}: {scenario.description}" if scenario.description else scenario.name)
    wide = Console(width=_TABLE_COLUMNS, highlight=False)
    parts = (
        _nodes(scenario),
        _links(scenario),
        _streams(scenario),
        _memories(scenario),
        _pair_links(scenario),
        _pair_streams(scenario),
        _timeline(scenario),
    )
    for part in parts:
        if part.row_count:
            # Whole, however narrow the terminal: this is what people copy from.
            wide.print(part, soft_wrap=True)


@app.command()
def plot(
    file: File,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write: .svg or .png.")],
) -> None:
    """Draw a map of a scenario; needs matplotlib (`pip install 'keyweave[plot]'`)."""
    from keyweave.cli.scenario_map import FORMATS, draw  # noqa: PLC0415  # an optional extra

    if output.suffix not in FORMATS:
        raise InvalidInputError.of("--output", f"{output} is no {' or '.join(FORMATS)} file; name one")
    try:
        draw(_load(file), output)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise KeyweaveError(
            "drawing needs matplotlib, which is not installed; pip install 'keyweave[plot]'"
        ) from None
    except OSError as error:
        raise InvalidInputError.of("--output", f"{output} cannot be written: {error.strerror}") from None
    typer.echo(f"{output}: written")


def _counts(scenario: "Scenario") -> str:
    pairs = ""
    if scenario.pair_links:
        pairs = f"{len(scenario.pair_links)} pair links, {len(scenario.pair_streams)} pair streams, "
    return (
        f"{len(scenario.nodes)} nodes, {len(scenario.links)} links, {len(scenario.streams)} streams, "
        f"{pairs}{len(scenario.timeline)} faults to come"
    )


def _load(file: Path) -> "Scenario":
    from keyweave.emulator.scenario import load_scenario  # noqa: PLC0415  # other commands start faster

    return load_scenario(file)


def _warnings(scenario: "Scenario") -> Iterator[str]:
    import networkx as nx  # noqa: PLC0415  # other commands start faster without it

    graph = nx.Graph()
    graph.add_nodes_from(node.name for node in scenario.nodes)
    pairs = graph.copy()
    graph.add_edges_from((link.a, link.b) for link in scenario.links)
    graph.add_edges_from(
        (each.source_node, each.target_node) for each in scenario.pair_streams if each.key_link
    )
    for stream in scenario.streams:
        if not nx.has_path(graph, stream.source_node, stream.target_node):
            yield f"stream '{stream.name}': no links join {stream.source_node} and {stream.target_node}"
    pairs.add_edges_from((link.a, link.b) for link in scenario.pair_links)
    for wanted in scenario.pair_streams:
        if not nx.has_path(pairs, wanted.source_node, wanted.target_node):
            ends = f"{wanted.source_node} and {wanted.target_node}"
            yield f"pair stream '{wanted.name}': no pair links join {ends}"


def _qber_ratio(link: "LinkSpec") -> float | None:
    """The QBER at the start; None where the protocol counts no errors (CV-QKD)."""
    from keyweave.emulator.physics.channel import Channel  # noqa: PLC0415  # other commands start faster

    expected = link.devices.protocol.expected(Channel(link.least_loss_db))
    return expected.noise if expected.counts_errors else None


def _as_json(scenario: "Scenario") -> dict[str, Any]:
    content: dict[str, Any] = scenario.model_dump(mode="json", exclude_none=True)
    for link, spec in zip(content["links"], scenario.links, strict=True):
        link["at_start"] = {"qber_ratio": _qber_ratio(spec), "skr_bps": spec.undisturbed_skr_bps}
    for link, pair_link in zip(content["pair_links"], scenario.pair_links, strict=True):
        fidelity = pair_link.attempt(0.0).state.fidelity
        link["at_start"] = {"pairs_hz": pair_link.undisturbed_hz, "fidelity": fidelity}
    return content


def _nodes(scenario: "Scenario") -> Table:
    nodes = new_table("Nodes", "node", "domain", "owner", "location", "latitude", "longitude")
    for node in scenario.nodes:
        place = (f"{node.latitude_degrees:.3f}", f"{node.longitude_degrees:.3f}")
        nodes.add_row(node.name, node.trust_domain, node.owner, node.location, *place)
    return nodes


def _links(scenario: "Scenario") -> Table:
    links = new_table(
        "Links", "link", "ends", "technology", "km", "loss dB", "QBER %", "key rate", "risk groups"
    )
    for link in scenario.links:
        qber = _qber_ratio(link)
        links.add_row(
            link.name,
            f"{link.a} - {link.b}",
            f"{link.technology} {_way(link)}".rstrip(),
            f"{link.least_km:.4g}",
            f"{link.least_loss_db:.1f}",
            "-" if qber is None else f"{100 * qber:.2f}",
            rate(link.undisturbed_skr_bps),
            ", ".join(link.risk_groups),
        )
    return links


def _way(link: "LinkSpec") -> str:
    """What it is that is no fibre. A satellite's figures are those of a pass straight above."""
    if link.satellite:
        return "satellite"
    return "free space" if link.is_free_space else ""


def _streams(scenario: "Scenario") -> Table:
    streams = new_table(
        "Streams", "stream", "from", "to", "at least", "at most", "priority", "paths", "requires"
    )
    for stream in scenario.streams:
        streams.add_row(
            stream.name,
            stream.source_node,
            stream.target_node,
            rate(stream.min_rate_bps),
            rate(stream.max_rate_bps) if stream.max_rate_bps else "no limit",
            f"{stream.priority}",
            f"{stream.k or 1}",
            _required(stream),
        )
    return streams


def _required(stream: "StreamSpec") -> str:
    needed = [word for word, on in (("QKD", stream.require_qkd), ("ML-KEM", stream.require_pqc)) if on]
    if stream.pqc_only:
        return "ML-KEM alone"
    return " and ".join(needed) or "strongest available"


def _memories(scenario: "Scenario") -> Table:
    memories = new_table(
        "Memories",
        "node",
        "model",
        "memories",
        "T1 s",
        "T2 s",
        "swaps %",
        "swap fidelity",
        "readout fidelity",
    )
    for node in scenario.nodes:
        if bank := node.memories:
            coherence = bank.coherence(1.0)
            memories.add_row(
                node.name,
                bank.model,
                f"{bank.count}",
                _seconds(coherence.t1_seconds),
                _seconds(coherence.t2_seconds),
                f"{100 * bank.swap_success_ratio:g}",
                f"{bank.swap_fidelity:g}",
                f"{bank.readout_fidelity:g}",
            )
    return memories


def _seconds(seconds: float) -> str:
    return "for ever" if math.isinf(seconds) else f"{seconds:g}"


def _pair_links(scenario: "Scenario") -> Table:
    """Rates are those of one pair of memories."""
    links = new_table("Pair links", "link", "ends", "heralding", "km", "attempts/s", "pairs/s", "fidelity")
    for link in scenario.pair_links:
        links.add_row(
            link.name,
            f"{link.a} - {link.b}",
            link.heralding.kind,
            f"{link.length_km:.4g}",
            f"{link.attempts_hz:.4g}",
            f"{link.undisturbed_hz:.3g}",
            f"{link.attempt(0.0).state.fidelity:.4f}",
        )
    return links


def _pair_streams(scenario: "Scenario") -> Table:
    streams = new_table(
        "Pair streams", "stream", "from", "to", "type", "fidelity", "pairs/s", "priority", "feeds key link"
    )
    for stream in scenario.pair_streams:
        streams.add_row(
            stream.name,
            stream.source_node,
            stream.target_node,
            stream.type.upper(),
            f"at least {stream.min_fidelity:g}",
            f"{stream.rate_hz:g}",
            f"{stream.priority}",
            stream.key_link or "",
        )
    return streams


def _timeline(scenario: "Scenario") -> Table:
    timeline = new_table("Timeline", "at s", "fault", "of", "magnitude", "ramp s", "lasts s")
    for entry in sorted(scenario.timeline, key=lambda entry: entry.at_seconds):
        fault = entry.to_fault()
        lasts = "until restored" if fault.duration_seconds is None else f"{fault.duration_seconds:g}"
        timeline.add_row(
            f"{entry.at_seconds:g}",
            entry.fault,
            entry.link or f"node {entry.node}" + (f" - {entry.peer}" if entry.peer else ""),
            entry.magnitude_text,
            f"{entry.ramp_seconds:g}" if entry.ramp_seconds else "",
            lasts,
        )
    return timeline
