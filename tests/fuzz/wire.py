"""Messages as a peer would write them that is broken, or means ill: made from the descriptors themselves."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

AnyMessage = TypeVar("AnyMessage", bound=Message)
Draw = st.DrawFn

_MAX_DEPTH = 5
_LONG = 70_000
_STRINGS = (
    "",
    "a",
    "x" * 63,
    "x" * 64,
    "../up",
    "A B",
    "a\nb",
    "nul\x00",
    "ä€😀",
    "-a",
    "x" * 301,
    "x" * _LONG,
)
_BYTES = (
    b"",
    b"\x00",
    b"\xff" * 15,
    bytes(16),
    b"\xff" * 16,
    bytes(17),
    bytes(32),
    bytes(33),
    bytes(16 * 1024 + 1),
    b"\xff" * _LONG,
)
_FLOATS = (0.0, -0.0, 0.11, 0.5, 1.0, -1.0, 1e-40, 5e-324, 1e308, math.inf, -math.inf, math.nan)
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
_FLOAT_TYPES = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


@dataclass(frozen=True, repr=False)
class Words:
    """What exists where the message goes, so that hostile messages get further than the first check."""

    texts: tuple[str, ...] = ()
    blobs: tuple[bytes, ...] = ()
    numbers: tuple[int, ...] = ()
    # Whole messages that are right, by their full name.
    samples: dict[str, tuple[Message, ...]] = field(default_factory=dict)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # what hypothesis shows of a strategy
        printer.text("Words(...)")

    @classmethod
    def of(
        cls,
        texts: Iterable[str] = (),
        blobs: Iterable[bytes] = (),
        numbers: Iterable[int] = (),
        samples: Iterable[Message] = (),
    ) -> "Words":
        """Words with these samples, every one under the name of its kind."""
        by_name: dict[str, tuple[Message, ...]] = {}
        for sample in samples:
            name = sample.DESCRIPTOR.full_name
            by_name[name] = (*by_name.get(name, ()), sample)
        return cls(tuple(texts), tuple(blobs), tuple(numbers), by_name)


def messages(kind: type[AnyMessage], words: Words) -> st.SearchStrategy[Any]:
    """Messages of a kind: invented, right ones with something wrong, and ones whose bytes were damaged.

    All can be serialized and parsed: what cannot be parsed is gRPC's to refuse.
    """
    descriptor: Any = kind.DESCRIPTOR
    name = descriptor.full_name
    ways: list[st.SearchStrategy[Any]] = [_invented(descriptor, words)]
    if name in words.samples:
        ways += [_right(name, words), _bent(name, words), _bent(name, words), _damaged(name, words)]
    return st.one_of(ways)


@st.composite
def _right(draw: Draw, name: str, words: Words) -> Message:
    return draw(st.sampled_from(words.samples[name]))


@st.composite
def _invented(draw: Draw, descriptor: Descriptor, words: Words) -> Message:
    return _invent(draw, descriptor, words, 0)


def _invent(draw: Draw, descriptor: Descriptor, words: Words, depth: int) -> Message:
    message: Message = GetMessageClass(descriptor)()
    fields = list(descriptor.fields)
    for oneof in descriptor.oneofs:
        for other in oneof.fields:
            fields.remove(other)
        if draw(st.integers(0, 7)):
            fields.append(draw(st.sampled_from(list(oneof.fields))))
    for each in fields:
        if draw(st.integers(0, 3)):
            _set(draw, message, each, words, depth)
    return message


@st.composite
def _bent(draw: Draw, name: str, words: Words) -> Message:
    sample = draw(st.sampled_from(words.samples[name]))
    message = _empty_like(sample)
    message.CopyFrom(sample)
    for _ in range(draw(st.integers(1, 3))):
        _bend(draw, message, words, 0)
    return message


def _bend(draw: Draw, message: Message, words: Words, depth: int) -> None:
    """Change one field, here or further inside."""
    descriptor: Any = message.DESCRIPTOR
    fields: list[FieldDescriptor] = list(descriptor.fields)
    if not fields:
        return
    present = [each for each, _ in message.ListFields()]
    elsewhere = not draw(st.integers(0, 3))
    each: FieldDescriptor = draw(st.sampled_from(fields if elsewhere or not present else present))
    if each in present and _is_plain_message(each) and draw(st.integers(0, 3)):
        inside = getattr(message, each.name)
        _bend(draw, draw(st.sampled_from(list(inside))) if each.is_repeated else inside, words, depth + 1)
        return
    how = draw(st.sampled_from(("set", "set", "clear", "repeat")))
    if how == "repeat" and each.is_repeated and not _is_map(each):
        values = list(getattr(message, each.name))
        getattr(message, each.name).extend(values * draw(st.sampled_from((1, 1, 70))))
        return
    message.ClearField(each.name)
    if how != "clear":
        _set(draw, message, each, words, depth)


@st.composite
def _damaged(draw: Draw, name: str, words: Words) -> Message:
    sample = draw(st.sampled_from(words.samples[name]))
    data = bytearray(sample.SerializeToString(deterministic=True))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("flip", "cut", "insert", "double"))):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                data += data[at:]
    message = _empty_like(sample)
    try:
        message.ParseFromString(bytes(data))
    except DecodeError:
        message.CopyFrom(sample)
    return message


def _empty_like(sample: Message) -> Message:
    descriptor: Any = sample.DESCRIPTOR
    empty: Message = GetMessageClass(descriptor)()
    return empty


def _set(draw: Draw, message: Message, each: FieldDescriptor, words: Words, depth: int) -> None:
    if depth >= _MAX_DEPTH and each.message_type is not None:
        return
    if _is_map(each):
        assert each.message_type is not None
        key, value = each.message_type.fields
        target = getattr(message, each.name)
        for _ in range(draw(st.integers(0, 3))):
            if value.message_type is None:
                target[_scalar(draw, key, words)] = _scalar(draw, value, words)
            else:
                target[_scalar(draw, key, words)].CopyFrom(_inside(draw, value, words, depth))
    elif each.message_type is not None:
        if each.is_repeated:
            values = [_inside(draw, each, words, depth) for _ in range(draw(st.integers(0, 3)))]
            getattr(message, each.name).extend(values)
        else:
            inside = getattr(message, each.name)
            inside.SetInParent()
            inside.CopyFrom(_inside(draw, each, words, depth))
    elif each.is_repeated:
        scalars = [_scalar(draw, each, words) for _ in range(draw(st.integers(0, 3)))]
        getattr(message, each.name).extend(scalars * draw(st.sampled_from((1, 1, 1, 600))))
    else:
        setattr(message, each.name, _scalar(draw, each, words))


def _inside(draw: Draw, each: FieldDescriptor, words: Words, depth: int) -> Message:
    assert each.message_type is not None
    samples = words.samples.get(each.message_type.full_name, ())
    as_it_should_be = draw(st.booleans())
    if samples and as_it_should_be:
        sample: Message = draw(st.sampled_from(samples))
        return sample
    return _invent(draw, each.message_type, words, depth + 1)


def _scalar(draw: Draw, each: FieldDescriptor, words: Words) -> Any:
    if each.type == FieldDescriptor.TYPE_BYTES:
        return draw(st.sampled_from(words.blobs * 3 + _BYTES))
    if each.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return draw(st.sampled_from(words.texts * 3 + _STRINGS))
    if each.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if each.cpp_type in _FLOAT_TYPES:
        return _as_float(draw(st.sampled_from(_FLOATS) | st.floats(allow_nan=True)), each)
    least, most = _BITS[each.cpp_type]
    if each.enum_type is not None:
        known = [value.number for value in each.enum_type.values]
        return draw(st.sampled_from([*known, *known, max(known) + 1, least, most]))
    near = [n for n in (*words.numbers * 3, 0, 1, 2, 7, 8, 255, 256, 768, 2**31 - 1, 2**53) if n <= most]
    return draw(st.sampled_from([*near, least, most, most - 1]) | st.integers(least, most))


def _as_float(value: float, each: FieldDescriptor) -> float:
    if each.cpp_type == FieldDescriptor.CPPTYPE_FLOAT and abs(value) > 3.4e38 and math.isfinite(value):
        return math.copysign(3.4e38, value)
    return value


def _is_map(each: FieldDescriptor) -> bool:
    return each.message_type is not None and bool(each.message_type.GetOptions().map_entry)


def _is_plain_message(each: FieldDescriptor) -> bool:
    return each.message_type is not None and not _is_map(each)
