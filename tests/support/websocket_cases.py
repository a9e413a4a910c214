"""The conversations of Autobahn's WebSocket test suite, by its numbers, told anew: what the client sends, and what a
conforming echo server must make of it. Sizes of its performance cases (9, 12, 13) are cut to what takes milliseconds.

A case is (number, parts to send, outcome). The outcome is a list of messages that come back before a close by 1000,
or the set of codes with which the server must fail the connection.
"""
import zlib

from support.websocket_lab import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

PROTOCOL_ERROR, INVALID_DATA = {1002}, {1007}
GOODBYE = frame(CLOSE, (1000).to_bytes(2, "big"))
HELLO = b"Hello, world!"
PINGED = frame(PING, HELLO)


def chop(data, size=1):
    return [data[start:start + size] for start in range(0, len(data), size)]


def fragments(opcode, payload, size):
    parts = chop(payload, size) or [b""]
    return [frame(opcode if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1) for i, part in enumerate(parts)]


def whole(number, parts, echoes):
    return number, [*parts, GOODBYE], echoes


def failing(number, parts, codes=frozenset(PROTOCOL_ERROR)):
    return number, list(parts), set(codes)


def framing():
    for kind, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for i, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            yield whole(f"1.{kind}.{i}", [frame(opcode, byte * size)], [byte * size])
        yield whole(f"1.{kind}.8", chop(frame(opcode, byte * 65536), 997), [byte * 65536])


def pings_and_pongs():
    for number, payload in (("2.1", b""), ("2.2", HELLO), ("2.3", bytes(range(256))[128:228]), ("2.4", b"\xfe" * 125)):
        yield whole(number, [frame(PING, payload)], [])
    yield failing("2.5", [frame(PING, b"\xfe" * 126)])
    yield whole("2.6", chop(frame(PING, b"\xfe" * 125)), [])
    yield whole("2.7", [frame(PONG)], [])
    yield whole("2.8", [frame(PONG, b"unsolicited")], [])
    yield whole("2.9", [frame(PONG, b"unsolicited"), frame(PING, b"asked")], [])
    yield whole("2.10", [frame(PING, b"payload-%d" % i) for i in range(10)], [])
    yield whole("2.11", [byte for i in range(10) for byte in chop(frame(PING, b"payload-%d" % i))], [])


def reserved_bits():
    yield failing("3.1", [frame(TEXT, HELLO, reserved=1)])
    sequence = [frame(TEXT, HELLO), frame(TEXT, HELLO, reserved=2), PINGED]
    yield failing("3.2", sequence)
    yield failing("3.3", [b"".join(sequence)])
    yield failing("3.4", chop(frame(TEXT, HELLO) + frame(TEXT, HELLO, reserved=3) + PINGED))
    yield failing("3.5", [frame(BINARY, HELLO, reserved=5)])
    yield failing("3.6", [frame(PING, HELLO, reserved=6)])
    yield failing("3.7", [frame(CLOSE, b"\x03\xe8", reserved=7)])


def reserved_opcodes():
    for section, first in ((1, 3), (2, 11)):
        for i in range(5):
            number, opcode = f"4.{section}.{i + 1}", first + i
            if i == 0:
                yield failing(number, [frame(opcode)])
            elif i == 1:
                yield failing(number, [frame(opcode, b"reserved opcode payload")])
            elif i == 4:
                yield failing(number, chop(frame(TEXT, HELLO) + frame(opcode, HELLO) + PINGED))
            else:
                yield failing(number, [frame(TEXT, HELLO), frame(opcode, HELLO if i == 3 else b""), PINGED])


