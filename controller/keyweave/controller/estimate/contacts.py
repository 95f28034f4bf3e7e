"""Links that are not always up: a satellite's, which is in sight a few minutes a day.

Between contacts such a link makes no key, which is no fault: what its pools hold carries it to the next one.
"""

from keyweave.controller.estimate.track import LinkTrack
from keyweave.controller.samples import Contact

# A device may find its satellite a little late and lose it early: by so much, or this share of a pass.
_SLACK_SECONDS, _SLACK_RATIO = 30.0, 0.1
# Until when stock must last where no further window is known.
_UNKNOWN_SECONDS = 86_400.0
# A stock is not spent faster than over this, however soon the next window: it may be cloudy.
_LEAST_SECONDS = 60.0


def next_contact(track: LinkTrack, now: float) -> Contact | None:
    """The present or the next window that either end has told of; None where none is known."""
    coming = [window for end in track.ends for window in end.contacts if window.end > now]
    return min(coming, default=None)


def waits_for_contact(track: LinkTrack, now: float) -> bool:
    """Whether the ends do not see each other now, and are not expected to."""
    if not any(end.contacts for end in track.ends):
        return False
    window = next_contact(track, now)
    if window is None:
        return True
    slack = min(_SLACK_SECONDS, _SLACK_RATIO * (window.end - window.start))
    return not window.start + slack <= now < window.end - slack


def rate_of_stock(pool_bits: int, track: LinkTrack, now: float) -> float:
    """The rate (bit/s) at which what both pools hold lasts until the next window opens."""
    window = next_contact(track, now)
    seconds = window.start - now if window is not None else _UNKNOWN_SECONDS
    return pool_bits / max(_LEAST_SECONDS, seconds)
