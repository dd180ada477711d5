# SPDX-License-Identifier: Apache-2.0
"""Groups 20 to 27 and 31: what the Autobahn testsuite does not try.

20 the opening handshake, 21 masking, 22 lengths, 23 close codes and reasons, 24 frames cut at every byte, 25 the
closing handshake with a peer that does not keep to it, 26 connections that end in any way, 27 floods,
31 independent clients (wsproto and websockets, two other implementations of the protocol).
"""
import asyncio
import base64
import logging
import os
import socket
import time

from judge import BOTH, INFORMATIONAL, NON_STRICT, OK, add, close_frame
from suite import HELLO, MIB, MIXED, filler
from wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Fault, close_payload, code_valid, fragments, frame, header

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the RFC's example (§1.3)
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


# ---- 20: the opening handshake ---------------------------------------------------------------------------------------


def head(t, *changes, method="GET", target=None, version="HTTP/1.1", case=str):
    """The bytes of a handshake. A change is (name, value, ...): these values instead of ours, each on a line; (name,)
    leaves the field out; a name that we do not send is added."""
    server = t.target()
    lines = {"Host": [f"{server.host}:{server.port}"], "Upgrade": ["websocket"], "Connection": ["Upgrade"],
             "Sec-WebSocket-Version": ["13"], "Sec-WebSocket-Key": [KEY]}
    for field, *values in changes:
        lines[field] = values
    out = [f"{method} {target or server.path + t.way.query} {version}"]
    out += [f"{case(k)}: {v}" for k, values in lines.items() for v in values]
    return "\r\n".join(out).encode("latin-1") + b"\r\n\r\n"


def works(t, p):
    p.send(t.text(HELLO))
    return t.client_closes(p, [t.want(TEXT, HELLO)])


def accepted(*changes, protocols=(), chop=None, **how):
    """This handshake is right: 101, with the one right answer, and the connection works."""
    def run(t):
        p = t.peer()
        key = next((c[1].strip() for c in changes if c[0] == "Sec-WebSocket-Key"), KEY)
        p.send(head(t, *changes, **how), chop)
        p.read_answer()
        p.check_upgrade(key, protocols=protocols)
        if key == KEY and p.answer.one("sec-websocket-accept") != ACCEPT:
            raise Fault("not the accept of the RFC's example")
        return works(t, p)
    return run


def refused(status, *changes, field=None, body=b"", **how):
    """Refused with this status, with @field in the answer; nothing of what comes behind is served as a WebSocket."""
    def run(t):
        p = t.peer()
        p.send(head(t, *changes, **how) + body + t.text(HELLO) + b"\r\n\r\n")
        a = p.read_answer()
        if a.status != status:
            raise Fault(f"the status is {a.status}, not {status}")
        if field and field[1] not in (a.one(field[0]) or "").lower().split(", "):
            raise Fault(f"{field[0]} is {a.one(field[0])}, without {field[1]}")
        if a.all("sec-websocket-accept"):
            raise Fault("a refusal with Sec-WebSocket-Accept")
        if how.get("method") != "HEAD":
            p.inp.clear()
            while p.fill():
                if b" 101 " in p.inp or HELLO in p.inp:
                    raise Fault("what came behind a refused handshake was served")
        return OK, str(status)
    return run


def either(*changes, **how):
    """Left to the server: 101 and it works, or a refusal."""
    def run(t):
        p = t.peer()
        p.send(head(t, *changes, **how))
        a = p.read_answer()
        if a.status == 101:
            works(t, p)
        elif a.status >= 500:
            raise Fault(f"the status is {a.status}")
        return INFORMATIONAL, f"{a.status}"
    return run


def chooses(expected, *lines):
    """Of the subprotocols on these lines the gateway's own path chooses @expected."""
    def run(t):
        p = t.peer()
        p.send(head(t, ("Sec-WebSocket-Protocol", *lines)))
        p.read_answer()
        p.check_upgrade(KEY, protocols=[x.strip() for line in lines for x in line.split(",")])
        if p.answer.one("sec-websocket-protocol") != expected:
            raise Fault(f"{p.answer.one('sec-websocket-protocol')} was chosen")
        return works(t, p)
    return run


def frames_behind_handshake(t):
    p = t.peer()
    p.said_close = True
    p.send(head(t) + t.text(HELLO) + frame(PING, b"p") + t.text(HELLO * 2))
    p.read_answer()
    p.check_upgrade(KEY)
    want = [t.want(TEXT, HELLO), ("pong", b"p"), t.want(TEXT, HELLO * 2)]
    got = sorted(t.event(p) for _ in want)
    if got != sorted(want):
        raise Fault(f"{got} came")
    return t.client_closes(p, [])


def close_behind_handshake(t):
    p = t.peer()
    p.said_close = True
    p.send(head(t) + close_frame(1000))
    p.read_answer()
    p.check_upgrade(KEY)
    return t.answered(p, 1000)


def request_before_handshake(t):
    """An ordinary request, kept alive, and the handshake behind it in the same write."""
    p = t.peer()
    server = t.target()
    p.send(f"GET /wsc/stats HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n\r\n".encode() + head(t))
    a = p.read_answer()
    if a.status != 200:
        raise Fault(f"the first answer is {a.status}")
    p.read_answer()
    p.check_upgrade(KEY)
    return works(t, p)


def request_behind_handshake(t):
    """A second request on a connection that is a WebSocket now is a protocol error."""
    p = t.open()
    p.send(head(t))
    return t.server_closes(p, [], 1002)


def headers_only(n):
    return [(f"X-Header-{i}", "x" * 20) for i in range(n)]


