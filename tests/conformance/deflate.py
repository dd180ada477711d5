# SPDX-License-Identifier: Apache-2.0
"""permessage-deflate (RFC 7692): groups 12 and 13 of the Autobahn testsuite, and groups that it does not have.

12  five corpora, message sizes from 16 bytes to 128 KiB, whole and in fragments, with the default offer
13  the same sizes with seven sets of parameters
14  12 and 13 once more, against a server that keeps no context (compression_context_takeover: false)
15  some of these on the gateway's own path, which answers with another message than the client sent
28  offers: which ones the server must accept and how, which ones it must decline, hostile ones
29  messages: the RFC's own examples, every rule of §6 and §7.2, data that does not inflate or inflates to too much
"""
import zlib

from corpora import corpus, pieces
from judge import BOTH, INFORMATIONAL, NON_STRICT, OK, add
from suite import HELLO, KIB, MIB, MIXED, human
from wire import BINARY, CONT, PING, PONG, TEXT, Fault, agreed, fragments, frame, offer

SIZES = [(n, 0) for n in (16, 64, 256, KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB)] \
    + [(n, 256) for n in (8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB)] \
    + [(128 * KIB, n) for n in (KIB, 4 * KIB, 32 * KIB)]
CORPORA = ("json", "bitmap", "prose", "html", "pdf")

# The suite's client offers everything that a server may ask for.
ABLE = dict(client_forgets=True, client_bits=True)
DEFAULT = offer(**ABLE)
PARAMETERS = [
    ("the plain offer", [DEFAULT]),
    ("server_no_context_takeover", [offer(server_forgets=True, **ABLE)]),
    ("server_max_window_bits=8", [offer(server_bits=8, **ABLE)]),
    ("server_max_window_bits=15", [offer(server_bits=15, **ABLE)]),
    ("server_no_context_takeover and server_max_window_bits=8", [offer(8, server_forgets=True, **ABLE)]),
    ("server_no_context_takeover and server_max_window_bits=15", [offer(15, server_forgets=True, **ABLE)]),
    ("three offers, the best one first",
     [offer(8, server_forgets=True, **ABLE), offer(server_forgets=True, **ABLE), DEFAULT]),
]


# ---- 12 and 13 -------------------------------------------------------------------------------------------------------


