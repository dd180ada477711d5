# SPDX-License-Identifier: Apache-2.0
"""The echo path: every message comes back as it is, over the same codec and the same way out as all others."""
import os
import select
import struct

import lib
from lib import BINARY, CLOSE, CONT, PING, PONG, TEXT, Server, close_payload, eq, eventually, failure, frame, has, name, \
    ok, row, shared, success

ECHO = {"dev": {"echo_path": "/echo"}, "security": {"enable_rate_limit": False}}
LARGE = {"dev": {"echo_path": "/echo"}, "limits": {"fragments": 16777216}, "performance": {"max_queue_bytes": "40MiB"},
         "security": {"enable_rate_limit": False, "max_message_size": "32MiB"}}


def echo(server, **options):
    return server.ws(path="/echo", **options)


def quick(opcode, payload, fin=True):
    """A frame whose key is zero, so that Python need not mask megabytes."""
    n = len(payload)
    head = struct.pack("!B", (0x80 if fin else 0) | opcode)
    head += struct.pack("!B", 0x80 | n) if n < 126 else struct.pack("!BH", 0xfe, n) if n < 65536 else \
        struct.pack("!BQ", 0xff, n)
    return head + bytes(4) + payload


def returns(ws, opcode, payload):
    """The next frame is this message."""
    got = ws.recv_frame()
    ok(got == (opcode, payload, True), f"an echo of {len(payload)} bytes, opcode {opcode}; came:", got[0], got[2],
       len(got[1]), got[1][:60])


def served(opcode, payload):
    """The bytes of a server's frame."""
    n = len(payload)
    return struct.pack("!B", 0x80 | opcode) + (
        struct.pack("!B", n) if n < 126 else struct.pack("!BH", 126, n) if n < 65536 else
        struct.pack("!BQ", 127, n)) + payload


def exchange(ws, data, want, stubborn=False):
    """Sends @data as fast as the socket takes it, and reads meanwhile; a stubborn client reads only when it can send no
    more. Exactly the bytes @want come."""
    at, got, view = 0, bytearray(), memoryview(data)
    ws.sock.setblocking(False)
    while at < len(data) or len(got) < len(want):
        writing = [ws.sock] if at < len(data) else []
        _, writable, _ = select.select([], writing, [], 0.2 if stubborn else 0)
        if writable:
            at += ws.sock.send(view[at:at + (1 << 20)])
            continue
        stubborn = False
        readable, _, _ = select.select([ws.sock], writing, [], lib.LIMIT)
        if readable:
            more = ws.sock.recv(1 << 20)
            ok(more, "the connection ended")
            got += more
    ws.sock.settimeout(lib.LIMIT)
    ok(got == want, "the echo differs from the bytes that were sent:", len(got), len(want))


@row("1.dev.echo_path")
def test_without_echo_path_there_is_no_echo():
    failure(shared().get("/echo"), 404, "not_found")


@row("1.dev.echo_path")
def test_an_echo_path_is_announced_by_one_warning_and_may_not_be_a_path_of_another_thing():
    with Server(ECHO) as s:
        lines = [e for e in s.log() if "dev.echo_path" in e["msg"]]
        eq([(e["level"], e["path"]) for e in lines], [("warn", "/echo")])
        failure(s.get("/echo"), 426, "upgrade_required")
    with lib.Scratch() as d:
        done = lib.wsc("check", d.write("c.yaml", {"wsc": {"dev": {"echo_path": "/ws"}}}))
        eq(done.status, 2)
        has(done.text, "dev.echo_path: /ws is already used by paths.websocket")


@row("1.dev.echo_path")
def test_text_and_binary_come_back_unchanged_and_nothing_is_special():
    s = shared(**ECHO)
    ws = echo(s)
    for opcode, payload in ((TEXT, b"hello"), (TEXT, b""), (BINARY, b""), (BINARY, bytes(range(256))), (TEXT, b"ping"),
                            (TEXT, b'{"to":"bob"}'), (TEXT, b'{"type":"ping"}'), (TEXT, "\u20ac\U0001f600\0".encode()),
                            (TEXT, b"x" * 125), (TEXT, b"x" * 126), (BINARY, b"\xff" * 65535), (BINARY, b"y" * 65536)):
        ws.send_frame(opcode, payload)
        returns(ws, opcode, payload)
    eq(ws.close(1000), 1000)