def fragmentation():
    text = b"fragment1fragment2"
    pair = fragments(TEXT, text, 9)
    lonely = frame(CONTINUATION, b"non-continuation payload")
    lonely_open = frame(CONTINUATION, b"non-continuation payload", fin=False)
    yield failing("5.1", [frame(PING, b"fragment1", fin=False), frame(CONTINUATION, b"fragment2")])
    yield failing("5.2", [frame(PONG, b"fragment1", fin=False), frame(CONTINUATION, b"fragment2")])
    yield whole("5.3", pair, [text])
    yield whole("5.4", [b"".join(pair)], [text])
    yield whole("5.5", chop(b"".join(pair)), [text])
    yield whole("5.6", [pair[0], PINGED, pair[1]], [text])
    yield whole("5.7", [pair[0] + PINGED + pair[1]], [text])
    yield whole("5.8", chop(pair[0] + PINGED + pair[1]), [text])
    for number, first in (("5.9", lonely), ("5.12", lonely_open)):
        section, case = number.split(".")
        together = first + frame(TEXT, HELLO)
        yield failing(number, [first, frame(TEXT, HELLO)])
        yield failing(f"{section}.{int(case) + 1}", [together])
        yield failing(f"{section}.{int(case) + 2}", chop(together))
    yield failing("5.15", [*pair, lonely_open, frame(TEXT, HELLO)])
    yield failing("5.16", [lonely_open, *pair, lonely_open, *pair])
    yield failing("5.17", [lonely, *pair, lonely, *pair])
    yield failing("5.18", [frame(TEXT, b"fragment1", fin=False), frame(TEXT, b"fragment2")])
    five = fragments(TEXT, b"".join(b"fragment%d" % i for i in range(1, 6)), 9)
    between = [part for i, one in enumerate(five) for part in ([one, frame(PING, b"pongme %d!" % i)] if i < 4 else [one])]
    yield whole("5.19", between, [b"fragment1fragment2fragment3fragment4fragment5"])
    yield whole("5.20", [b"".join(between)], [b"fragment1fragment2fragment3fragment4fragment5"])


KOSME = "κόσμε".encode()
GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()


