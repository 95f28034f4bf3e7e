"""What devices measure, and which values of it can be true.

Units are those of the protocol: ratios, bit/s, dB, Hz, degrees Celsius, volts.
"""

import numpy as np

FINITE = float(np.finfo(np.float32).max)
_ABSOLUTE_ZERO_CELSIUS = -273.15

# Least and greatest possible value, in the order of the protocol's columns. Infinity is outside all of them;
# NaN marks a missing value.
LINK_RANGES: dict[str, tuple[float, float]] = {
    "qber_ratio": (0.0, 0.5),
    "skr_bps": (0.0, FINITE),
    "sifted_rate_bps": (0.0, FINITE),
    "loss_db": (0.0, 200.0),
    "visibility_ratio": (0.0, 1.0),
}
DETECTOR_RANGES: dict[str, tuple[float, float]] = {
    "count_rate_hz": (0.0, FINITE),
    "dark_count_rate_hz": (0.0, FINITE),
    "efficiency_ratio": (0.0, 1.0),
    "temperature_celsius": (_ABSOLUTE_ZERO_CELSIUS, FINITE),
    "bias_volts": (-FINITE, FINITE),
}
MAX_ROWS = 4096
MAX_DETECTORS = 16
# Windows of contact that a device tells at once.
MAX_CONTACTS = 16
MAX_DETECTOR_NAME = 63
