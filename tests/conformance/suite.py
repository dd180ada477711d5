# SPDX-License-Identifier: Apache-2.0
"""Groups 1 to 10: what the groups of the Autobahn testsuite with the same numbers try, under the same ids.

1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8, 7 close handling, 9 limits and
performance, 10 automatic fragmentation. Where that suite waits for a second to see that nothing comes, these cases send
a ping: its pong is the next thing that comes, or something was there.
"""
import functools
import time

from judge import BOTH, INFORMATIONAL, NON_STRICT, add, close_frame
from wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Fault, fragments, frame, header, mask

KIB = 1024
MIB = 1024 * 1024
HELLO = b"Hello, world!"


def chopped(p, how, *frames):
    """Sends frames all at once, one by one ("frames"), or octet by octet ("octets")."""
    if how == "octets":
        p.send(b"".join(frames), chop=1)
    elif how == "frames":
        for f in frames:
            p.send(f)
    else:
        p.send(b"".join(frames))


# ---- 1: framing ------------------------------------------------------------------------------------------------------


def echo(opcode, payload, chop=None, size=None, key=None):
    """Sends one message, in writes of @chop bytes and fragments of @size, and gets it back."""
    def run(t):
        p = t.open()
        data = t.way.pack(opcode, payload)
        p.send(fragments(opcode, data, size) if size else frame(opcode, data, key=key), chop)
        return t.client_closes(p, [t.want(opcode, payload)])
    return run


def framing():
    for group, opcode, octet, name in ((1, TEXT, b"*", "text"), (2, BINARY, b"\xfe", "binary")):
        for i, n in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            add(f"1.{group}.{i}", "6455 §5.2", f"A {name} message of {n} bytes comes back.", echo(opcode, octet * n),
                ways=BOTH if n and opcode == TEXT else ("echo",))
        add(f"1.{group}.8", "6455 §5.2", f"A {name} message of 65536 bytes in writes of 997 bytes comes back.",
            echo(opcode, octet * 65536, chop=997))


# ---- 2: pings and pongs ----------------------------------------------------------------------------------------------


def ping(payload, chop=None):
    def run(t):
        p = t.open()
        p.send(frame(PING, payload), chop)
        return t.client_closes(p, [("pong", payload)])
    return run


def ping_too_long(t):
    p = t.open()
    p.send(frame(PING, b"\xfe" * 126))
    return t.server_closes(p, [], 1002)


def pongs_unasked(*frames_and_wants):
    def run(t):
        p = t.open()
        p.send(b"".join(f for f, _ in frames_and_wants))
        return t.client_closes(p, [w for _, w in frames_and_wants if w])
    return run


def ten_pings(chop):
    def run(t):
        p = t.open()
        payloads = [b"payload-%d" % i for i in range(10)]
        for x in payloads:
            p.send(frame(PING, x), chop)
        return t.client_closes(p, [("pong", x) for x in payloads])
    return run


def pings():
    cases = [
        ("A ping without payload gets its pong.", ping(b"")),
        ("A ping with a text gets a pong with the same.", ping(HELLO)),
        ("A ping with bytes that are no text gets a pong with the same.", ping(bytes.fromhex("00fffefdfcfb00ff"))),
        ("A ping of 125 bytes gets a pong with the same.", ping(b"\xfe" * 125)),
        ("A ping of 126 bytes fails the connection: 1002.", ping_too_long),
        ("A ping of 125 bytes, octet by octet, gets its pong.", ping(b"\xfe" * 125, chop=1)),
        ("A pong that nobody asked for is passed over.", pongs_unasked((frame(PONG), None))),
        ("A pong with a payload that nobody asked for is passed over.",
         pongs_unasked((frame(PONG, b"unsolicited pong payload"), None))),
        ("A pong that nobody asked for and then a ping: the ping's pong is all that comes.",
         pongs_unasked((frame(PONG, b"unsolicited pong payload"), None), (frame(PING, b"ping"), ("pong", b"ping")))),
        ("Ten pings get ten pongs in order.", ten_pings(None)),
        ("Ten pings, octet by octet, get ten pongs in order.", ten_pings(1)),
    ]
    for i, (text, run) in enumerate(cases, 1):
        add(f"2.{i}", "6455 §5.5.2" if "ping" in text else "6455 §5.5.3", text, run, ways=BOTH)


