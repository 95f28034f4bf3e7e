"""Numbers as people read them, by Grafana's names of units."""

import math

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"))
_SPANS = (
    (604800, "weeks"),
    (86400, "days"),
    (3600, "hours"),
    (60, "min"),
    (1, "s"),
    (1e-3, "ms"),
    (1e-6, "µs"),
)
_SYMBOLS = {"bps": "bit/s", "decbits": "bit", "hertz": "Hz", "bytes": "B", "short": ""}
_PLAIN = {"dB": "dB", "celsius": "°C", "volt": "V"}


def shown(value: float, unit: str) -> str:
    """The value with its unit."""
    if math.isinf(value):
        return "∞"
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        scale, symbol = next(((s, n) for s, n in _SPANS if abs(value) >= s), (1.0, "s"))
        return f"{value / scale:.3g} {symbol}"
    if unit in _PLAIN:
        return f"{value:.4g} {_PLAIN[unit]}"
    if unit == "short" and abs(value) < 10_000:
        return f"{value:.4g}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
    return f"{value / scale:.3g} {prefix}{_SYMBOLS.get(unit, unit)}".strip()
