"""Protobuf messages put together from parts that are serialized already.

Messages are concatenations of fields; the deterministic form has them in the order of their numbers
(https://protobuf.dev/programming-guides/encoding/).
"""

_LENGTH_DELIMITED = 2
_CONTINUES = 0x80


def field(number: int, content: bytes) -> bytes:
    """A field of type message, string or bytes."""
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Seven bits a byte, least significant first; the top bit says that more follow."""
    out = bytearray()
    while value >= _CONTINUES:
        out.append(value & (_CONTINUES - 1) | _CONTINUES)
        value >>= 7
    out.append(value)
    return bytes(out)