# ---- 3 and 4: reserved bits, opcodes ---------------------------------------------------------------------------------


def wrong_alone(*bad):
    """One frame, and the connection is failed; each of @bad on a connection of its own."""
    def run(t):
        for b in bad:
            p = t.open()
            p.send(b(t))
            verdict = t.server_closes(p, [], 1002)
        return verdict
    return run


def wrong_between(bad, how):
    """A text, the wrong frame, a ping: the text comes back, the pong does not."""
    def run(t):
        p = t.open()
        chopped(p, how, t.text(HELLO), bad(t), frame(PING))
        return t.server_closes(p, [t.want(TEXT, HELLO)], 1002, lax=[[]])
    return run


def reserved_bits():
    def text_with(rsv):
        return lambda t: t.text(HELLO, rsv=rsv)
    cases = [
        ("A text with RSV3 fails the connection.", wrong_alone(text_with(1))),
        ("A text, a text with RSV2, a ping: the echo comes, then the connection fails.",
         wrong_between(text_with(2), None)),
        ("A text, a text with RSV2 and RSV3, a ping, frame by frame: the echo, then the connection fails.",
         wrong_between(text_with(3), "frames")),
        ("A text, a text with RSV1 where nothing was agreed, a ping, octet by octet: the echo, then it fails.",
         wrong_between(text_with(4), "octets")),
        ("A binary message with RSV1 and RSV3 fails the connection.",
         wrong_alone(lambda t: t.frame(BINARY, b"12345678", rsv=5))),
        ("A ping with RSV1 and RSV2 fails the connection, and so does a binary message.",
         wrong_alone(lambda t: frame(PING, HELLO, rsv=6), lambda t: t.frame(BINARY, HELLO, rsv=6))),
        ("A close with all three reserved bits, with a code or without, fails the connection: 1002.",
         wrong_alone(lambda t: close_frame(1000, rsv=7), lambda t: frame(CLOSE, rsv=7))),
    ]
    for i, (text, run) in enumerate(cases, 1):
        add(f"3.{i}", "6455 §5.2", text, run, ways=BOTH)


def opcodes():
    for group, first, name in ((1, 3, "non-control"), (2, 11, "control")):
        def bad(opcode, payload):
            return lambda t: frame(opcode, payload)
        cases = [
            ("alone, without payload", wrong_alone(bad(first, b""))),
            ("alone, with a payload", wrong_alone(bad(first + 1, b"reserved opcode payload"))),
            ("behind a text and before a ping", wrong_between(bad(first + 2, b""), "frames")),
            ("with a payload, behind a text and before a ping", wrong_between(bad(first + 3, HELLO), None)),
            ("with a payload, behind a text and before a ping, octet by octet",
             wrong_between(bad(first + 4, HELLO), "octets")),
        ]
        for i, (text, run) in enumerate(cases, 1):
            add(f"4.{group}.{i}", "6455 §5.2",
                f"The reserved {name} opcode {first + i - 1}, {text}, fails the connection.", run, ways=BOTH)


# ---- 5: fragmentation ------------------------------------------------------------------------------------------------


def split(t, *parts):
    """The frames of a text in as many fragments as there are @parts, whatever the way wraps around them."""
    whole = t.way.pack(TEXT, b"".join(parts))
    n, step = len(parts), len(whole) // len(parts)
    cuts = [whole[i * step:(i + 1) * step if i < n - 1 else None] for i in range(n)]
    if t.way.is_echo:
        cuts = list(parts)
    return [frame(TEXT if i == 0 else CONT, c, fin=i == n - 1) for i, c in enumerate(cuts)]


def split_control(opcode):
    def run(t):
        p = t.open()
        p.send(frame(opcode, b"fragment1", fin=False) + frame(CONT, b"fragment2"))
        return t.server_closes(p, [], 1002)
    return run


def two_fragments(how, with_ping):
    def run(t):
        p = t.open()
        a, b = split(t, b"fragment1", b"fragment2")
        chopped(p, how, *([a, frame(PING, b"ping payload"), b] if with_ping else [a, b]))
        return t.client_closes(p, ([("pong", b"ping payload")] if with_ping else [])
                               + [t.want(TEXT, b"fragment1fragment2")])
    return run


def nothing_to_continue(fin, how):
    def run(t):
        p = t.open()
        chopped(p, how, frame(CONT, b"non-continuation payload", fin=fin), t.text(HELLO))
        return t.server_closes(p, [], 1002)
    return run