def handshake():
    good = [
        ("The RFC's own example gets the RFC's own answer.", accepted()),
        ("Field names in small letters.", accepted(case=str.lower)),
        ("Field names in capitals.", accepted(case=str.upper)),
        ("Upgrade: WebSocket.", accepted(("Upgrade", "WebSocket"))),
        ("Upgrade: WEBSOCKET.", accepted(("Upgrade", "WEBSOCKET"))),
        ("Connection: keep-alive, Upgrade.", accepted(("Connection", "keep-alive, Upgrade"))),
        ("Connection: upgrade,keep-alive.", accepted(("Connection", "upgrade,keep-alive"))),
        ("Connection on two lines.", accepted(("Connection", "keep-alive", "Upgrade"))),
        ("Empty elements in Connection.", accepted(("Connection", ", ,Upgrade,, ,"))),
        ("Blanks and tabs around every value.",
         accepted(("Upgrade", " \twebsocket\t "), ("Connection", "\t Upgrade \t"), ("Sec-WebSocket-Version", "\t13\t "),
                  ("Sec-WebSocket-Key", "  " + KEY + " \t"))),
        ("A key of sixteen zero bytes.", accepted(("Sec-WebSocket-Key", "A" * 22 + "=="))),
        ("A key with plus and slash.", accepted(("Sec-WebSocket-Key", "+/" * 10 + "+w=="))),
        ("Forty fields that mean nothing.", accepted(*headers_only(40))),
        ("A query behind the path.", accepted(("X-User-ID", "somebody"))),
        ("Octet by octet.", accepted(chop=1)),
        ("Frames behind the head, in the same write, are served.", frames_behind_handshake),
        ("A close behind the head, in the same write, is answered.", close_behind_handshake),
        ("Behind an ordinary request on the same connection.", request_before_handshake),
        ("A second handshake on a WebSocket is a protocol error: 1002.", request_behind_handshake),
        ("Unknown subprotocols: none is chosen.", accepted(("Sec-WebSocket-Protocol", "chat, superchat"))),
        ("Subprotocols on two lines.", accepted(("Sec-WebSocket-Protocol", "chat", "superchat"))),
        ("Subprotocols with empty elements.", accepted(("Sec-WebSocket-Protocol", ",, chat ,,"))),
        ("A subprotocol list of 7000 commas.", accepted(("Sec-WebSocket-Protocol", "," * 7000))),
        ("A subprotocol list of 7000 blanks.", accepted(("Sec-WebSocket-Protocol", "a" + " " * 7000 + "b"))),
        ("Content-Length: 0.", either(("Content-Length", "0"))),
        ("The target in absolute form.", either(target="http://127.0.0.1/echo")),
        ("Upgrade: h2c, websocket.", accepted(("Upgrade", "h2c, websocket"))),
        ("A subprotocol that is no token.", either(("Sec-WebSocket-Protocol", '"chat"'))),
        ("A key whose last characters have bits that mean nothing.", either(("Sec-WebSocket-Key", "A" * 21 + "B=="))),
        ("Two subprotocols of the same name.", either(("Sec-WebSocket-Protocol", "chat, chat"))),
    ]
    for i, (text, run) in enumerate(good, 1):
        add(f"20.1.{i}", "6455 §4.2", text, run, ways=BOTH if i < 25 and i not in (14,) else ("echo",), ours=True)
    subprotocols = (("wsc.v1", "wsc.v1"), ("wsc.v1", "chat, wsc.v1 ,superchat"), ("wsc.v1", "chat", "wsc.v1"),
                    (None, "WSC.V1, wsc.v2, xwsc.v1, wsc.v10"))
    for i, (expected, *lines) in enumerate(subprotocols, 1):
        add(f"20.3.{i}", "6455 §4.2.2", f"Subprotocols \"{' and '.join(lines)}\" on /ws: {expected or 'none'} is chosen.",
            chooses(expected, *lines), ways=("ws",), ours=True)
    upgrade = ("upgrade", "websocket")
    version = ("sec-websocket-version", "13")
    bad = [("4.2.1", 405, "POST", dict(method="POST", field=("allow", "get"))),
           ("4.2.1", 405, "PUT", dict(method="PUT", field=("allow", "get"))),
           ("4.2.1", 405, "DELETE", dict(method="DELETE", field=("allow", "get")))]
    cases = [(s, f"{m} instead of GET", refused(code, **how)) for s, code, m, how in bad]
    cases += [("4.2.1", "HTTP/1.0", refused(426, version="HTTP/1.0", field=upgrade)),
              ("4.2.1", "no Host", refused(400, ("Host",))),
              ("4.2.1", "two Hosts", refused(400, ("Host", "a", "b"))),
              ("4.2.1", "no Upgrade", refused(426, ("Upgrade",), field=upgrade))]
    for v in ("h2c", "websockets", "web socket", "", "websocket/13x"):
        cases.append(("4.2.1", f"Upgrade: {v}", refused(426, ("Upgrade", v), field=upgrade)))
    cases.append(("4.2.1", "no Connection", refused(426, ("Connection",), field=upgrade)))
    for v in ("keep-alive", "close", "Upgradex", "Up grade", ""):
        cases.append(("4.2.1", f"Connection: {v}", refused(426, ("Connection", v), field=upgrade)))
    cases.append(("4.4", "no version", refused(426, ("Sec-WebSocket-Version",), field=version)))
    for v in ("12", "14", "8", "7", "0", "130", "013", "13.0", "-13", "+13", "1 3", "abc", "13, 8", "8, 13", "13;x"):
        cases.append(("4.4", f"Sec-WebSocket-Version: {v}", refused(426, ("Sec-WebSocket-Version", v), field=version)))
    for v in (("13", "13"), ("13", "8"), ("8", "13")):
        cases.append(("4.4", f"the versions {v[0]} and {v[1]} on two lines",
                      refused(426, ("Sec-WebSocket-Version", *v), field=version)))
    keys = [("no key", ()), ("an empty key", ("",)), ("the same key twice", (KEY, KEY)),
            ("two keys", (KEY, "A" * 22 + "==")), ("two keys in one line", (KEY + ", " + KEY,)),
            ("a key of 15 bytes", (base64.b64encode(bytes(15)).decode(),)),
            ("a key of 17 bytes", (base64.b64encode(bytes(17)).decode(),)),
            ("a key without padding", (KEY[:-2],)), ("a key with too much padding", (KEY[:-3] + "===",)),
            ("a key that is no base64", ("*" * 22 + "==",)), ("a key in the alphabet of URLs", ("-_" * 11 + "==",)),
            ("a key with a blank in it", (KEY[:10] + " " + KEY[10:],)), ("a key of 1000 characters", ("A" * 1000,)),
            ("padding inside a key", ("AAAA==AAAAAAAAAAAAAAAAAA",))]
    for what, values in keys:
        cases.append(("4.2.1", what, refused(400, ("Sec-WebSocket-Key", *values))))
    cases += [
        ("4.1", "a body with a length", refused(400, ("Content-Length", "5"), body=b"hello")),
        ("4.1", "a chunked body", refused(400, ("Transfer-Encoding", "chunked"), body=b"5\r\nhello\r\n0\r\n\r\n")),
        ("4.1", "a folded field", refused(400, ("X-Folded", "a\r\n b"))),
        ("4.1", "a line that ends in LF alone", refused(400, ("X-LF", "a\nX-B: c"))),
        ("4.1", "a NUL in a value", refused(400, ("X-NUL", "a\0b"))),
        ("4.1", "a blank before a colon", refused(400, ("X-Blank ", "a"))),
        ("4.1", "a hundred fields", refused(431, *headers_only(100))),
        ("4.1", "a field of 20 KiB", refused(431, ("X-Long", "x" * 20000))),
    ]
    for i, (section, what, run) in enumerate(cases, 1):
        add(f"20.2.{i}", f"6455 §{section}", f"A handshake with {what} is refused.", run, ways=BOTH, ours=True)


