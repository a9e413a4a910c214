"""Protocol buffers on the wire (https://protobuf.dev/programming-guides/encoding/), read without their schema."""


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def protobuf_fields(data):
    """[(number, value)] of a message; a value is a whole number, or the bytes of a text, message or fixed-size number."""
    at, found = 0, []
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            size, at = varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at:at + size], at + size
        found.append((tag >> 3, value))
    return found