def continued_once_more(t):
    p = t.open()
    p.send(b"".join(split(t, b"fragment1", b"fragment2")) + frame(CONT, b"fragment3", fin=False) + t.text(b"fragment4"))
    return t.server_closes(p, [t.want(TEXT, b"fragment1fragment2")], 1002, lax=[[]])


def continuation_then_text(fin):
    def run(t):
        p = t.open()
        for _ in range(2):
            p.send(frame(CONT, b"fragment1", fin=fin) + b"".join(split(t, b"fragment2", b"fragment3")))
        return t.server_closes(p, [], 1002)
    return run


def two_beginnings(t):
    p = t.open()
    p.send(frame(TEXT, b"fragment1", fin=False) + frame(TEXT, b"fragment2"))
    return t.server_closes(p, [], 1002)


def five_fragments(wait, how):
    def run(t):
        p = t.open()
        parts = [b"fragment%d" % i for i in range(1, 6)]
        f = split(t, *parts)
        chopped(p, how, f[0], f[1], frame(PING, b"pongme 1!"))
        t.expect(p, ("pong", b"pongme 1!"))
        time.sleep(wait)
        chopped(p, how, f[2], f[3], frame(PING, b"pongme 2!"), f[4])
        return t.client_closes(p, [("pong", b"pongme 2!"), t.want(TEXT, b"".join(parts))])
    return run


def fragmentation():
    ways = {None: "in one write", "frames": "frame by frame", "octets": "octet by octet"}
    cases = [("A ping in two fragments fails the connection.", split_control(PING)),
             ("A pong in two fragments fails the connection.", split_control(PONG))]
    for how, name in ways.items():
        cases.append((f"A text in two fragments, {name}, comes back.", two_fragments(how, False)))
    for how, name in ways.items():
        cases.append((f"A ping between two fragments, {name}: its pong, then the text.", two_fragments(how, True)))
    for fin in (True, False):
        for how, name in ways.items():
            cases.append((f"A {'last' if fin else 'middle'} continuation of nothing and a text, {name}: it fails.",
                          nothing_to_continue(fin, how)))
    cases += [
        ("A text in two fragments, one continuation more, a text: the first comes back, then it fails.",
         continued_once_more),
        ("Twice a middle continuation of nothing and a text in two fragments: it fails.",
         continuation_then_text(False)),
        ("Twice a last continuation of nothing and a text in two fragments: it fails.", continuation_then_text(True)),
        ("Two fragments that both say text: it fails.", two_beginnings),
        ("Five fragments and two pings, with a pause: each pong at once, then the text.", five_fragments(0.2, None)),
        ("Five fragments and two pings, each frame in its own write: each pong at once, then the text.",
         five_fragments(0, "frames")),
    ]
    for i, (text, run) in enumerate(cases, 1):
        add(f"5.{i}", "6455 §5.4" if i > 2 else "6455 §5.5", text, run, ways=BOTH)


# ---- 6: UTF-8 --------------------------------------------------------------------------------------------------------

KOSME = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()
BROKEN = KOSME + b"\xed\xa0\x80" + b"edited"  # a surrogate in the middle


def parts(*payloads):
    """A text in just these fragments comes back."""
    def run(t):
        p = t.open()
        last = len(payloads) - 1
        p.send(b"".join(frame(TEXT if i == 0 else CONT, x, fin=i == last) for i, x in enumerate(payloads)))
        return t.client_closes(p, [("text", b"".join(payloads))])
    return run


def utf8(payload):
    """One text: comes back if it is UTF-8, else 1007."""
    try:
        payload.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False

    def run(t):
        p = t.open()
        p.send(t.text(payload))
        return t.client_closes(p, [t.want(TEXT, payload)]) if valid else t.server_closes(p, [], 1007)
    return valid, run


def invalid_octets(t):
    p = t.open()
    p.send(fragments(TEXT, BROKEN, 1))
    return t.server_closes(p, [], 1007)