# ---- 21: masking -----------------------------------------------------------------------------------------------------


def unmasked(*data, want=()):
    def run(t):
        p = t.open()
        p.send(b"".join(f(t) if callable(f) else f for f in data))
        return t.server_closes(p, [t.want(*w) for w in want], 1002)
    return run


def every_key(t):
    """Keys with every byte in every place, over payloads of every remainder of eight and thirty-two."""
    p = t.open()
    for i in range(256):
        for n in (i % 37 + 1, i + 1):
            payload = bytes((b + i) & 0x7f | 0x20 for b in range(n))
            key = bytes([i, i * 7 & 0xff, 255 - i, i * 31 & 0xff])
            p.send(t.text(payload.replace(b"\x7f", b"x").replace(b'"', b"x").replace(b"\\", b"x"), key=key))
            t.expect(p, t.want(TEXT, payload.replace(b"\x7f", b"x").replace(b'"', b"x").replace(b"\\", b"x")))
    return t.client_closes(p, [])


def key_of(key):
    def run(t):
        p = t.open()
        p.send(t.text(HELLO * 9, key=key))
        return t.client_closes(p, [t.want(TEXT, HELLO * 9)])
    return run


def masking():
    def bare(opcode, payload=b"", **how):
        return frame(opcode, payload, masked=False, **how)
    cases = [
        ("A text", unmasked(bare(TEXT, HELLO))), ("An empty text", unmasked(bare(TEXT))),
        ("A binary message", unmasked(bare(BINARY, HELLO))), ("A ping", unmasked(bare(PING, b"p"))),
        ("A pong", unmasked(bare(PONG))), ("A close", unmasked(bare(CLOSE, close_payload(1000)))),
        ("A first fragment", unmasked(bare(TEXT, HELLO, fin=False))),
        ("A continuation", unmasked(frame(TEXT, b"Hel", fin=False), bare(CONT, b"lo"))),
        ("A ping between fragments", unmasked(frame(TEXT, b"Hel", fin=False), bare(PING))),
        ("A text behind a good one, which comes back,",
         unmasked(lambda t: t.text(HELLO), bare(TEXT, HELLO), want=[(TEXT, HELLO)])),
        ("The mere beginning of a frame of 64 KiB", unmasked(header(BINARY, 65536, masked=False)[:2])),
        ("The mere beginning of a frame of 2^63-1 bytes", unmasked(header(TEXT, 2**63 - 1, masked=False)[:2])),
    ]
    for i, (what, run) in enumerate(cases, 1):
        add(f"21.1.{i}", "6455 §5.1", f"{what} that is not masked fails the connection: 1002.", run, ways=BOTH)
    for i, key in enumerate((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0", HELLO[:4]), 1):
        add(f"21.2.{i}", "6455 §5.3", f"The masking key {key.hex()} is as good as any.", key_of(key), ways=BOTH)
    add("21.2.6", "6455 §5.3", "512 keys over payloads of many lengths.", every_key, ways=BOTH)


# ---- 22: lengths -----------------------------------------------------------------------------------------------------


def announced(opcode, length, code, form=None, before=b"", with_key=True):
    """The head of a frame alone, without payload."""
    def run(t):
        p = t.open()
        p.send(before + header(opcode, length, form=form, fin=True) + (b"\1\2\3\4" if with_key else b""))
        return t.server_closes(p, [], code)
    return run


def not_shortest(opcode, length, form):
    def run(t):
        p = t.open()
        p.send(header(opcode, length, form=form) + b"\0\0\0\0" + b"x" * length)
        return t.server_closes(p, [], 1002)
    return run


def sum_over_limit(parts, code):
    """Fragments of these sizes, on the server with the default limit of 1 MiB."""
    def run(t):
        p = t.open()
        data = b"".join(frame(BINARY if i == 0 else CONT, bytes(n), fin=i == len(parts) - 1)
                        for i, n in enumerate(parts))
        p.send(data)
        if code:
            return t.server_closes(p, [], code)
        return t.client_closes(p, [t.want(BINARY, bytes(sum(parts)))])
    return run


def nothing_reserved(t):
    """300 connections announce 32 MiB each and send one byte: the server reserves nothing for the announced length."""
    def reserved():
        with open(f"/proc/{t.target().pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    before = reserved()
    peers = [t.open() for _ in range(300)]
    for p in peers:
        p.send(header(BINARY, 32 * MIB) + b"\0\0\0\0x")
    consumed(t, peers)
    works(t, t.open())
    grown = reserved() - before
    for p in peers:
        p.reset()
    if grown > 3000 * MIB:  # other cases run at the same time
        raise Fault(f"{grown // MIB} MiB of addresses more")
    return OK, f"{max(grown, 0) // MIB} MiB of addresses more at that moment, of 9600 announced"


def lengths():
    table = [("2^31-1", 2**31 - 1, 1009), ("2^31", 2**31, 1009), ("2^31+1", 2**31 + 1, 1009),
             ("2^32-1", 2**32 - 1, 1009), ("2^32", 2**32, 1009), ("2^32+1", 2**32 + 1, 1009),
             ("2^63-1", 2**63 - 1, 1009), ("2^63", 2**63, 1002), ("2^63+1", 2**63 + 1, 1002),
             ("2^64-1", 2**64 - 1, 1002)]
    for i, (what, n, code) in enumerate(table, 1):
        add(f"22.1.{i}", "6455 §5.2", f"A text that announces {what} bytes: {code}, before any of them.",
            announced(TEXT, n, code, form=64), ways=BOTH, ours=True)
        add(f"22.2.{i}", "6455 §5.2", f"A binary message that announces {what} bytes: {code}.",
            announced(BINARY, n, code, form=64), ways=BOTH, ours=True)
        add(f"22.3.{i}", "6455 §5.2", f"A continuation of ten bytes that announces {what} more: {code}.",
            announced(CONT, n, code, form=64, before=frame(TEXT, b"0123456789", fin=False)), ways=BOTH, ours=True)
        add(f"22.4.{i}", "6455 §5.2", f"The same in a text, judged before its masking key has come: {code}.",
            announced(TEXT, n, code, form=64, with_key=False), ways=BOTH, ours=True)
        add(f"22.5.{i}", "6455 §5.5", f"A ping that announces {what} bytes: 1002.", announced(PING, n, 1002, form=64),
            ways=BOTH)
    i = 0
    for opcode, name in ((TEXT, "text"), (BINARY, "binary message")):
        for form, sizes in ((16, (0, 1, 125)), (64, (0, 125, 126, 65535))):
            for n in sizes:
                i += 1
                add(f"22.6.{i}", "6455 §5.2", f"A {name} of {n} bytes with a length of {form} bits: 1002.",
                    not_shortest(opcode, n, form), ways=BOTH)
    for i, (opcode, n, form) in enumerate(((PING, 5, 16), (PING, 5, 64), (PONG, 125, 16), (CLOSE, 2, 16),
                                           (PING, 126, 16), (PONG, 65536, 64), (CLOSE, 126, 16)), 1):
        add(f"22.7.{i}", "6455 §5.5", f"A control frame of {n} bytes with a length of {form} bits: 1002.",
            not_shortest(opcode, n, form), ways=BOTH)
    one = MIB
    for i, (text, parts, code) in enumerate((
            ("one byte under the limit", [one - 1], None), ("just the limit", [one], None),
            ("one byte over it", [one + 1], 1009), ("the limit in two fragments", [one // 2, one // 2], None),
            ("one byte over it in two fragments", [one // 2, one // 2 + 1], 1009),
            ("the limit and an empty fragment", [one, 0], None),
            ("the limit and a fragment of one byte", [one, 1], 1009),
            ("the limit in a thousand fragments", [1048] * 999 + [one - 999 * 1048], None),
            ("over it with the last of a thousand fragments", [1048] * 999 + [one - 999 * 1048 + 1], 1009)), 1):
        add(f"22.8.{i}", "6455 §10.4", f"A message of {text}: {code or 'comes back'}.", sum_over_limit(parts, code),
            server="strict", weight=1)
    add("22.9.1", "6455 §10.4", "An announced length reserves no memory.", nothing_reserved, ours=True, tls=False)


# ---- 23: close codes and reasons -------------------------------------------------------------------------------------


def codes(first, last, step=1):
    """One connection for each code: answered with itself, or with 1002 when it may not be sent."""
    def run(t):
        for c in range(first, last + 1, step):
            p = t.open()
            p.said_close = True
            p.send(frame(CLOSE, c.to_bytes(2, "big")))
            try:
                t.answered(p, c if code_valid(c) else 1002)
            except Fault as e:
                raise Fault(f"code {c}: {e}", e.verdict)
            p.sock.close()
        return OK, ""
    return run


def reasons(t):
    """Reasons of every length, one byte a character and several."""
    for n in range(0, 124):
        for text in (b"r" * n, ("ü" * (n // 2)).encode()):
            p = t.open()
            p.said_close = True
            p.send(close_frame(4321, text))
            t.answered(p, 4321)
            p.sock.close()
    return OK, ""


def bad_reason(reason, code):
    def run(t):
        p = t.open()
        p.said_close = True
        p.send(close_frame(1000, reason))
        return t.answered(p, code)
    return run


def close_codes():
    for i, first in enumerate(range(1000, 5000, 100), 1):
        add(f"23.1.{i}", "6455 §7.4",
            f"Closes with {first} to {first + 99}: those that may be sent come back, the others are 1002.",
            codes(first, first + 99), quick=False)
    add("23.2.1", "6455 §7.4", "Closes with 0 to 999, every ninth, are answered with 1002.", codes(0, 999, 9),
        quick=False)
    add("23.2.2", "6455 §7.4", "Closes with 5000 to 65535, every 997th, are answered with 1002.",
        codes(5000, 65535, 997), quick=False, ours=True)
    add("23.2.3", "6455 §7.4", "Closes with 1000 to 1016 on /ws too.", codes(1000, 1016), ways=("ws",))
    add("23.3.1", "6455 §5.5.1", "Reasons of 0 to 123 bytes are welcome.", reasons, quick=False)
    for i, (text, reason) in enumerate((("a surrogate", b"\xed\xa0\x80"), ("half a character at its end", b"abc\xce"),
                                        ("a byte that never is", b"\xff"),
                                        ("too many bytes for a character", b"\xc0\xaf"),
                                        ("a character beyond the last", b"\xf4\x90\x80\x80")), 2):
        add(f"23.3.{i}", "6455 §5.5.1", f"A reason with {text} is answered with 1007.", bad_reason(reason, 1007),
            ways=BOTH, ours=True)


# ---- 24: cut at every byte -------------------------------------------------------------------------------------------


def consumed(t, peers, limit=2.0):
    """Waits until the server has read what these connections have sent, as far as the system tells."""
    if not t.target().pid:
        time.sleep(0.05)
        return
    want = {p.name[1] for p in peers}
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with open("/proc/net/tcp", encoding="ascii") as f:
            waiting = [line.split() for line in f]
        if not any(int(w[2].split(":")[1], 16) in want and w[4].split(":")[1] != "00000000" for w in waiting[1:]):
            return
        time.sleep(0.002)


def cut(make, cuts, judge):
    """@make(t) gives bytes; @cuts(bytes) the places to cut them; each cut has a connection of its own, and what comes
    is judged as if the bytes had come at once."""
    def run(t):
        data = None
        todo = []
        while True:
            if data is None:
                data = make(t)
                todo = list(cuts(data))
            batch, todo = todo[:60], todo[60:]
            if not batch:
                return OK, f"{len(list(cuts(data)))} cuts"
            peers = []
            for at in batch:
                p = t.open()
                p.send(data[:at])
                peers.append(p)
            consumed(t, peers)
            for p, at in zip(peers, batch):
                p.send(data[at:])
                try:
                    judge(t, p)
                except Fault as e:
                    raise Fault(f"cut at {at}: {e}", e.verdict)
                p.sock.close()
    return run


def all_cuts(data):
    return range(1, len(data))


def edges(data):
    """Around the header and the ends of a long frame."""
    n = len(data)
    return sorted({*range(1, 20), *range(n // 2 - 2, n // 2 + 3), *range(n - 5, n)})


def three_parts(t):
    """A text that arrives in three parts, for every pair of cuts."""
    data = t.text(b"Hello")
    for a in range(1, len(data)):
        for b in range(a + 1, len(data)):
            p = t.open()
            for piece in (data[:a], data[a:b], data[b:]):
                p.send(piece)
            t.client_closes(p, [t.want(TEXT, b"Hello")])
            p.sock.close()
    return OK, f"{(len(data) - 1) * (len(data) - 2) // 2} pairs"


def cut_handshake(t):
    """The head of the handshake, cut at every byte."""
    data = head(t)
    for start in range(1, len(data), 60):
        peers = [t.peer() for _ in range(start, min(start + 60, len(data)))]
        for i, p in enumerate(peers):
            p.send(data[:start + i])
        consumed(t, peers)
        for i, p in enumerate(peers):
            p.send(data[start + i:])
            p.read_answer()
            p.check_upgrade(KEY)
            t.client_closes(p, [])
            p.sock.close()
    return OK, f"{len(data) - 1} cuts"


def cutting():
    def comes_back(*events):
        return lambda t, p: t.client_closes(p, [t.want(*e) if isinstance(e[0], int) else e for e in events])

    def fails(code, want=()):
        return lambda t, p: t.server_closes(p, [t.want(*w) for w in want], code)

    def closes(t, p):
        p.said_close = True
        return t.answered(p, 4000)

    h5 = b"Hello"
    cases = [
        ("a text of five bytes", lambda t: frame(TEXT, h5), all_cuts, comes_back((TEXT, h5))),
        ("an empty text", lambda t: frame(TEXT), all_cuts, comes_back((TEXT, b""))),
        ("a text of characters of many bytes", lambda t: frame(TEXT, MIXED), all_cuts, comes_back((TEXT, MIXED))),
        ("a text of 126 bytes", lambda t: frame(TEXT, b"*" * 126), all_cuts, comes_back((TEXT, b"*" * 126))),
        ("a binary message of 65536 bytes", lambda t: frame(BINARY, filler(BINARY, 65536)), edges,
         comes_back((BINARY, filler(BINARY, 65536)))),
        ("a ping", lambda t: frame(PING, h5), all_cuts, comes_back(("pong", h5))),
        ("a ping of 125 bytes", lambda t: frame(PING, b"p" * 125), all_cuts, comes_back(("pong", b"p" * 125))),
        ("a pong", lambda t: frame(PONG, h5), all_cuts, comes_back()),
        ("a text in two fragments and a ping between them",
         lambda t: frame(TEXT, b"Hel", fin=False) + frame(PING, b"p") + frame(CONT, b"lo"), all_cuts,
         comes_back(("pong", b"p"), (TEXT, h5))),
        ("a text in fragments of one byte", lambda t: fragments(TEXT, MIXED, 1), lambda d: range(1, len(d), 3),
         comes_back((TEXT, MIXED))),
        ("two texts", lambda t: frame(TEXT, h5) + frame(TEXT, h5 * 2), all_cuts,
         comes_back((TEXT, h5), (TEXT, h5 * 2))),
        ("a close", lambda t: close_frame(4000, b"a reason"), all_cuts, closes),
        ("a text and an unmasked one", lambda t: frame(TEXT, h5) + frame(TEXT, h5, masked=False), all_cuts,
         fails(1002, [(TEXT, h5)])),
        ("a text and one with RSV2", lambda t: frame(TEXT, h5) + frame(TEXT, h5, rsv=2), all_cuts,
         fails(1002, [(TEXT, h5)])),
        ("a text that is not UTF-8", lambda t: frame(TEXT, b"ab\xed\xa0\x80cd"), all_cuts, fails(1007)),
        ("a frame of 2^63 bytes", lambda t: header(TEXT, 2**63, form=64), all_cuts, fails(1002)),
        ("a length that is not the shortest", lambda t: header(TEXT, 125, form=16) + bytes(4), all_cuts, fails(1002)),
    ]
    for i, (what, make, cuts, judge) in enumerate(cases, 1):
        add(f"24.1.{i}", "6455 §5.2", f"{what[0].upper()}{what[1:]}, cut at every byte: as if it were whole.",
            cut(make, cuts, judge), quick=i in (1, 9, 12))
    add("24.2.1", "6455 §5.2", "A text in three parts, at every pair of cuts.", three_parts, ways=BOTH, quick=False)
    add("24.2.2", "6455 §4.2", "The head of the handshake, cut at every byte.", cut_handshake, ways=BOTH, ours=True)


# ---- 25: the closing handshake ---------------------------------------------------------------------------------------


def held(p):
    """Does the server still hold its end of this connection? If so, the system's table names its socket."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    here, there = f":{p.target.port:04X}", f":{p.name[1]:04X}"
    return any(w[1].endswith(here) and w[2].endswith(there) and w[9] != "0" for w in rows)


def until_let_go(p):
    started = time.monotonic()
    while held(p):
        if time.monotonic() > started + 2 * p.limit:
            raise Fault("the server holds the connection")
        time.sleep(0.05)
    return OK, f"let go after {time.monotonic() - started:.1f} s"


def never_answers(t):
    """We break the protocol, see the close frame and say nothing more: the server ends the connection itself."""
    p = t.open()
    p.send(frame(TEXT, HELLO, rsv=2))
    events, close = t.to_close(p)
    if not close or close[1] != 1002:
        raise Fault(f"closed with {close}", "WRONG CODE")
    t.end(p)
    return until_let_go(p) if t.target().pid else (OK, "")


def at_once(ending):
    """TCP ends with what @ending does, not with the server's own clock, which is at 5 s."""
    def run(t):
        for _ in range(3):
            started = time.monotonic()
            ending(t)
            seconds = time.monotonic() - started
            if seconds < 4.5:
                return OK, f"{seconds * 1000:.0f} ms"
        return NON_STRICT, f"three times it took {seconds:.1f} s"
    return run


def we_close(t):
    t.client_closes(t.open(), [])


def server_fails(t):
    p = t.open()
    p.send(frame(TEXT, HELLO, rsv=2))
    t.server_closes(p, [], 1002)


def talks_on(behind):
    """We do not answer the server's close, but go on sending: the server serves nothing of it and ends it."""
    def run(t):
        p = t.open()
        p.send(frame(TEXT, HELLO, rsv=2))
        t.to_close(p)
        end = time.monotonic() + 2 * p.limit
        while not p.broken:
            p.send(behind(t))
            p._read()
            if p.inp:
                raise Fault(f"{bytes(p.inp[:60])!r} came behind the close frame")
            if time.monotonic() > end:
                raise Fault("the connection does not end")
            time.sleep(0.1)
        return OK, ""
    return run


def answers_with(data):
    """Our answer to the server's close is wrong; the connection ends all the same."""
    def run(t):
        p = t.open()
        p.send(frame(TEXT, HELLO, rsv=2))
        t.to_close(p)
        p.send(data)
        t.end(p)
        return OK, ""
    return run


def never_reads(t):
    """A peer whose window is full when the server has to close: it ends all the same."""
    p = t.open(rcvbuf=4096)
    p.send(frame(BINARY, filler(BINARY, 1 << 19)))
    p.send(frame(TEXT, HELLO, rsv=2))
    return until_let_go(p)


def closes_with_echo_under_way(t):
    p = t.open()
    p.said_close = True
    big = filler(TEXT, 1 << 19)
    p.send(t.text(big) + close_frame(1000))
    events, close = t.to_close(p)
    if not close or close[1] != 1000 or events not in ([], [t.want(TEXT, big)]):
        raise Fault(f"{len(events)} events, {close}")
    t.end(p)
    return INFORMATIONAL, f"the echo {'came' if events else 'did not come'} before the close"


def close_in_every_state(t):
    """Our close in the middle of a message, of a text inside a character, between compressed frames."""
    for before in (frame(TEXT, b"abc", fin=False), frame(TEXT, b"ab\xce", fin=False), frame(BINARY, b"", fin=False),
                   frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False)):
        p = t.open()
        p.said_close = True
        p.send(before + close_frame(3456))
        t.answered(p, 3456)
        p.sock.close()
    return OK, ""


def closing():
    cases = [
        ("7.1.1", "When we close, TCP ends with the server's answer, not with a clock.",
         at_once(we_close)),
        ("7.1.1", "When the server closes and we answer, TCP ends with our answer, not with a clock.",
         at_once(server_fails)),
        ("7.1.1", "When the server closes and we never answer, it ends TCP itself.", never_answers),
        ("5.5.1", "Texts behind the server's close are not served, and TCP ends.", talks_on(lambda t: t.text(HELLO))),
        ("5.5.1", "Pings behind the server's close get no pong, and TCP ends.", talks_on(lambda t: frame(PING, b"p"))),
        ("5.5.1", "Broken frames behind the server's close: TCP ends.", talks_on(lambda t: b"\xff" * 20)),
        ("5.5.1", "An answer with another code ends TCP.", answers_with(close_frame(4999, b"so there"))),
        ("5.5.1", "An answer without a code ends TCP.", answers_with(frame(CLOSE))),
        ("5.5.1", "An answer with a code that may not be sent ends TCP.", answers_with(frame(CLOSE, b"\0\0"))),
        ("5.5.1", "An answer that is not masked ends TCP.",
         answers_with(frame(CLOSE, close_payload(1002), masked=False))),
        ("5.5.1", "Two answers end TCP.", answers_with(close_frame(1002) * 2)),
        ("5.5.1", "A text and an answer end TCP.", answers_with(frame(TEXT, HELLO) + close_frame(1002))),
        ("5.5.1", "A close while its echo is under way: what comes before the answer is for the server to say.",
         closes_with_echo_under_way),
        ("5.5.1", "A close in the middle of messages is answered, and they are gone.", close_in_every_state),
    ]
    for i, (section, text, run) in enumerate(cases, 1):
        add(f"25.1.{i}", f"6455 §{section}", text, run, ways=BOTH if i < 13 else ("echo",))
    add("25.2.1", "6455 §7.1.1", "A peer that reads nothing when the server closes is ended all the same.", never_reads,
        server="strict", ours=True, tls=False)


# ---- 26: ends --------------------------------------------------------------------------------------------------------

STATES = [
    ("before its handshake", None, b""),
    ("inside its handshake", None, b"GET /echo HTTP/1.1\r\nHost: a\r\nUpg"),
    ("when idle", True, b""),
    ("inside a frame header", True, header(TEXT, 65536)[:5]),
    ("behind a frame header", True, header(TEXT, 65536) + b"\0\0\0\0"),
    ("inside a payload", True, header(TEXT, 100) + b"\0\0\0\0" + b"x" * 50),
    ("between two fragments", True, frame(TEXT, b"abc", fin=False)),
    ("inside a ping", True, frame(PING, b"abcdef")[:-3]),
    ("behind a message whose echo is under way", True, frame(BINARY, bytes(1 << 19))),
    ("behind its close frame", True, close_frame(1000)),
    ("behind a frame that breaks the protocol", True, frame(TEXT, b"a", rsv=2)),
]


def still_serves(t):
    works(t, t.open())
    return OK, ""


def reset_in(shaken, data):
    def run(t):
        for _ in range(5):
            p = t.open() if shaken else t.peer()
            p.send(data)
            p.reset()
        return still_serves(t)
    return run


def half_closed_in(shaken, data):
    """FIN from us: the server ends its side too, and says nothing wrong before."""
    def run(t):
        p = t.open() if shaken else t.peer()
        p.send(data)
        p.shut()
        while p.fill():  # half an echo may be there: nothing says that it has to be whole
            pass
        return still_serves(t)
    return run


def half_close_and_echo(t):
    """A text and FIN behind it: whether the echo still comes is for the server to say."""
    p = t.open()
    p.send(t.text(HELLO))
    p.shut()
    events, close = t.to_close(p)
    if close:
        t.end(p)
    if events not in ([], [t.want(TEXT, HELLO)]):
        raise Fault(f"{events} came")
    return INFORMATIONAL, f"the echo {'came' if events else 'did not come'}, {close or 'and no close frame'}"


def fin_behind_close(t):
    p = t.open()
    p.said_close = True
    p.send(close_frame(1000))
    p.shut()
    return t.answered(p, 1000)


def says_goodbye(t):
    """Over TLS the end of a WebSocket is a close_notify, not a mere FIN (RFC 8446 §6.1)."""
    p = t.open()
    t.client_closes(p, [])
    if p.target.tls and p.ended != "end":
        return NON_STRICT, f"the TLS stream was ended by {p.ended}"
    return OK, p.ended


def ends():
    for i, (when, shaken, data) in enumerate(STATES, 1):
        add(f"26.1.{i}", "6455 §7.1.7", f"A client that resets the connection {when} disturbs nobody.",
            reset_in(shaken, data), ways=BOTH)
        add(f"26.2.{i}", "6455 §7.1.7", f"A client that sends FIN {when} gets the server's end.",
            half_closed_in(shaken, data), tls=False)
    add("26.3.1", "6455 §7.1.7", "A text and FIN.", half_close_and_echo, tls=False, ways=BOTH)
    add("26.3.2", "6455 §7.1.1", "FIN behind our close frame: the answer comes.", fin_behind_close, tls=False,
        ways=BOTH)
    add("26.3.3", "6455 §7.1.1", "The end of the connection is the end of its transport, properly said.", says_goodbye)


# ---- 27: floods ------------------------------------------------------------------------------------------------------


def every_ping(n):
    """@n pings of a client that reads: each gets its pong, in order."""
    def run(t):
        p = t.open()
        for start in range(0, n, 100):
            block = range(start, min(start + 100, n))
            p.send(b"".join(frame(PING, b"%d" % i) for i in block))
            t.expect(p, *[("pong", b"%d" % i) for i in block])
        return t.client_closes(p, [])
    return run


def pings_unread(t):
    """A client sends pings and does not read, until its socket has been full for long. Pongs may coalesce then, not
    before; they stay in order, and the last one arrives. Little output waits for this client."""
    p = t.open(rcvbuf=4096)
    n, stalled, pending = 0, 0, b""
    payload = b"x" * 110
    while n < 60000 and stalled < 50:
        if not pending:
            pending = b"".join(frame(PING, b"%07d" % (n + i) + payload, key=b"\1\2\3\4") for i in range(50))
            n += 50
        sent = p.push(pending)
        pending = pending[sent:]
        stalled = 0 if sent else stalled + 1
        if not sent:
            time.sleep(0.01)
    p.send(pending)
    p.send(t.text(HELLO))
    got, last = 0, -1
    while True:
        e = t.event(p)
        if e == t.want(TEXT, HELLO):
            break
        if e[0] != "pong" or e[1][7:] != payload or int(e[1][:7]) <= last:
            raise Fault(f"{e[0]} {e[1][:20]!r} behind pong {last}")
        got, last = got + 1, int(e[1][:7])
    if last != n - 1:
        raise Fault(f"the last pong is {last} of {n}")
    verdict, _ = t.client_closes(p, [])
    return verdict, f"{n} pings, {got} pongs"


def control_flood(opcode):
    """More control frames at once than the default rate allows: 1008."""
    def run(t):
        p = t.open()
        p.send(b"".join(frame(opcode, b"%d" % i) for i in range(200)))
        pongs, close = t.to_close(p)
        if not close or close[1] != 1008:
            raise Fault(f"{close} instead of 1008")
        if pongs != [("pong", b"%d" % i) for i in range(len(pongs))]:
            raise Fault("pongs out of order before the close")
        p.send_close(1008)
        t.end(p)
        return OK, f"after {len(pongs)} pongs"
    return run


def many_fragments(n, size, fails):
    def run(t):
        p = t.open()
        data = b"x" * size
        p.send(frame(BINARY, data, fin=False, key=b"\1\2\3\4") + frame(CONT, data, fin=False, key=b"\1\2\3\4") * (n - 2)
               + frame(CONT, data))
        if fails:
            return t.server_closes(p, [], 1008)
        return t.client_closes(p, [t.want(BINARY, data * n)])
    return run


def many_messages(n, payload):
    """So many small messages in one write, read only afterwards: all come back, in order."""
    def run(t):
        p = t.open()
        p.send(b"".join(frame(TEXT, payload + (b"%d" % i if payload else b"")) for i in range(n)))
        t.expect(p, *[("text", payload + (b"%d" % i if payload else b"")) for i in range(n)])
        return t.client_closes(p, [])
    return run


def echoes_unread(t):
    """A client sends and does not read: the server reads it later, and then the client gets everything."""
    p = t.open(rcvbuf=8192)
    body = filler(BINARY, 1 << 16)
    n, stalled, pending = 0, 0, b""
    while n < 400 and stalled < 50:
        if not pending:
            pending = frame(BINARY, b"%07d" % n + body)
            n += 1
        sent = p.push(pending)
        pending = pending[sent:]
        stalled = 0 if sent else stalled + 1
        if not sent:
            time.sleep(0.01)
    p.send(pending)
    for i in range(n):
        e = p.event()
        if e != ("binary", b"%07d" % i + body):
            raise Fault(f"{e[0]} instead of message {i}")
    verdict, _ = t.client_closes(p, [])
    return verdict, f"{n} messages of 64 KiB, {'the server stopped reading' if stalled >= 50 else 'all at once'}"


def others_meanwhile(t):
    """While four clients flood, an ordinary one is served."""
    floods = [t.open() for _ in range(4)]
    for p in floods:
        p.push(b"".join(frame(PING, b"p" * 100, key=b"\1\2\3\4") for _ in range(2000)))
    quiet = t.open()
    for i in range(50):
        quiet.send(t.text(b"%d" % i))
        t.expect(quiet, t.want(TEXT, b"%d" % i))
        for p in floods:
            p.push(frame(PING, b"p" * 100) * 200)
            p._read()
            p.inp.clear()
    for p in floods:
        p.reset()
    return t.client_closes(quiet, [])


def floods():
    add("27.1.1", "6455 §5.5.2", "2000 pings get 2000 pongs in order if the client reads.", every_ping(2000), ways=BOTH)
    add("27.1.2", "6455 §5.5.3", "Pings by one who does not read: pongs coalesce, in order, the last one stays.",
        pings_unread, weight=2, quick=False)
    add("27.1.3", "6455 §5.5.2", "More pings at once than the default rate: 1008.", control_flood(PING),
        server="strict", ways=BOTH)
    add("27.1.4", "6455 §5.5.3", "More pongs at once than the default rate: 1008.", control_flood(PONG),
        server="strict", ways=BOTH)
    add("27.2.1", "6455 §10.4", "1024 fragments, the default limit, come back.", many_fragments(1024, 1, False),
        server="strict")
    add("27.2.2", "6455 §10.4", "One fragment more: 1008.", many_fragments(1025, 1, True), server="strict")
    add("27.2.3", "6455 §10.4", "1025 empty fragments: 1008.", many_fragments(1025, 0, True), server="strict")
    add("27.2.4", "6455 §5.4", "100000 empty fragments, with the limit lifted, are an empty message.",
        many_fragments(100000, 0, False), weight=1)
    add("27.2.5", "6455 §5.4", "300000 fragments of one byte come back.", many_fragments(300000, 1, False), weight=2,
        quick=False)
    add("27.3.1", "6455 §5.6", "5000 empty texts in one write come back.", many_messages(5000, b""), weight=1)
    add("27.3.2", "6455 §5.6", "5000 short texts in one write come back in order.", many_messages(5000, b"message "),
        weight=1)
    add("27.3.3", "6455 §5.6", "25 MiB of messages by one who does not read are not lost.", echoes_unread, weight=25,
        ours=True)
    add("27.4.1", "6455 §10.4", "While four clients flood with pings, another is served.", others_meanwhile, ways=BOTH)


# ---- 31: independent clients -----------------------------------------------------------------------------------------


def by_wsproto(compressed):
    """The client of wsproto: its handshake, its frames, its idea of permessage-deflate."""
    def run(t):
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Ping, Pong, Request, \
            TextMessage
        from wsproto.extensions import PerMessageDeflate
        p = t.peer()
        ws = WSConnection(ConnectionType.CLIENT)
        extensions = [PerMessageDeflate()] if compressed else []
        p.send(ws.send(Request(host="localhost", target=t.target().path + t.way.query, extensions=extensions)))

        def events():
            while True:
                if not p.fill() and p.ended:
                    ws.receive_data(None)
                else:
                    ws.receive_data(bytes(p.inp))
                    p.inp.clear()
                for e in ws.events():
                    yield e
                if p.ended:
                    raise Fault("the connection ended")
        stream = events()
        e = next(stream)
        if not isinstance(e, AcceptConnection) or (compressed and not e.extensions):
            raise Fault(f"{e}", "UNIMPLEMENTED" if compressed else "FAILED")
        for size in (0, 1, 125, 126, 65535, 65536, 300000):
            for data in (("a€" * size)[:size], filler(BINARY, size)):
                p.send(ws.send(Message(data=data)))
                parts = []
                for e in stream:
                    if not isinstance(e, (TextMessage, BytesMessage)):
                        raise Fault(f"{type(e).__name__} instead of a message of {size}")
                    parts.append(e.data)
                    if e.message_finished:
                        break
                if (b"" if isinstance(data, bytes) else "").join(map(type(data), parts)) != data:
                    raise Fault(f"another message of {size} came back")
        p.send(ws.send(Ping(payload=b"wsproto")))
        e = next(stream)
        if not isinstance(e, Pong) or bytes(e.payload) != b"wsproto":
            raise Fault(f"{e} instead of a pong")
        p.send(ws.send(CloseConnection(code=1000)))
        e = next(stream)
        if not isinstance(e, CloseConnection) or e.code != 1000:
            raise Fault(f"{e} instead of a close")
        return OK, ""
    return run


def by_websockets(compressed):
    """The client of the websockets package."""
    def run(t):
        import websockets
        logging.getLogger("websockets").setLevel(logging.CRITICAL)
        target = t.target()
        url = f"{'wss' if target.tls else 'ws'}://localhost:{target.port}{target.path}{t.way.query}"

        async def talk():
            raw = socket.create_connection((target.host, target.port))
            how = {"ssl": target.tls, "server_hostname": "localhost"} if target.tls else {}
            async with websockets.connect(url, sock=raw, max_size=32 * MIB, ping_interval=None,
                                          compression="deflate" if compressed else None, **how) as ws:
                if compressed and not ws.extensions:
                    raise Fault("no extension was agreed to", "UNIMPLEMENTED")
                for size in (0, 1, 125, 126, 65535, 65536, MIB, 4 * MIB):
                    for data in (("a€" * size)[:size], filler(BINARY, size)):
                        await ws.send(data)
                        if await ws.recv() != data:
                            raise Fault(f"another message of {size} came back")
                await ws.send(["in ", "three ", "fragments"])
                if await ws.recv() != "in three fragments":
                    raise Fault("the message in fragments came back otherwise")
                await asyncio.wait_for(await ws.ping(b"websockets"), p_limit)
                await ws.close(3003, "bye")
                return ws.close_code
        p_limit = 60
        code = asyncio.run(talk())
        return (OK if code == 3003 else "WRONG CODE"), f"closed with {code}"
    return run


def independent():
    for i, (what, run) in enumerate((("wsproto", by_wsproto), ("websockets", by_websockets)), 1):
        add(f"31.{i}.1", "6455", f"The client of {what} is served.", run(False), weight=1)
        add(f"31.{i}.2", "7692", f"The client of {what} is served with permessage-deflate.", run(True), weight=1,
            deflate=True)


def register():
    handshake()
    masking()
    lengths()
    close_codes()
    cutting()
    closing()
    ends()
    floods()
    independent()
