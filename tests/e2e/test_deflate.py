# SPDX-License-Identifier: Apache-2.0
"""Compression (permessage-deflate, RFC 7692): the agreement, and messages in both directions under each agreement."""
import asyncio
import json
import os
import random
import struct
import threading
import time
import zlib

import lib
from lib import BINARY, CLOSE, CONT, PING, PONG, TEXT, Server, close_payload, eq, eventually, frame, has, name, ok, row, \
    shared, success
from test_docs import Browser

TAIL = b"\x00\x00\xff\xff"
SHARED = {"performance": {"enable_compression": True}, "dev": {"echo_path": "/echo"},
          "security": {"enable_rate_limit": False}}
OWN = {"performance": {"enable_compression": True, "compression_context_takeover": True},
       "dev": {"echo_path": "/echo"}, "security": {"enable_rate_limit": False}}
OFFER = "permessage-deflate"
BARE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LONG = "compression likes what comes again and again; " * 20


class Deflate(lib.Ws):
    """A client that offers compression and has agreed on it. wire: bytes of payload that came; deflated: frames that were."""

    def __init__(self, address, user=None, offer=OFFER, **options):
        headers = options.pop("headers", []) + [("Sec-WebSocket-Extensions", offer)]
        super().__init__(address, user, headers=headers, check=False, **options)
        eq(self.answer.status, 101, self.answer)
        self.agreed = self.answer.header("Sec-WebSocket-Extensions")
        ok(self.agreed, "compression was not agreed on")
        self.keep_in = "server_no_context_takeover" not in self.agreed
        self.keep_out = "client_no_context_takeover" not in self.agreed
        self.wire = self.deflated = 0
        self.inflater, self.deflater = zlib.decompressobj(-15), self.new_deflater()

    @staticmethod
    def new_deflater():
        return zlib.compressobj(6, zlib.DEFLATED, -15)

    def recv_frame(self):
        first = self.take(1)[0]
        self.compressed = bool(first & 0x40)
        self.buffer = bytes([first & ~0x40]) + self.buffer
        opcode, payload, fin = super().recv_frame()
        if opcode in (TEXT, BINARY):
            self.wire += len(payload)
        if not self.compressed:
            return opcode, payload, fin
        ok(opcode in (TEXT, BINARY) and fin, "rsv1 on another frame than the one of a message:", opcode)
        self.deflated += 1
        wire = payload
        payload = self.inflater.decompress(wire + TAIL)
        ok(not self.inflater.unconsumed_tail and not self.inflater.eof and not self.inflater.unused_data, "left over")
        ok(len(wire) < len(payload), "a deflated message that is no shorter")
        if not self.keep_in:
            self.inflater = zlib.decompressobj(-15)
        return opcode, payload, fin

    def deflate(self, payload):
        if not self.keep_out:
            self.deflater = self.new_deflater()
        out = self.deflater.compress(payload) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        ok(out.endswith(TAIL))
        return out[:-4]

    def send_deflated(self, opcode, payload):
        self.send_raw(frame(opcode, self.deflate(payload), rsv=4))

    def send_text(self, text, **how):
        self.send_deflated(TEXT, text if isinstance(text, bytes) else text.encode())


def deflate(server, user=None, **options):
    return server.keep(Deflate(server.address, user, **options))


def returns(ws, opcode, payload):
    got = ws.recv_frame()
    ok(got == (opcode, payload, True), "came:", got[0], got[2], len(got[1]), got[1][:60], "want", len(payload))