def fail_fast(first, second, third, in_one_frame):
    """The connection fails on the second part, while the third has not come."""
    whole = first + second + third
    key = b"\x11\x22\x33\x44"
    masked = mask(whole, key)
    cut1, cut2 = len(first), len(first) + len(second)

    def frames(t, p):
        p.send(frame(TEXT, first, fin=False) + frame(PING, b"A"))
        t.expect(p, ("pong", b"A"))
        p.send(frame(CONT, second, fin=False) + frame(PING, b"B"))
        events, close = t.to_close_or_pong(p, b"B")
        if close is None:
            p.send(frame(CONT, third))
        return events, close

    def chops(t, p):
        p.send(header(TEXT, len(whole)) + key + masked[:cut1])
        if p.fill(0.2) is not None:
            raise Fault("something came while the text was right so far")
        p.send(masked[cut1:cut2])
        if p.fill(5) is None:  # no slower unless it fails
            p.send(masked[cut2:])
            return [], None
        return t.to_close(p)

    def run(t):
        p = t.open()
        events, close = (chops if in_one_frame else frames)(t, p)
        if close is None:
            verdict, note = t.server_closes(p, [], 1007)
            return NON_STRICT, "failed only at the end of the message"
        return t.closed_with(p, events, close, [], 1007)
    return run


def sequences():
    """Groups 6.5 to 6.23: Markus Kuhn's decoder stress test, one sequence a case."""
    h = bytes.fromhex
    lonely = [bytes(x for b in range(a, z) for x in (b, 0x20))
              for a, z in ((0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd))]
    short = [h(x) for x in ("c0", "e080", "f08080", "f8808080", "fc80808080",
                            "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf")]
    planes = [chr(plane << 16 | low).encode() for plane in range(1, 17) for low in (0xfffe, 0xffff)]
    surrogates = [h("eda080"), h("edadbf"), h("edae80"), h("edafbf"), h("edb080"), h("edbe80"), h("edbfbf")]
    pairs = [h(a + b) for a in ("eda080", "edadbf", "edae80", "edafbf") for b in ("edb080", "edbfbf")]
    return [
        ("Texts of one to four bytes a character",
         [b"hello" + c.encode() + b"world" for c in "$¢€\U00024b62"] + [KOSME]),
        ("Every prefix of a text of several bytes a character", [KOSME[:n] for n in range(1, len(KOSME) + 1)]),
        ("The first sequence of a length", [h("00"), h("c280"), h("e0a080"), h("f0908080")]),
        ("The first sequence of five and six bytes", [h("f888808080"), h("fc8480808080")]),
        ("The last sequence of a length", [h("7f"), h("dfbf"), h("efbfbf"), h("f48fbfbf")]),
        ("The last sequence of four, five and six bytes", [h("f7bfbfbf"), h("fbbfbfbfbf"), h("fdbfbfbfbfbf")]),
        ("Other boundaries", [h("ed9fbf"), h("ee8080"), h("efbfbd"), h("f48fbfbf"), h("f4908080")]),
        ("Continuation bytes where none may be",
         [h("80"), h("bf")] + [(h("80bf") * 3)[:n] for n in range(2, 7)] + [bytes(range(0x80, 0xbf))]),
        ("First bytes without what belongs behind them", lonely),
        ("Sequences whose last byte is missing", short),
        ("Ten of them in a row", [b"".join(short)]),
        ("Bytes that never are", [h("fe"), h("ff"), h("fefeffff")]),
        ("An ASCII character in too many bytes",
         [h("c0af"), h("e080af"), h("f08080af"), h("f8808080af"), h("fc80808080af")]),
        ("The largest character in too many bytes",
         [h("c1bf"), h("e09fbf"), h("f08fbfbf"), h("f887bfbfbf"), h("fc83bfbfbfbf")]),
        ("NUL in too many bytes", [h("c080"), h("e08080"), h("f0808080"), h("f880808080"), h("fc8080808080")]),
        ("One surrogate", surrogates),
        ("A pair of surrogates", pairs),
        ("Characters that are none, in valid UTF-8", [h("efbfbe"), h("efbfbf")] + planes),
        ("Specials", [h("efbf") + bytes([x]) for x in range(0xb9, 0xc0)]),
    ]