@row("1.dev.echo_path")
def test_an_echo_of_fragments_is_one_message_and_pings_between_them_are_answered():
    s = shared(**ECHO)
    ws = echo(s)
    for opcode, parts in ((TEXT, [b"a", b"b", b"c"]), (BINARY, [b"", b"\xff", b""]), (TEXT, [b"\xe2", b"\x82", b"\xac"]),
                          (TEXT, [b"", b""])):
        for i, part in enumerate(parts):
            ws.send_frame(opcode if i == 0 else CONT, part, fin=i == len(parts) - 1)
            if i < len(parts) - 1:
                ws.send_frame(PING, b"between")
                returns(ws, PONG, b"between")
        returns(ws, opcode, b"".join(parts))
    ws.send_frame(PONG, b"unasked")
    ws.send_slowly(frame(TEXT, b"chopped to bytes") + frame(PING, b"x" * 125))
    eq(sorted([ws.recv_frame()[:2], ws.recv_frame()[:2]]), [(TEXT, b"chopped to bytes"), (PONG, b"x" * 125)])


@row("1.dev.echo_path")
def test_an_echo_is_no_user_but_a_connection_of_the_node():
    with Server(dict(ECHO, max_connections_per_user=1, multi_login="reject")) as s:
        echoes = [echo(s) for _ in range(3)]
        eq((s.online()["total"], s.stats()["online_users"], s.stats()["active_connections"]), (0, 0, 3))
        eq(s.online("?user_id=echo")["users"][0]["status"], "offline")
        failure(s.send("a", "echo", "x"), 404, "user_offline")
        eq(success(s.broadcast("to all"))["delivered_count"], 0)
        for ws in echoes:
            ws.send_text("only mine")
            returns(ws, TEXT, b"only mine")
        eq((s.stats()["messages_received"], s.stats()["messages_sent"]), (0, 0))
        s.ws("echo").quiet()                                   # a user of that name is no echo
    with Server(dict(ECHO, performance={"max_connections_per_node": 2})) as s:
        kept = [echo(s), echo(s)]
        failure(s.get("/wsc/stats"), 503, "overloaded")
        kept[0].close()


@lib.not_chopped
@row("1.dev.echo_path", "7.1000")
def test_echoes_before_a_close_all_come_and_then_the_server_closes_tcp_by_itself():
    s = shared(**ECHO)
    for code in (1000, 1001, 1007, 1011, 3000, 4999, None):
        ws = echo(s)
        data = b"".join(quick(TEXT, b"%d" % i) for i in range(100))
        ws.send_raw(data + frame(CLOSE, close_payload(code, "bye") if code else b"") + frame(PING, b"late")
                    + frame(TEXT, b"late"))
        for i in range(100):
            returns(ws, TEXT, b"%d" % i)
        eq(ws.recv_frame()[0], CLOSE)
        eq((ws.closed.code, ws.closed.reason), (code or 1005, ""))
        ws.expect_end()


@row("1.dev.echo_path", "7.1002", "7.1007", "7.1009")
def test_an_echo_is_as_strict_as_any_connection_and_echoes_messages_before_the_fault():
    s = shared(**ECHO)
    for code, fault in ((1002, frame(TEXT, b"x", rsv=4)), (1002, frame(TEXT, b"x", rsv=2)), (1002, frame(PING, b"", rsv=1)),
                        (1002, frame(3)), (1002, frame(11)), (1002, frame(CONT, b"x")), (1002, frame(PING, b"", fin=False)),
                        (1002, frame(TEXT, b"a", fin=False) + frame(BINARY, b"b")), (1002, frame(CLOSE, b"x")),
                        (1002, frame(CLOSE, struct.pack("!H", 1005))), (1002, frame(TEXT, b"x", mask=None)),
                        (1007, frame(TEXT, b"\xce\xba\xed\xa0\x80")), (1007, frame(CLOSE, b"\x03\xe8\xff")),
                        (1007, frame(TEXT, b"ok", fin=False) + frame(CONT, b"\xf4\x90", fin=False)),  # no final frame comes
                        (1009, struct.pack("!BBQ", 0x81, 0xff, (1 << 20) + 1))):
        ws = echo(s)
        ws.send_raw(frame(TEXT, b"before") + fault)
        returns(ws, TEXT, b"before")
        ws.expect_close(code)