def stream(name, offers, size, fragment, full=1000):
    """Messages cut from a corpus, each sent when the one before has come back; @full of them in the full run."""
    def run(t):
        p = t.open(offers=[", ".join(offers)])
        count = full if t.full else max(6, min(60, 512 * KIB // size))
        opcode = TEXT if corpus(name)[1] else BINARY
        packed = 0
        for payload in pieces(name, size, count):
            p.send(p.encode(opcode, t.way.pack(opcode, payload), fragment))
            t.expect(p, t.want(opcode, payload))
            packed += p.last_packed
        verdict, note = t.client_closes(p, [])
        if size >= KIB and name != "pdf" and not packed:
            return NON_STRICT, "the server compressed none of its messages"
        return verdict, f"{packed} of {count} came back compressed, {describe(p.deflate)}"
    return run


def describe(d):
    return f"server window {d.server_bits}{' forgetting' if d.server_forgets else ''}, " \
           f"client window {d.client_bits}{' forgetting' if d.client_forgets else ''}"


def sized(group, sub, server, name, offers, text):
    for i, (size, fragment) in enumerate(SIZES, 1):
        cut = f" in fragments of {human(fragment)}" if fragment else ""
        full = 100 if group == 14 else 1000
        add(f"{group}.{sub}.{i}", "7692 §7", f"{full} compressed messages of {human(size)} of {name}{cut}, {text}, "
            "come back (fewer in the short run).", stream(name, offers, size, fragment, full), server=server,
            weight=max(1, full * size // MIB), deflate=True, quick=i in (4, 14))


def streams():
    for sub, name in enumerate(CORPORA, 1):
        sized(12, sub, "main", name, [DEFAULT], "the plain offer")
        sized(14, sub, "forgetful", name, [DEFAULT], "the plain offer")
    for sub, (text, offers) in enumerate(PARAMETERS, 1):
        sized(13, sub, "main", "json", offers, text)
        sized(14, sub + len(CORPORA), "forgetful", "json", offers, text)
        for i, (size, fragment) in enumerate(((KIB, 0), (64 * KIB, 0), (64 * KIB, KIB)), 1):
            for server, j in (("main", 0), ("forgetful", 3)):
                add(f"15.{sub}.{i + j}", "7692 §7", f"Messages of {human(size)} to oneself, {text}, "
                    f"{'with' if j == 0 else 'without'} context takeover, come back.",
                    stream("html", offers, size, fragment, 100), server=server, ways=("ws",), weight=1, deflate=True)


# ---- 28: offers ------------------------------------------------------------------------------------------------------


def works(t, p):
    """Two texts come back, whatever was agreed on; the second one may refer to the first."""
    for n in (1, 2):
        payload = HELLO * 100 * n
        p.send(p.encode(TEXT, t.way.pack(TEXT, payload)))
        t.expect(p, t.want(TEXT, payload))
    return t.client_closes(p, [])


def agree(*lines, need=(), without=()):
    """The server agrees to one of the offers; its answer has the parameters @need and none of @without."""
    def run(t):
        p = t.open(offers=lines)
        answer = p.answer.one("sec-websocket-extensions")
        have = [x.strip() for x in answer.split(";")]
        if not all(x in have for x in need) or any(h.startswith(x) for x in without for h in have):
            raise Fault(f"the answer is {answer}; {', '.join(need)} should be there, {', '.join(without)} not")
        works(t, p)
        return OK, answer
    return run


def decline(*lines):
    """The server can agree to none of the offers: the connection works without the extension."""
    def run(t):
        p = t.peer()
        p.shake(offers=lines, query=t.way.query)
        if p.deflate:
            raise Fault(f"agreed to {p.answer.one('sec-websocket-extensions')}")
        return works(t, p)
    return run


def second_best(bad):
    """The server declines a bad offer and agrees to the good one behind it."""
    good = offer(server_forgets=True)

    def run(t):
        p = t.peer()
        p.shake(offers=[f"{bad}, {good}"], query=t.way.query)
        if not p.deflate or not p.deflate.server_forgets:
            raise Fault(f"the answer is {p.answer.one('sec-websocket-extensions')}")
        return works(t, p)
    return run


def malformed(value):
    """A list that breaks the grammar of RFC 6455 §9.1 is refused with 400 (§4.2.1), or ignored from there on."""
    def run(t):
        p = t.peer()
        p.send(p.request("dGhlIHNhbXBsZSBub25jZQ==", offers=[value], query=t.way.query))
        a = p.read_answer()
        if a.status == 400:
            return OK, "refused with 400"
        if a.status != 101:
            raise Fault(f"the status is {a.status}")
        p.deflate = agreed(a.one("sec-websocket-extensions"), [value])
        works(t, p)
        return INFORMATIONAL, f"passed over, agreed: {a.one('sec-websocket-extensions')}"
    return run


def optional(value, offered):
    """The RFCs leave this offer to the server: the connection works whether it agrees or not."""
    def run(t):
        p = t.peer()
        p.send(p.request("dGhlIHNhbXBsZSBub25jZQ==", offers=[value], query=t.way.query))
        a = p.read_answer()
        if a.status != 101:
            raise Fault(f"the status is {a.status}")
        p.deflate = agreed(a.one("sec-websocket-extensions"), [offered])
        works(t, p)
        return INFORMATIONAL, a.one("sec-websocket-extensions") or "declined"
    return run


def offers():
    good = [("permessage-deflate",), ("permessage-deflate; server_no_context_takeover", "server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover",), ("permessage-deflate; client_max_window_bits",),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
             "server_max_window_bits=12; client_max_window_bits=11", "server_no_context_takeover"),
            ('permessage-deflate; server_max_window_bits="10"',),
            ("permessage-deflate;server_max_window_bits=10;client_max_window_bits",),
            ("permessage-deflate ; server_max_window_bits=10",),
            ("permessage-deflate, permessage-deflate; server_no_context_takeover",)]
    n = 0
    for value, *need in good:
        n += 1
        add(f"28.1.{n}", "7692 §7.1", f"Offer \"{value}\" is agreed to.", agree(value, need=need),
            deflate=True, ways=BOTH, ours="client_max_window_bits" in value)
    for bits in range(9, 16):
        add(f"28.2.{bits - 8}", "7692 §7.1.2.1", f"server_max_window_bits={bits} is agreed to and kept.",
            agree(offer(server_bits=bits)), deflate=True, ways=BOTH)
    for bits in range(8, 16):
        add(f"28.3.{bits - 7}", "7692 §7.1.2.2", f"client_max_window_bits={bits} is agreed to.",
            agree(offer(client_bits=bits)), deflate=True, ways=BOTH)
    add("28.4.1", "7692 §7.1.2.2", "Without client_max_window_bits in the offer there is none in the answer.",
        agree("permessage-deflate", without=("client_max_window_bits",)), deflate=True)
    add("28.4.2", "6455 §9.1", "An unknown extension in front, on a line of its own, is passed over.",
        agree("x-unknown; a=1", "permessage-deflate"), deflate=True)
    add("28.4.3", "6455 §9.1", "An unknown extension in front, in the same line, is passed over.",
        agree('x-unknown; a="permessage-deflate", permessage-deflate'), deflate=True)
    add("28.4.4", "6455 §9.1", "An offer inside a quoted string is none.", decline('x-unknown; a="permessage-deflate"'))
    add("28.4.5", "6455 §9.1", "Offers over two lines are one list.",
        agree("permessage-deflate; server_max_window_bits=7", "permessage-deflate"), deflate=True)
    add("28.4.6", "6455 §9.1", "The older x-webkit-deflate-frame is not agreed to.", decline("x-webkit-deflate-frame"))
    add("28.4.7", "6455 §9.1", "Without an offer nothing is agreed to.", decline())
    add("28.4.8", "7692 §7.1.2.1", "server_max_window_bits=8: the smallest window, kept or declined.",
        optional(offer(server_bits=8), offer(server_bits=8)), deflate=True)
    add("28.4.9", "6455 §9.1", "The name of the extension in capitals.",
        optional("PERMESSAGE-DEFLATE", "permessage-deflate"), deflate=True)
    bad = [f"permessage-deflate; server_max_window_bits{v}" for v in
           ("", "=7", "=0", "=16", "=99999", "=18446744073709551625", "=08", "=015", "=-9", "=+9", "=abc", "=9.0",
            "=10x", '="7"')]
    bad += [f"permessage-deflate; client_max_window_bits={v}" for v in ("7", "0", "16", "99999", "08", "-9", "abc")]
    bad += ["permessage-deflate; server_no_context_takeover=1", "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; x-unknown", "permessage-deflate; x-unknown=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10"]
    for i, value in enumerate(bad, 1):
        add(f"28.5.{i}", "7692 §7.1", f"Offer \"{value}\" is declined, and the connection works.", decline(value),
            ways=BOTH)
        add(f"28.6.{i}", "7692 §5.1", f"Behind the offer \"{value}\" a good one is agreed to.", second_best(value),
            deflate=True, quick=False)
    for i, value in enumerate(("permessage-deflate;", ";permessage-deflate", "permessage-deflate;;x", "=",
                               "permessage-deflate; =9", '"permessage-deflate"', 'permessage-deflate; a="',
                               "permessage-deflate; server_max_window_bits=", "permessage deflate",
                               'x; a="b,c", permessage-deflate', 'permessage-deflate; server_max_window_bits="1 0"',
                               "permessage-deflate, ;"), 1):
        add(f"28.7.{i}", "6455 §9.1",
            f"The malformed list \"{value}\" is refused with 400, or passed over from the mistake on.",
            malformed(value), ways=BOTH)
    crowd = ", ".join(["x-e; p=1"] * 600)
    long = [("7000 commas", decline("," * 7000)), ("7000 semicolons", malformed("permessage-deflate" + ";" * 7000)),
            ("7000 blanks and an unknown parameter", decline("permessage-deflate;" + " " * 7000 + "x")),
            ("7000 quotes", malformed('a; b="' + '\\"' * 3500)), ("600 unknown extensions", decline(crowd)),
            ("a name of 7000 bytes", decline("x" * 7000)),
            ("a value of 7000 digits", decline("permessage-deflate; server_max_window_bits=" + "9" * 7000))]
    for i, (text, run) in enumerate(long, 1):
        add(f"28.8.{i}", "6455 §9.1", f"A list of {text}: declined, or refused with 400 where it breaks the grammar.",
            run, ours=True)
    add("28.8.8", "7692 §5.1", "Behind 600 unknown extensions a good offer is agreed to.",
        agree(f"{crowd}, permessage-deflate"), deflate=True, ours=True)


# ---- 29: messages ----------------------------------------------------------------------------------------------------

PLAIN = "permessage-deflate"
FORGET = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
H = bytes.fromhex


def examples(*steps, offers=(PLAIN,)):
    """Each step: (bytes, event or None); the events come in order, then the connection closes well."""
    def run(t):
        p = t.open(offers=offers)
        p.send(b"".join(data for data, _ in steps))
        return t.client_closes(p, [want for _, want in steps if want])
    return run


def fails(*data, code=1002, want=(), offers=(PLAIN,)):
    """The server fails the connection with @code."""
    def run(t):
        p = t.open(offers=offers)
        for d in data:
            p.send(d)
        return t.server_closes(p, list(want), *(code if isinstance(code, tuple) else (code,)))
    return run


def raw(payload, level=6, bits=15, strategy=zlib.Z_DEFAULT_STRATEGY):
    """One message, compressed by itself."""
    c = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
    return (c.compress(payload) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


def packed(payload, opcode=TEXT, fin=True, **how):
    return frame(opcode, payload, fin=fin, rsv=4, **how)


def text(payload):
    return "text", payload


def every_setting(t):
    """One connection, each level and strategy of zlib."""
    p = t.open(offers=[FORGET])
    data = corpus("json")[0][:20000].encode()
    for level in range(10):
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED):
            p.send(packed(raw(data, level, strategy=strategy)))
            t.expect(p, text(data))
    return t.client_closes(p, [])


def back_to_back(t):
    """Compressed messages of growing size in one write: the tail of one must not touch the head of the next."""
    p = t.open(offers=[PLAIN])
    payloads = [corpus("html")[0][:n].encode() for n in range(1, 400)]
    p.send(b"".join(p.encode(TEXT, x) for x in payloads))
    return t.client_closes(p, [text(x) for x in payloads])


def around_buffers(t):
    """Sizes around every power of two up to 512 KiB, compressed and incompressible."""
    p = t.open(offers=[PLAIN])
    noise = corpus("pdf")[0]
    noise = noise * (MIB // len(noise) + 1)
    for k in range(9, 20):
        for n in ((1 << k) - 1, 1 << k, (1 << k) + 1):
            for data in (noise[:n], b"a" * n):
                p.send(p.encode(BINARY, data))
                t.expect(p, t.want(BINARY, data))
    return t.client_closes(p, [])


def cut_everywhere(t):
    """A compressed message in two frames, cut at every byte, and in frames of one byte."""
    p = t.open(offers=[FORGET])
    data = HELLO * 4 + b" and something else"
    z = raw(data)
    for i in range(len(z) + 1):
        p.send(packed(z[:i], fin=False) + frame(PING, b"%d" % i) + frame(CONT, z[i:]))
        t.expect(p, ("pong", b"%d" % i), text(data))
    p.send(fragments(TEXT, z, 1, rsv=4))
    return t.client_closes(p, [text(data)])


def mixed(t):
    """Compressed and plain messages by turns on one connection: plain ones do not touch the window."""
    p = t.open(offers=[PLAIN])
    for i in range(40):
        data = HELLO * (i + 1)
        p.send(p.encode(TEXT, data) if i % 2 else frame(TEXT, data))
        t.expect(p, text(data))
    return t.client_closes(p, [])


def server_forgets(t):
    """With server_no_context_takeover every message of the server inflates by itself."""
    p = t.open(offers=["permessage-deflate; server_no_context_takeover"])
    data = HELLO * 200
    sizes = []
    for _ in range(3):
        p.send(p.encode(TEXT, data))
        got = p._frame()
        if not got[1] & 4:
            return INFORMATIONAL, "the server does not compress a text of 2600 bytes"
        if zlib.decompressobj(-15).decompress(got[3] + b"\0\0\xff\xff") != data:
            raise Fault("a message does not inflate by itself")
        sizes.append(len(got[3]))
    t.client_closes(p, [])
    return OK, f"three times {sizes[0]} bytes"


def server_remembers(t):
    """Without it, the same text a second time is smaller, or the server keeps no context: it says so."""
    p = t.open(offers=[PLAIN])
    data = corpus("prose")[0][:2600]
    sizes = []
    for _ in range(2):
        p.send(p.encode(BINARY, data))
        got = p._frame()
        if p._data(*got) != ("binary", data):
            raise Fault("another message came back")
        sizes.append(len(got[3]))
    t.client_closes(p, [])
    return INFORMATIONAL, f"{sizes[0]} bytes, then {sizes[1]}; the answer was " + \
        p.answer.one("sec-websocket-extensions")


def narrow(bits):
    """A server with a small window never looks back further: checked by inflating with just that window."""
    def run(t):
        p = t.open(offers=[offer(server_bits=bits)])
        if p.deflate.server_bits > bits:
            raise Fault(f"the window is {p.deflate.server_bits}")
        for name in ("json", "bitmap"):
            data, is_text = corpus(name)
            data = data[:30000]
            payload, opcode = (data.encode(), TEXT) if is_text else (data, BINARY)
            for _ in range(2):
                p.send(p.encode(opcode, payload))
                t.expect(p, t.want(opcode, payload))
        return t.client_closes(p, [])
    return run


def client_window(bits):
    """A client that says it keeps to a small window, and does."""
    def run(t):
        p = t.open(offers=[offer(client_bits=bits)])
        p.deflate.client_bits = min(bits, p.deflate.client_bits)
        for payload in pieces("json", 9000, 6):
            p.send(p.encode(TEXT, payload))
            t.expect(p, text(payload))
        return t.client_closes(p, [])
    return run


def forgotten(t):
    """The client looks back into a message that it agreed to forget."""
    p = t.open(offers=[FORGET])
    if not p.deflate.client_forgets:
        return INFORMATIONAL, "the server did not ask the client to forget"
    p.send(packed(H("f248cdc9c90700")) + packed(H("f200110000")))
    t.expect(p, text(b"Hello"))
    return t.server_closes(p, [], 1007)


def bomb(size):
    """A message that inflates to more than max_message_size: 1009, while the server is well."""
    def run(t):
        p = t.open(offers=[PLAIN])
        p.send(packed(raw(bytes(size)), BINARY))
        return t.server_closes(p, [], 1009)
    return run


def at_limit(extra):
    """A message that inflates to just max_message_size, or to @extra more."""
    def run(t):
        p = t.open(offers=[PLAIN])
        data = b"x" * (MIB + extra)
        p.send(packed(raw(data)))
        return t.server_closes(p, [], 1009) if extra > 0 else t.client_closes(p, [text(data)])
    return run


def fragmented_bomb(t):
    """Fragments that are small on the wire and inflate to too much together."""
    p = t.open(offers=[PLAIN])
    z = raw(bytes(64 * MIB))
    p.send(fragments(BINARY, z, 1000, rsv=4))
    return t.server_closes(p, [], 1009)


def messages():
    hello = text(b"Hello")
    tests = [
        ("7692 §7.2.3.1", "The RFC's \"Hello\" in one frame comes back.",
         examples((packed(H("f248cdc9c90700")), hello))),
        ("7692 §7.2.3.1", "The same in two frames comes back.",
         examples((packed(H("f248cd"), fin=False) + frame(CONT, H("c9c90700")), hello))),
        ("7692 §7.2.3.2", "The second message of the shared window, \"f2 00 11 00 00\", is \"Hello\" again.",
         examples((packed(H("f248cdc9c90700")), hello), (packed(H("f200110000")), hello))),
        ("7692 §7.2.3.3", "A block without compression comes back.",
         examples((packed(H("000500faff48656c6c6f00")), hello))),
        ("7692 §7.2.3.4", "A block with the final bit comes back, and so does the message behind it.",
         examples((packed(H("f348cdc9c9070000")), hello), (packed(H("f348cdc9c9070000")), hello))),
        ("7692 §7.2.3.5", "Two blocks in one message come back.",
         examples((packed(H("f24805000000ffffcac9c90700")), hello))),
        ("7692 §7.2.3.6", "An empty message, \"00\", comes back empty.", examples((packed(b"\0"), text(b"")))),
        ("7692 §6.2", "A compressed frame without any payload is an empty message.",
         examples((packed(b""), text(b"")))),
        ("7692 §6.1", "An uncompressed message is welcome where compression is agreed.",
         examples((frame(TEXT, b"Hello"), hello))),
        ("7692 §6.1", "An uncompressed message in fragments too.",
         examples((frame(TEXT, b"Hel", fin=False) + frame(CONT, b"lo"), hello))),
        ("7692 §6.1", "Compressed and plain messages by turns come back.", mixed),
        ("7692 §6.1", "A compressed first frame without payload, and the rest behind it.",
         examples((packed(b"", fin=False) + frame(CONT, H("f248cdc9c90700")), hello))),
        ("7692 §6.1", "A last frame without payload.",
         examples((packed(H("f248cdc9c90700"), fin=False) + frame(CONT, b""), hello))),
        ("7692 §6.1", "A ping between compressed fragments gets its pong first.",
         examples((packed(H("f248cd"), fin=False) + frame(PING, b"p"), ("pong", b"p")),
                  (frame(CONT, H("c9c90700")), hello))),
        ("7692 §6", "Cut at every byte, and in frames of one byte: the text comes back.", cut_everywhere),
        ("7692 §7.2", "400 messages in one write come back (the tail of one does not touch the next).", back_to_back),
        ("7692 §7.2", "Sizes around every power of two up to 512 KiB come back.", around_buffers),
        ("7692 §7.2.1", "Whatever level and strategy the client's zlib has, the text comes back.", every_setting),
        ("7692 §7.1.1.1", "With server_no_context_takeover every message inflates by itself.", server_forgets),
        ("7692 §7.1.1.1", "Whether the server remembers when it may.", server_remembers),
        ("7692 §7.1.1.2", "A client that looks back although it agreed to forget is told 1007.", forgotten),
    ]
    for i, (section, sentence, run) in enumerate(tests, 1):
        add(f"29.1.{i}", section, sentence, run, deflate=True)
    for bits in range(8, 16):
        add(f"29.2.{bits - 7}", "7692 §7.1.2.1",
            f"With server_max_window_bits={bits} the server looks back no further.", narrow(bits), deflate=True)
        add(f"29.3.{bits - 7}", "7692 §7.1.2.2", f"A client with client_max_window_bits={bits} is understood.",
            client_window(bits), deflate=True)
    wrong = [
        ("7692 §6.1", "RSV1 on a continuation", fails(packed(H("f248cd"), fin=False) + packed(H("c9c90700"), CONT))),
        ("7692 §6.1", "RSV1 on the continuation of an uncompressed message",
         fails(frame(TEXT, b"Hel", fin=False) + packed(b"lo", CONT))),
        ("7692 §6.1", "RSV1 on a ping", fails(packed(b"ping", PING))),
        ("7692 §6.1", "RSV1 on a pong", fails(packed(b"pong", PONG))),
        ("7692 §6.1", "RSV1 on a close", fails(packed(b"\x03\xe8", 8))),
        ("6455 §5.2", "RSV1 and RSV2 on a text", fails(frame(TEXT, H("f248cdc9c90700"), rsv=6))),
        ("6455 §5.2", "RSV2 on a text", fails(frame(TEXT, b"Hello", rsv=2))),
        ("6455 §5.2", "RSV3 on a text", fails(frame(TEXT, b"Hello", rsv=1))),
    ]
    for i, (section, what, run) in enumerate(wrong, 1):
        add(f"29.4.{i}", section, f"{what} fails the connection: 1002.", run, deflate=True, ways=BOTH)
    broken = [
        ("a block of the reserved type", packed(b"\x07")),
        ("bytes that do not inflate", packed(b"\xff" * 40)),
        ("a stored block with a wrong length", packed(b"\x00\x05\x00\x05\x00hello\x00")),
        ("a look back beyond the beginning", packed(H("f200110000"))),
        ("a text cut in the middle of a block", packed(raw(MIXED * 3)[:-9])),
        ("a Huffman code that is none", packed(b"\xed\xfd\xff\xff\xff\xff\xff\xff\xff")),
        ("a second frame that does not inflate", packed(H("f248cd"), fin=False) + frame(CONT, b"\xff" * 20)),
    ]
    for i, (what, data) in enumerate(broken, 1):
        add(f"29.5.{i}", "7692 §7.2.2", f"{what[0].upper()}{what[1:]} fails the connection: 1007.",
            fails(data, code=1007), deflate=True, ways=BOTH)
    bad = "κόσμε".encode() + b"\xed\xa0\x80" + b"edited"
    add("29.6.1", "6455 §8.1", "A compressed text that is not UTF-8 fails the connection: 1007.",
        fails(packed(raw(bad)), code=1007), deflate=True, ways=BOTH)
    add("29.6.2", "6455 §8.1", "A compressed text that ends inside a character: 1007.",
        fails(packed(raw(b"ab\xce")), code=1007), deflate=True, ways=BOTH)
    add("29.6.3", "6455 §8.1", "The same bytes as a binary message come back.",
        examples((packed(raw(bad), BINARY), ("binary", bad))), deflate=True)
    add("29.6.4", "6455 §8.1", "A compressed text cut inside its characters comes back.",
        examples((fragments(TEXT, raw("κόσμε".encode() * 30), 3, rsv=4), text("κόσμε".encode() * 30))), deflate=True)
    add("29.7.1", "7692 §8", "A message that inflates to just max_message_size comes back.", at_limit(0),
        server="strict", deflate=True, weight=1)
    add("29.7.2", "7692 §8", "One byte more: 1009.", at_limit(1), server="strict", deflate=True, weight=1)
    for i, size in enumerate((2 * MIB, 16 * MIB, 64 * MIB), 3):
        add(f"29.7.{i}", "7692 §8", f"A message of about {human(size // 1000)} that inflates to {human(size)}: 1009.",
            bomb(size), server="strict", deflate=True, weight=1)
    add("29.7.6", "7692 §8", "The same of 64 MiB in fragments of 1000 bytes: 1009.", fragmented_bomb, server="strict",
        deflate=True, weight=1)


def register():
    streams()
    offers()
    messages()