def unicode():
    add("6.1.1", "6455 §5.6", "An empty text comes back.", parts(b""))
    add("6.1.2", "6455 §5.6", "A text of three empty fragments comes back.", parts(b"", b"", b""))
    add("6.1.3", "6455 §5.6", "A text of three fragments of which only the middle has bytes comes back.",
        parts(b"", b"middle frame payload", b""))
    half = MIXED.index("ü".encode())
    add("6.2.1", "6455 §8.1", "A valid text in one frame comes back.", parts(MIXED))
    add("6.2.2", "6455 §8.1", "A valid text, cut between two characters, comes back.",
        parts(MIXED[:half], MIXED[half:]))
    for i, x in ((3, MIXED), (4, KOSME)):
        add(f"6.2.{i}", "6455 §8.1", f"A valid text of {len(x)} bytes in frames of one byte comes back.",
            parts(*[bytes([b]) for b in x]))
    add("6.3.1", "6455 §8.1", "A text with a surrogate in it fails the connection: 1007.", utf8(BROKEN)[1], ways=BOTH)
    add("6.3.2", "6455 §8.1", "The same in frames of one byte: 1007.", invalid_octets, ways=BOTH)
    beyond = KOSME + b"\xf4\x90\x80\x80" + b"edited"
    n = len(KOSME)
    for i, (a, b, text) in enumerate(((n, n + 4, "the fragment with the bad character"),
                                      (n + 1, n + 2, "the fragment with the one byte that makes it bad")), 1):
        add(f"6.4.{i}", "6455 §8.1", f"The connection fails as soon as {text} has come: 1007.",
            fail_fast(beyond[:a], beyond[a:b], beyond[b:], False), ways=BOTH)
        add(f"6.4.{i + 2}", "6455 §8.1",
            f"The connection fails as soon as {text.replace('fragment', 'part of the frame')} has come: 1007.",
            fail_fast(beyond[:a], beyond[a:b], beyond[b:], True), ways=BOTH)
    for group, (name, payloads) in enumerate(sequences(), 5):
        for i, payload in enumerate(payloads, 1):
            valid, run = utf8(payload)
            add(f"6.{group}.{i}", "6455 §8.1",
                f"{name}: {payload.hex()} {'comes back' if valid else 'fails the connection: 1007'}.", run, ways=BOTH)


# ---- 7: close --------------------------------------------------------------------------------------------------------


def behind_close(*behind):
    """The server ignores everything behind our close frame and answers the close."""
    def run(t):
        p = t.open()
        p.said_close = True
        p.send(close_frame(1000) + b"".join(behind))
        return t.answered(p, 1000)
    return run


def text_and_close(t):
    p = t.open()
    p.send(t.text(HELLO))
    return t.client_closes(p, [t.want(TEXT, HELLO)])


def close_inside_message(t):
    p = t.open()
    p.said_close = True
    p.send(frame(TEXT, b"fragment1", fin=False) + close_frame(1000) + frame(CONT, b"fragment2"))
    return t.answered(p, 1000)