@lib.below_tls
@row("1.dev.echo_path")
def test_a_client_that_sends_much_before_it_reads_loses_nothing():
    config = dict(ECHO, message_buffer_size=3, performance={"max_queue_bytes": "1100KiB"})
    with Server(config) as s:
        ws = echo(s, rcvbuf=1 << 16)
        data = [os.urandom(i % 7) if i % 1000 else os.urandom(900000) for i in range(10000)]
        exchange(ws, b"".join(quick(BINARY, d) for d in data), b"".join(served(BINARY, d) for d in data), True)
        eq(ws.close(1000), 1000)


def never_read(server):
    """Sends to the echo of @server and reads nothing, until the server has ended the connection."""
    ws = echo(server, rcvbuf=4096)
    ws.sock.setblocking(False)
    block = quick(BINARY, b"z" * 60000)

    def ended():
        try:
            ws.sock.send(block)
        except BlockingIOError:
            pass
        except OSError:
            return True
        return server.stats()["active_connections"] == 0
    eventually(ended, "the end of the client that does not read", lib.LIMIT * 3)


@row("1.dev.echo_path")
@lib.not_chopped
def test_an_echo_whose_client_never_reads_is_ended_after_client_timeout():
    with Server(dict(ECHO, heartbeat_interval="200ms", client_timeout="600ms")) as s:
        never_read(s)
        eq(eventually(lambda: s.log("session closed"), "the log says so")[0]["code"], 4408)


@row("1.dev.echo_path", "1.limits.write_timeout")
@lib.not_chopped
def test_an_echo_whose_client_never_reads_is_ended_after_write_timeout_if_that_is_shorter():
    with Server(dict(ECHO, limits={"write_timeout": "500ms"})) as s:
        never_read(s)
        entry = eventually(lambda: s.log("session closed"), "the log says so")[0]
        eq((entry["code"], entry["why"]), (1013, "slow reader"))


@row("1.dev.echo_path")
def test_a_quiet_echo_is_pinged_and_then_ended_like_any_connection():
    with Server(dict(ECHO, heartbeat_interval="100ms", client_timeout="500ms")) as s:
        ws = echo(s, pong=False)
        eq(ws.recv_frame()[0], PING)
        ws.pong = False
        while not ws.closed:
            ws.recv_frame()
        eq(ws.closed.code, 4408)


@row("1.dev.echo_path")
def test_an_echo_has_the_rates_of_any_connection():
    with Server({"dev": {"echo_path": "/echo"}, "security": {"message_rate": 1, "message_burst": 2}}) as s:
        ws = echo(s)
        for i in range(3):
            ws.send_text(f"m{i}")
        returns(ws, TEXT, b"m0")
        returns(ws, TEXT, b"m1")
        eq(ws.recv("error")["data"]["code"], "rate_limited")
    with Server({"dev": {"echo_path": "/echo"}, "limits": {"control_burst": 2, "control_rate": 1}}) as s:
        ws = echo(s)
        for _ in range(5):
            ws.send_frame(PONG, b"")
        ws.expect_close(1008, "control")


@lib.below_tls
@row("1.dev.echo_path", "1.limits")
def test_messages_of_sixteen_megabytes_and_of_65537_fragments_come_back():
    s = shared(**LARGE)
    ws = echo(s)
    for opcode in (TEXT, BINARY):
        payload = b"*" * (16 << 20)
        exchange(ws, quick(opcode, payload), served(opcode, payload))
    parts = [b"%064d" % i for i in range(65536)] + [b""]
    exchange(ws, b"".join(quick(TEXT if i == 0 else CONT, p, fin=i == 65536) for i, p in enumerate(parts)),
             served(TEXT, b"".join(parts)))
    eq(ws.close(1000), 1000)


@row("1.dev.echo_path")
def test_an_echo_takes_no_thing_from_the_query_and_obeys_origins():
    with Server(dict(ECHO, websocket_origins=["https://app.example.com"])) as s:
        ws = echo(s, query={"user_id": "system", "ticket_id": "t"}, headers=[("Origin", "https://app.example.com")])
        ws.send_text("here")
        returns(ws, TEXT, b"here")
        ws = echo(s, headers=[("Origin", "https://evil.example")], check=False)
        failure(ws.answer, 403, "forbidden_origin")
        s.ws(name("alice"), headers=[("Origin", "https://app.example.com")]).quiet()


@row("1.dev.echo_path")
def test_a_drain_closes_echoes_with_1001():
    with Server(ECHO) as s:
        ws = echo(s)
        ws.send_text("x")
        returns(ws, TEXT, b"x")
        s.signal(15)
        ws.expect_close(1001)
        eq(s.wait(), 0)