@row("1.performance.compression", "threat 31", "threat 40", "owasp.3")
def test_without_enable_compression_the_extension_is_not_agreed_to():
    ws = shared().ws(name(), headers=[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")])
    eq(ws.answer.header("Sec-WebSocket-Extensions"), None)
    ws.send_frame(TEXT, b"{}", rsv=4)
    ws.expect_close(1002)


@row("1.performance.compression")
def test_an_offer_is_answered_strictly_and_other_extensions_are_ignored():
    s, own = shared(**SHARED), shared(**OWN)
    for offer, bare, full in (
            (OFFER, BARE, OFFER),
            ("x; y, permessage-deflate; client_max_window_bits", BARE, OFFER),
            ("permessage-deflate; server_max_window_bits=8", BARE + "; server_max_window_bits=8",
             "permessage-deflate; server_max_window_bits=8"),
            ('permessage-deflate; server_max_window_bits=7, permessage-deflate; client_max_window_bits="10"',
             BARE + "; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
            ("permessage-deflate; server_no_context_takeover", BARE, "permessage-deflate; server_no_context_takeover")):
        eq(deflate(s, name(), offer=offer).agreed, bare)
        eq(deflate(own, name(), offer=offer).agreed, full)
    for offer in ("permessage-deflate; x", "permessage-deflate; server_no_context_takeover=1", "permessage-deflate;",
                  "permessage-deflate; client_max_window_bits=16", "permessage-bzip2", "permessage-deflate x"):
        ws = s.ws(name(), headers=[("Sec-WebSocket-Extensions", offer)])
        eq(ws.answer.header("Sec-WebSocket-Extensions"), None, offer)
        ws.quiet()
    with Server({"performance": {"enable_compression": True, "compression_window_bits": 10}}) as narrow:
        has(deflate(narrow, "a", offer="permessage-deflate; client_max_window_bits").agreed,
            "server_max_window_bits=10; client_max_window_bits=10")


async def _combinations(port, seed):
    from websockets import connect
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Factory
    rnd = random.Random(seed)
    for server_no in (False, True):
        for client_no in (False, True):
            for server_bits in (None, 8, 9, 12, 15):
                for client_bits in (None, True, 9, 15):
                    f = Factory(server_no_context_takeover=server_no, client_no_context_takeover=client_no,
                                server_max_window_bits=server_bits, client_max_window_bits=client_bits)
                    async with connect(f"ws://127.0.0.1:{port}/echo", extensions=[f], compression=None,
                                       max_size=None) as ws:
                        has(ws.response_headers["Sec-WebSocket-Extensions"], OFFER)
                        for i in range(12):
                            n = rnd.choice([0, 1, 10, 300, 5000, 40000])
                            text = (LONG * (n // len(LONG) + 1))[:n], rnd.randbytes(n), bytes([i]) * n
                            for m in text:
                                await ws.send(m)
                                got = await asyncio.wait_for(ws.recv(), lib.LIMIT)
                                ok(got == m, f, n, len(got))


@row("1.performance.compression", "threat 37")
def test_another_implementation_speaks_every_combination_of_parameters():
    for config in (SHARED, OWN):
        asyncio.run(_combinations(shared(**config).port, 7))


@row("1.performance.compression", "1.performance.compression_context_takeover")
def test_messages_between_all_kinds_of_clients_are_the_same_text():
    for config in (SHARED, OWN):
        with Server(config) as s:
            alice = deflate(s, "alice")
            readers = [s.ws("plain"), deflate(s, "default"), deflate(s, "bits", offer=OFFER + "; server_max_window_bits=9"),
                       deflate(s, "bare", offer=BARE), deflate(s, "rle", offer=OFFER + "; server_max_window_bits=8"),
                       s.sse("stream")]
            for i in range(20):
                content = f"{i} {LONG}" + "é\U0001f600" * i
                if i % 2:
                    success(s.broadcast(content))
                    eq(alice.recv()["content"], content)
                else:
                    for r in readers:
                        alice.send(to=r.user, content=content)
                texts = set()
                for r in readers:
                    eq(r.recv()["content"], content)
                    texts.add(r.last)
                ok(i % 2 == 0 or len(texts) == 1, "a broadcast that differs between readers", texts)
            for r in readers[1:5]:
                eq(r.deflated, 20)
                # In a window of 256 bytes only runs are looked for.
                ok(r.wire * (1.1 if r.user == "rle" else 4) < 20 * len(LONG), r.user, "saved little:", r.wire)


@row("1.performance.compression")
def test_short_and_incompressible_messages_are_sent_uncompressed():
    for config in (SHARED, OWN):
        ws = deflate(shared(**config), path="/echo")
        for payload, want in ((b"x" * 255, 0), (b"x" * 256, 1), (os.urandom(5000), 1), (b"", 1), (b"x" * 300, 2)):
            ws.send_deflated(BINARY, payload)
            returns(ws, BINARY, payload)
            eq(ws.deflated, want, len(payload))
    with Server(dict(SHARED, performance={"enable_compression": True, "compression_min_bytes": 0})) as s:
        ws = deflate(s, path="/echo")
        ws.send_deflated(TEXT, b"a" * 20)
        returns(ws, TEXT, b"a" * 20)
        eq(ws.deflated, 1)
        ws.send_deflated(TEXT, b"")
        returns(ws, TEXT, b"")


@row("1.performance.compression", "3.frame-binary", "threat 36", "threat 37")
def test_a_compressed_message_may_come_in_any_fragments_and_cuts():
    for config in (SHARED, OWN):
        ws = deflate(shared(**config), path="/echo")
        for n in (1, 2, 7, 100, 10000):
            payload = (LONG * (n // len(LONG) + 1))[:n].encode()
            wire = ws.deflate(payload)
            step = max(1, len(wire) // 7)
            parts = [wire[i:i + step] for i in range(0, len(wire), step)] + [b""]
            for i, p in enumerate(parts):
                ws.send_slowly(frame(TEXT if i == 0 else CONT, p, fin=i == len(parts) - 1, rsv=4 if i == 0 else 0))
                if i < len(parts) - 1:
                    ws.send_frame(PING, b"%d" % i)
                    returns(ws, PONG, b"%d" % i)
            returns(ws, TEXT, payload)
            ws.send_frame(BINARY, payload)           # uncompressed is allowed at any time
            returns(ws, BINARY, payload)


@row("7.1002")
def test_rsv1_anywhere_but_on_the_first_frame_of_a_message_is_1002():
    s = shared(**SHARED)
    for wrong in (frame(TEXT, b"x", fin=False) + frame(CONT, b"y", rsv=4), frame(PING, b"", rsv=4),
                  frame(PONG, b"", rsv=4), frame(CLOSE, close_payload(1000), rsv=4), frame(TEXT, b"x", rsv=6),
                  frame(TEXT, b"x", rsv=5), frame(TEXT, b"x", rsv=2)):
        ws = deflate(s, path="/echo")
        ws.send_raw(wrong)
        ws.expect_close(1002)


@row("7.1007")
def test_data_that_does_not_inflate_or_is_no_utf_8_is_1007():
    for config in (SHARED, OWN):
        s = shared(**config)
        for wrong in (b"\x07", b"no deflate at all", b"\x00\x05\x00\xfa\xffHel", b"\xf2\x48\xcd\xc9\xc9", b"\x00\x05"):
            ws = deflate(s, path="/echo")
            ws.send_frame(BINARY, wrong, rsv=4)
            ws.expect_close(1007)
        for wrong in (b"\xff", b"ok \xc3\x28", b"\xe2\x82"):
            ws = deflate(s, name())
            ws.send_deflated(TEXT, wrong)
            ws.expect_close(1007)
        ws = deflate(s, path="/echo")
        ws.send_deflated(BINARY, b"\xff\xfe")         # binary may be anything
        returns(ws, BINARY, b"\xff\xfe")


@row("1.performance.compression")
def test_final_blocks_and_an_empty_message_inflate_as_the_rfc_says():
    ws = deflate(shared(**SHARED), path="/echo")
    for wire, text in ((b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"), (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
                       (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"), (b"\x00", b""),
                       (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"), (b"", b""),
                       (b"\xf3\x48\xcd\xc9\xc9\x07\x00" * 2 + b"\x00", b"HelloHello")):
        ws.send_frame(TEXT, wire, rsv=4)
        returns(ws, TEXT, text)


def bomb(megabytes, wire=None):
    """A thousand to one."""
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(c.compress(bytes(1 << 20)) for _ in range(megabytes)) + c.flush(zlib.Z_SYNC_FLUSH)[:-4]


@row("7.1009", "1.security.max_message_size", "threat 33")
def test_a_message_is_measured_after_inflation():
    for config in (SHARED, OWN):
        s = shared(**config)
        ws = deflate(s, path="/echo")
        ws.send_deflated(BINARY, bytes(1 << 20))
        returns(ws, BINARY, bytes(1 << 20))
        ws.send_deflated(BINARY, bytes((1 << 20) + 1))
        ws.expect_close(1009)
        ws = deflate(s, path="/echo")
        ws.send_frame(BINARY, bomb(16), rsv=4)
        ws.expect_close(1009)


@row("7.1009", "threat 30")
def test_fifty_bombs_are_closed_with_1009_and_memory_stays_and_others_are_served():
    with Server(dict(SHARED, workers=2)) as s:
        clients = [deflate(s, f"bomber-{i}") for i in range(50)]
        alice, bob = deflate(s, "alice"), deflate(s, "bob")
        before = memory(s)
        wire = bomb(16)
        for c in clients:
            c.send_frame(TEXT, wire, rsv=4)
        for i in range(50):
            alice.send(to="bob", content=f"{i} {LONG}")
            eq(bob.recv()["content"], f"{i} {LONG}")
        for c in clients:
            c.expect_close(1009)
        # Two workers have a buffer of a mebibyte each; the rest is memory that fifty connections hold for a moment. A
        # sanitizer keeps freed memory.
        ok(lib.SLOW or memory(s) - before < (16 << 20), "memory grew from", before, "to", memory(s))


def memory(server):
    """Peak of the server's resident memory, in bytes."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


@row("1.performance.compression_context_takeover")
def test_with_takeover_messages_pongs_and_the_close_keep_their_order():
    with Server(OWN) as s:
        ws = deflate(s, path="/echo")
        said = b""
        for i in range(200):
            said += frame(TEXT, ws.deflate(f"{i} {LONG}".encode()), rsv=4)
        ws.send_raw(said + frame(PING, b"last") + frame(CLOSE, close_payload(1000)))
        pongs = 0
        for i in range(200):
            got = ws.recv_frame()
            while got[0] == PONG:
                pongs, got = pongs + 1, ws.recv_frame()
            eq((got[0], got[1].decode()), (TEXT, f"{i} {LONG}"))
        while not ws.closed:
            pongs += ws.recv_frame()[0] == PONG
        eq((pongs, ws.closed.code), (1, 1000))
        ws.expect_end()


@lib.not_chopped
@row("1.performance.compression_context_takeover", "1.slow_consumer")
def test_with_takeover_a_slow_reader_meets_its_limits_and_a_gap_notice_stands_where_messages_are_missing():
    # Bob reads nothing until all is sent, which may take longer than the default limits.write_timeout.
    config = dict(OWN, slow_consumer="drop_oldest", message_buffer_size=20, limits={"write_timeout": "5m"},
                  performance=dict(OWN["performance"], compression_min_bytes=0))
    with Server(config) as s:
        bob, marker = deflate(s, "bob", rcvbuf=4096), deflate(s, "carol")
        noise = random.Random(3)
        total = 0
        with s.http() as h:
            for total in range(3000):
                content = f"{total} " + "".join(noise.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=4000))
                h.send_raw(h.build("POST", lib.API + "/send", {"to": "bob", "content": content}, [("X-User-ID", "a")]))
                success(h.answer())
        success(s.send("a", "bob", "the end"))
        dropped, seen = 0, -1
        while True:
            m = bob.recv()
            if m["content"] == "the end":
                break
            if m["type"] == "gap":
                dropped += m["data"]["dropped"]
                continue
            number = int(m["content"].split()[0])
            ok(number > seen, "out of order", number, seen)
            seen = number
        ok(dropped > 0, "nothing was dropped")
        marker.quiet()
    with Server(dict(OWN, message_buffer_size=20)) as s:
        slow, quick = deflate(s, "slow", rcvbuf=4096), deflate(s, "quick")

        def over():
            for _ in range(50):
                s.send("a", "slow", "".join(noise.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=4000)))
            return not s.is_online("slow")
        eventually(over, "the end of the client that reads nothing", lib.LIMIT * 3)
        slow.expect_close(1013, answer=False)
        quick.quiet()


@row("1.performance.compression_memory", "threat 41")
def test_beyond_compression_memory_new_connections_are_agreed_on_without_contexts():
    config = {"performance": dict(OWN["performance"], compression_memory="1MiB")}
    with Server(config) as s:
        first = [deflate(s, f"u{i}") for i in range(6)]
        kept = [c for c in first if c.keep_in]
        eq([len(kept), len({c.agreed for c in first})], [3, 2])
        for c in first:
            success(s.send("a", c.user, LONG))
            eq(c.recv()["content"], LONG)
            eq(c.deflated, 1)
        kept[0].close()
        s.gone(kept[0].user)
        eventually(lambda: deflate(s, name()).keep_in, "room for contexts again")
    with Server({"performance": dict(OWN["performance"], compression_memory=0)}) as s:
        eq(deflate(s, "a").agreed, BARE)


@row("1.performance.compression_context_takeover")
def test_takeover_makes_like_messages_much_shorter():
    sizes = {}
    for kind, config in (("shared", SHARED), ("own", OWN)):
        with Server(config) as s:
            ws = deflate(s, "bob")
            for i in range(50):
                success(s.send("alice", "bob", f"the temperature is {i} degrees; " + "and the wind comes from the west " * 9))
                ws.recv()
            sizes[kind] = ws.wire
            eq(ws.deflated, 50)
    ok(sizes["own"] * 2 < sizes["shared"], sizes)


@row("1.performance.compression")
def test_later_messages_may_refer_to_a_refused_message():
    config = dict(OWN, security={"message_rate": 1, "message_burst": 1})
    with Server(config) as s:
        ws, bob = deflate(s, "alice"), s.ws("bob")
        ws.send(to="bob", content=LONG)
        bob.recv(content=LONG)
        refused = 0
        for i in range(3):
            ws.send(to="bob", content=f"{i} {LONG}")
            ws.recv("error")
            refused += 1
        eventually(lambda: delivered(ws, bob), "a message that is let through again")
        eq(refused, 3)


def delivered(ws, bob):
    ws.send(to="bob", content="again " + LONG)
    time.sleep(0.3)
    if bob.has_input():
        bob.recv(content="again " + LONG)
        return True
    ws.recv("error")
    return False


@row("1.performance.compression", "docs.browser")
def test_chromium_agrees_on_compression_by_itself_and_reads_compressed_messages():
    for config in (SHARED, OWN):
        with Server(config) as s, Browser(s.port, "http://localhost:8080/") as page:
            page.eval("""
                const text = (i) => ('é' + i + ' again and again ').repeat(200);
                const ws = new WebSocket('ws://localhost:8080/echo');
                const back = [];
                ws.onopen = () => { for (let i = 0; i < 20; i++) ws.send(text(i)); };
                ws.onmessage = (e) => back.push(e.data);
                1""")
            eventually(lambda: page.eval("back.length") == 20, "twenty echoes in the browser")
            eq(page.eval("back.every((t, i) => t === text(i))"), True)
            has(page.eval("ws.extensions"), OFFER)