def much_then_close(t):
    p = t.open()
    big = b"BAsd7&jh23" * (256 * KIB // 10)
    p.said_close = True
    p.send(t.text(big) + t.text(HELLO) + close_frame(1000) + frame(PING))
    events, close = t.to_close(p)
    if any(e not in (t.want(TEXT, big), t.want(TEXT, HELLO)) for e in events) or not close or close[1] != 1000:
        raise Fault(f"{len(events)} messages, then {close}")
    t.end(p)
    return INFORMATIONAL, f"{len(events)} of 2 messages were answered before the close"


def close_with(body, *codes):
    """A close frame with this body is answered with one of @codes."""
    def run(t):
        p = t.open()
        p.said_close = True
        p.send(frame(CLOSE, body))
        return t.answered(p, *codes)
    return run


def close_informational(code):
    def run(t):
        p = t.open()
        p.said_close = True
        p.send(close_frame(code))
        events, close = t.to_close(p)
        if events or not close:
            raise Fault("no close frame came")
        t.end(p)
        return INFORMATIONAL, f"answered with {close[1]} {close[2]!r}"
    return run


def closing():
    first = [
        ("A text comes back, and the close behind it is answered.", text_and_close),
        ("Two closes, the second without body: one answer, to the first.", behind_close(frame(CLOSE))),
        ("A ping behind a close gets no pong.", behind_close(frame(PING))),
        ("A text behind a close does not come back.", behind_close(frame(TEXT, HELLO))),
        ("A close between two fragments: the message is gone, the close is answered.", close_inside_message),
        ("A text of 256 KiB, a short one, a close and a ping: what is answered is for the server to say.",
         much_then_close),
    ]
    for i, (text, run) in enumerate(first, 1):
        add(f"7.1.{i}", "6455 §5.5.1", text, run, ways=BOTH)
    code = (1000).to_bytes(2, "big")
    bodies = [
        ("without body is answered without code, or with 1000", b"", (1005, 1000)),
        ("of one byte is answered with 1002", b"a", (1002,)),
        ("with a code is answered with it", code, (1000,)),
        ("with a code and a reason is answered with the code", code + b"Hello World!", (1000,)),
        ("with a reason of 123 bytes is answered", code + b"*" * 123, (1000,)),
        ("with a reason of 124 bytes fails the connection: 1002", code + b"*" * 124, (1002,)),
    ]
    for i, (text, body, codes) in enumerate(bodies, 1):
        add(f"7.3.{i}", "6455 §5.5.1", f"A close {text}.", close_with(body, *codes), ways=BOTH)
    add("7.5.1", "6455 §5.5.1", "A close whose reason is not UTF-8 is answered with 1007 or 1002.",
        close_with(code + BROKEN, 1007, 1002), ways=BOTH)
    for i, c in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        add(f"7.7.{i}", "6455 §7.4", f"A close with {c} is answered with {c}.",
            close_with(c.to_bytes(2, "big"), c), ways=BOTH)
    for i, c in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        add(f"7.9.{i}", "6455 §7.4", f"A close with {c}, which may not be sent, is answered with 1002.",
            close_with(c.to_bytes(2, "big"), 1002), ways=BOTH)
    for i, c in enumerate((5000, 65535), 1):
        add(f"7.13.{i}", "6455 §7.4.2", f"A close with {c}, of which the RFC says nothing.", close_informational(c),
            ways=BOTH)


# ---- 9 and 10: limits, performance, automatic fragmentation ----------------------------------------------------------


@functools.lru_cache(maxsize=4)
def filler(opcode, size):
    """@size bytes of text, or of anything; no two neighbourhoods alike, so that bytes out of place are seen."""
    if opcode == TEXT:
        line = b"".join(b"%07d." % i for i in range(1 << 17))
        return (line * (size // len(line) + 1))[:size]
    state = bytes((i * 167 + (i >> 8) * 13) & 0xff for i in range(65536))
    return b"".join(bytes([b]) + state[1:] for b in range(256))[:size]


def round_trips(opcode, size):
    def run(t):
        p = t.open()
        payload = filler(opcode, size)
        data, want = frame(opcode, payload), t.want(opcode, payload)
        for _ in range(1000 if t.full else 100):
            p.send(data)
            t.expect(p, want)
        return t.client_closes(p, [])
    return run


def large(opcode, size, fragment=None, chop=None):
    def run(t):
        return echo(opcode, filler(opcode, size), chop=chop, size=fragment)(t)
    return run


def human(n):
    return f"{n // MIB} MiB" if n >= MIB else f"{n // KIB} KiB" if n >= KIB else f"{n} bytes"


def performance():
    for base, opcode, name in ((0, TEXT, "text"), (1, BINARY, "binary")):
        for i, n in enumerate((64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB), 1):
            add(f"9.{1 + base}.{i}", "6455 §5.2", f"A {name} message of {human(n)} comes back.", large(opcode, n),
                weight=n // MIB, quick=n <= 4 * MIB)
        for i, n in enumerate((64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB), 1):
            add(f"9.{3 + base}.{i}", "6455 §5.4", f"A {name} message of 4 MiB in fragments of {human(n)} comes back.",
                large(opcode, 4 * MIB, fragment=n), weight=4, quick=n in (64, 64 * KIB))
        for i, n in enumerate((64, 128, 256, 512, KIB, 2 * KIB), 1):
            add(f"9.{5 + base}.{i}", "6455 §5.2", f"A {name} message of 1 MiB in writes of {human(n)} comes back.",
                large(opcode, MIB, chop=n), weight=2, quick=n == KIB)
        for i, n in enumerate((0, 16, 64, 256, KIB, 4 * KIB), 1):
            add(f"9.{7 + base}.{i}", "6455 §5.2",
                f"1000 {name} messages of {human(n)}, each sent when the one before is back (100 in the short run).",
                round_trips(opcode, n), weight=1)
    add("10.1.1", "6455 §5.4", "A text of 65536 bytes in fragments of 1300 bytes comes back.",
        large(TEXT, 65536, fragment=1300))


def register():
    framing()
    pings()
    reserved_bits()
    opcodes()
    fragmentation()
    unicode()
    closing()
    performance()