def utf8_texts():
    """(number, bytes) of the sections 6.5 to 6.23: whether they are UTF-8 is for Python to say."""
    yield "6.5.1", KOSME
    for i in range(1, len(KOSME) + 1):
        yield f"6.6.{i}", KOSME[:i]
    groups = {
        "6.7": (b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"),
        "6.8": (b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
        "6.9": (b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"),
        "6.10": (b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
        "6.11": (b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"),
        "6.12": (b"\x80", b"\xbf", *(b"\x80\xbf" * n + b"\x80" * odd for n in (1, 2, 3) for odd in (0, 1)), bytes(range(0x80, 0xc0))),
        "6.13": (b" ".join(bytes([c]) for c in range(0xc0, 0xe0)) + b" ", b" ".join(bytes([c]) for c in range(0xe0, 0xf0)) + b" ",
                 b" ".join(bytes([c]) for c in range(0xf0, 0xf8)) + b" ", b"\xf8 \xf9 \xfa \xfb ", b"\xfc \xfd "),
        "6.14": (b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80", b"\xdf", b"\xef\xbf",
                 b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"),
        "6.15": (b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf",),
        "6.16": (b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"),
        "6.17": (b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"),
        "6.18": (b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"),
        "6.19": (b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"),
        "6.20": (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"),
        "6.21": tuple(high + low for high in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
                      for low in (b"\xed\xb0\x80", b"\xed\xbf\xbf")),
        "6.22": tuple(chr((plane << 16) + last).encode() for plane in range(17) for last in (0xfffe, 0xffff)),
        "6.23": tuple(chr(code).encode() for code in range(0xfff9, 0x10000)),
    }
    for section, texts in groups.items():
        for i, text in enumerate(texts, 1):
            yield f"{section}.{i}", text


def utf8():
    broken = KOSME + b"\xed\xa0\x80" + b"edited"
    yield whole("6.1.1", [frame(TEXT)], [b""])
    yield whole("6.1.2", [frame(TEXT, fin=False), frame(CONTINUATION, fin=False), frame(CONTINUATION)], [b""])
    yield whole("6.1.3", [frame(TEXT, fin=False), frame(CONTINUATION, b"middle frame payload", fin=False), frame(CONTINUATION)],
                [b"middle frame payload"])
    yield whole("6.2.1", [frame(TEXT, GREETING)], [GREETING])
    yield whole("6.2.2", fragments(TEXT, GREETING, 12), [GREETING])
    yield whole("6.2.3", fragments(TEXT, GREETING, 1), [GREETING])
    yield whole("6.2.4", fragments(TEXT, KOSME, 1), [KOSME])
    yield failing("6.3.1", [frame(TEXT, broken)], INVALID_DATA)
    yield failing("6.3.2", fragments(TEXT, broken, 1), INVALID_DATA)
    for i, bad in enumerate((b"\xf4\x90\x80\x80", b"\xed\xa0\x80"), 1):
        yield failing(f"6.4.{i}", [frame(TEXT, KOSME, fin=False), frame(CONTINUATION, bad, fin=False),
                                   frame(CONTINUATION, b"edited")], INVALID_DATA)
        yield failing(f"6.4.{i + 2}", [*chop(frame(TEXT, KOSME + bad + b"edited"), 7)], INVALID_DATA)
    for number, text in utf8_texts():
        try:
            text.decode()
        except UnicodeDecodeError:
            yield failing(number, [frame(TEXT, text)], INVALID_DATA)
        else:
            yield whole(number, [frame(TEXT, text)], [text])


def closes(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def closing():
    yield whole("7.1.1", [frame(TEXT, HELLO)], [HELLO])
    yield "7.1.2", [GOODBYE, GOODBYE], []
    yield "7.1.3", [GOODBYE, frame(PING)], []
    yield "7.1.4", [GOODBYE, frame(TEXT, HELLO)], []
    yield "7.1.5", [frame(TEXT, b"fragment1", fin=False), GOODBYE, frame(CONTINUATION, b"fragment2")], []
    yield whole("7.1.6", [frame(TEXT, b"BAsd7&jh23" * 25600), frame(TEXT, HELLO)], [b"BAsd7&jh23" * 25600, HELLO])
    yield "7.3.1", [frame(CLOSE)], []
    yield failing("7.3.2", [frame(CLOSE, b"a")])
    yield "7.3.3", [closes(1000)], []
    yield "7.3.4", [closes(1000, b"Hello World!")], []
    yield "7.3.5", [closes(1000, b"*" * 123)], []
    yield failing("7.3.6", [closes(1000, b"*" * 124)])
    yield failing("7.5.1", [closes(1000, KOSME + b"\xed\xa0\x80edited")], INVALID_DATA)
    for i, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield f"7.7.{i}", [closes(code)], []
    for i, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield failing(f"7.9.{i}", [closes(code)])


def large_messages():
    for section, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for i, kib in enumerate((64, 256, 1024), 1):
            yield whole(f"9.{section}.{i}", [frame(opcode, byte * (kib << 10))], [byte * (kib << 10)])
        for i, size in enumerate((256, 1 << 10, 4 << 10, 64 << 10), 2):
            yield whole(f"9.{section + 2}.{i}", fragments(opcode, byte * (256 << 10), size), [byte * (256 << 10)])
        for i, size in enumerate((64, 512, 2048), 1):
            yield whole(f"9.{section + 4}.{i}", chop(frame(opcode, byte * (256 << 10)), size), [byte * (256 << 10)])
        for i, size in enumerate((0, 16, 64, 256, 1024), 1):
            yield whole(f"9.{section + 6}.{i}", [frame(opcode, byte * size) for _ in range(200)], [byte * size] * 200)
    yield whole("10.1.1", fragments(TEXT, b"*" * 65536, 1300), [b"*" * 65536])


SECTIONS = {"1 framing": framing, "2 pings and pongs": pings_and_pongs, "3 reserved bits": reserved_bits,
            "4 opcodes": reserved_opcodes, "5 fragmentation": fragmentation, "6 UTF-8": utf8, "7 closing": closing,
            "9 and 10 large messages": large_messages}

# Section 13: what the client offers, and the parameters that it compresses with.
OFFERS = {
    "13.1": ("permessage-deflate", 15, True),
    "13.2": ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15, False),
    "13.3": ("permessage-deflate; client_max_window_bits=9; server_max_window_bits=9", 9, True),
    "13.4": ("permessage-deflate; client_max_window_bits; server_max_window_bits=12", 12, True),
    "13.5": ("permessage-deflate; server_no_context_takeover; client_max_window_bits=9; server_max_window_bits=9", 9, True),
    "13.6": ("permessage-deflate; client_no_context_takeover; client_max_window_bits=12", 12, False),
}


def compressible(size):
    return (b'{"AutobahnPython": [1, 2, 3, "zero"]}, ' * (size // 39 + 1))[:size]


def deflated(payload, state):
    return (state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def compressed_messages(bits, keeps_context, opcode):
    """(frames, messages): 16 bytes to 128 KiB, some in fragments, some not compressed."""
    messages = [compressible(16 << i) for i in range(14)]
    parts, state = [], None
    for i, one in enumerate(messages):
        if i % 5 == 4:
            parts.append(frame(opcode, one))
            continue
        if state is None or not keeps_context:
            state = zlib.compressobj(wbits=-bits)
        data = deflated(one, state)
        pieces = chop(data, max(len(data) // (1 + i % 3), 1))
        parts += [frame(opcode if j == 0 else CONTINUATION, piece, fin=j == len(pieces) - 1, reserved=4 if j == 0 else 0)
                  for j, piece in enumerate(pieces)]
    return parts, messages
