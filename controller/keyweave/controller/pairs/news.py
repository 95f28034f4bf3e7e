"""What those who watch are told of pair links and pair streams. Pure; owned by `supply`."""

from collections.abc import Iterator

from keyweave.controller.events import Event, Severity
from keyweave.controller.pairs.book import ConditionChange
from keyweave.controller.pairs.estimate import FidelityEstimate
from keyweave.controller.pairs.served import PairStreamView, State
from keyweave.controller.pairs.streams import PairStream
from keyweave.controller.topology import Condition

_SEVERITY = {Condition.DOWN: Severity.MAJOR, Condition.STALE: Severity.MINOR}


def link_changed(change: ConditionChange, now: float) -> Iterator[Event]:
    """A link's condition."""
    message = f"pair link '{change.link}' went from {change.before} to {change.after}: {change.reason}"
    fields = {"old": change.before, "new": change.after, "reason": change.reason}
    severity = _SEVERITY.get(change.after, Severity.INFO)
    yield Event("pair_link_condition_changed", severity, message, now, link=change.link, fields=fields)


def way_changed(view: PairStreamView, now: float) -> Event:
    """A stream has other paths."""
    name = view.stream.name
    paths = "; ".join("-".join(way.path.nodes) for way in view.ways)
    message = (
        f"pair stream '{name}' goes over {paths}: {view.predicted_rate_hz:.3g} pairs/s of fidelity "
        f"{view.predicted_fidelity:.3f} predicted"
    )
    fields = {
        "paths": paths,
        "predicted_rate_hz": f"{view.predicted_rate_hz:.4g}",
        "predicted_fidelity": f"{view.predicted_fidelity:.4f}",
    }
    return Event("pair_plan_changed", Severity.INFO, message, now, stream=name, fields=fields)


def state_changed(view: PairStreamView, before: State | None, now: float) -> Iterator[Event]:
    """A stream is met, no longer met, or over."""
    name, reason = view.stream.name, view.reason
    fields = {"reason": reason} if reason else {}
    match view.state:
        case State.UNMET:
            message = f"pair stream '{name}' gets no pairs: {reason}"
            yield Event("pair_stream_unmet", Severity.MAJOR, message, now, stream=name, fields=fields)
        case State.PARTLY_MET:
            message = f"pair stream '{name}' gets fewer pairs than it asks for: {reason}"
            yield Event("pair_stream_unmet", Severity.MINOR, message, now, stream=name, fields=fields)
        case State.MET:
            if before is not None:
                message = f"pair stream '{name}' gets what it asks for again"
                yield Event("pair_stream_met", Severity.INFO, message, now, stream=name)
        case State.ENDED:
            if before is not State.ENDED:
                message = f"pair stream '{name}' is over: {reason}"
                yield Event("pair_stream_ended", Severity.INFO, message, now, stream=name, fields=fields)


def fidelity_changed(stream: PairStream, measured: FidelityEstimate, *, low: bool, now: float) -> Event:
    """What is delivered is surely below the floor, or no longer."""
    said = f"{measured.fidelity:.3f} ({measured.low:.3f} to {measured.high:.3f})"
    fields = {"measured_fidelity": f"{measured.fidelity:.4f}", "min_fidelity": f"{stream.min_fidelity:g}"}
    if low:
        message = f"pair stream '{stream.name}' delivers fidelity {said}, below {stream.min_fidelity:g}"
        severity = Severity.MAJOR
    else:
        message = f"pair stream '{stream.name}' delivers fidelity {said} again"
        severity = Severity.INFO
    return Event("pair_fidelity_changed", severity, message, now, stream=stream.name, fields=fields)
