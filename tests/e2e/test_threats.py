# SPDX-License-Identifier: Apache-2.0
"""Entries of docs/threats.md that no other file shows: the process seen from outside, half-closed connections in every
state, a machine that stands still, and headers with forged claims."""
import json
import os
import re
import signal
import subprocess
import time

import lib
from lib import API, CLOSE, PING, TEXT, Http, Scratch, Server, eq, eventually, failure, frame, ok, row, success
from test_pressure import cpu_seconds, held

WITHOUT_PTRACE = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


# ---- the process -----------------------------------------------------------------------------------------------------


def status_of(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def signals(text):
    """The numbers in a mask of /proc/PID/status."""
    return {n for n in range(1, 65) if int(text, 16) >> (n - 1) & 1}


@row("server.signals", "threat 131", "threat 132")
def test_a_running_server_ignores_sigpipe_and_has_no_signal_handler_of_its_own():
    with Server() as s:
        s.ws("a").quiet()
        status = status_of(s)
        ok(signal.SIGPIPE in signals(status["SigIgn"]), status["SigIgn"])
        # glibc's own two (32, 33) and a sanitizer's signals are not ours.
        caught = signals(status["SigCgt"]) & {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD,
                                              signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2}
        eq(caught, set())
        # SIGTERM, SIGINT and SIGHUP wait for sigwait(), which shows as blocked only between two calls.
        eq(signals(status["SigIgn"]) & {signal.SIGTERM, signal.SIGINT}, set())


@row("server.descriptors", "threat 144")
def test_no_descriptor_would_survive_an_exec():
    with Scratch() as d:
        with Server({"node_ip": ["127.0.0.1", "unix:" + d / "s"], "workers": 2}) as s:
            clients = [s.ws("a"), s.sse("b"), s.keep(lib.Ws(d / "s", "c")), s.http()]
            clients[3].send_raw(b"GET / HTTP/1.1\r\n")
            eventually(lambda: s.stats()["active_connections"] == 3)
            table, checked = f"/proc/{s.process.pid}/fd", 0
            for fd in os.listdir(table):
                try:
                    with open(f"/proc/{s.process.pid}/fdinfo/{fd}", encoding="ascii") as f:
                        flags = int(re.search(r"flags:\s+(\d+)", f.read())[1], 8)
                    name = os.readlink(f"{table}/{fd}")
                except FileNotFoundError:
                    continue  # the connection of the last request has ended meanwhile
                if int(fd) > 2 and "wsc-e2e" not in name:
                    ok(flags & os.O_CLOEXEC, fd, name, "is inherited by a child")
                    checked += 1
            ok(checked >= 2 + 4 + 2, checked, "descriptors")


def readable_by_a_debugger(server):
    """Is a process of the same user, without any capability, let into the server's memory map?"""
    own = WITHOUT_PTRACE if os.geteuid() == 0 else []
    return subprocess.run([*own, "cat", f"/proc/{server.process.pid}/environ"], capture_output=True).returncode == 0


@row("server.signals", "1.tls.files", "threat 144", "hardening.core-files", "hardening.wiped")
def test_a_server_that_holds_a_private_key_lets_no_process_look_into_its_memory():
    wrapper = WITHOUT_PTRACE if os.geteuid() == 0 else ()
    with Server(wrapper=wrapper) as s:
        ok(readable_by_a_debugger(s), "without a key it can be debugged")
    with Server({"tls": lib.Certificate().config()}, wrapper=wrapper) as s:
        ok(not readable_by_a_debugger(s), "with a key it cannot")


def listening(server):
    """The sockets on which the server listens, as the kernel lists them: ["127.0.0.1", "[::1]", "unix"]."""
    table = f"/proc/{server.process.pid}/fd"
    sockets = {m[1] for m in (re.match(r"socket:\[(\d+)\]", os.readlink(f"{table}/{fd}")) for fd in os.listdir(table)) if m}
    out = []
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        with open(f"/proc/{server.process.pid}/net/{kind}", encoding="ascii") as f:
            for line in f.readlines()[1:]:
                part = line.split()
                if part[9] in sockets and (kind[:3] != "tcp" or part[3] == "0A"):
                    address, port = part[1].split(":")
                    raw = b"".join(bytes.fromhex(address[i:i + 8])[::-1] for i in range(0, len(address), 8))
                    text = ".".join(map(str, raw)) if len(raw) == 4 else \
                        "[" + {bytes(16): "::", bytes(15) + b"\1": "::1"}.get(raw, raw.hex()) + "]"
                    ok(kind[:3] == "tcp", "not TCP:", line)
                    eq(int(port, 16), server.port, "port of", text)
                    out.append(text)
    with open(f"/proc/{server.process.pid}/net/unix", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            part = line.split()
            if part[6] in sockets and int(part[3], 16) & 0x10000:
                out.append("unix")
    return sorted(out)


@row("1.node_ip", "1.auth-warning", "threat 98")
def test_each_configuration_listens_where_it_says_and_nowhere_else():
    with Scratch() as d:
        for config, want in (({}, ["127.0.0.1"]), ({"node_ip": "0.0.0.0"}, ["0.0.0.0"]),
                             ({"node_ip": ["127.0.0.1", "127.0.0.2"]}, ["127.0.0.1", "127.0.0.2"]),
                             ({"node_ip": "unix:" + d / "a"}, ["unix"]),
                             ({"node_ip": ["127.0.0.1", "unix:" + d / "b"]}, ["127.0.0.1", "unix"]),
                             ({"workers": 4, "performance": {"enable_compression": True}}, ["127.0.0.1"]),
                             ({"websocket_origins": [], "require_origin": True, "log": {"level": "debug"}}, ["127.0.0.1"])):
            with Server(config) as s:
                s_address = s.address
                eq(listening(s), want, config)
                ok(s_address)
        with Server(args=["serve"], cwd=d.path, settings=["node_port=0"]) as s:
            eq(listening(s), ["127.0.0.1"], "no file at all")


# ---- the log ---------------------------------------------------------------------------------------------------------

# Allowed user ids that a log must not show as anything else; control characters are no ids (2.ids).
ODD = ['"', "\\", '","level":"error","msg":"forged', "\u2028", "\u2029", "\u202e", "\ufeff", "\u200b", "\U0001f600", "=", "a b",
       'why="forged" code=1', "%n%s%x", "'", "<script>", "${HOME}", "é"]


def log_lines_are_whole(server, json_lines):
    text = server.text()
    ok("\ufffd" not in text, "not UTF-8 in the log")
    for line in text.split("\n")[:-1]:
        ok(not [c for c in line if ord(c) < 32 or ord(c) == 127], "a control byte in", repr(line))
        if json_lines:
            ok(isinstance(json.loads(line), dict), line)
    return [line for line in text.split("\n") if "forged" in line]


@row("server.log", "threat 78", "threat 101", "owasp.14")
def test_nothing_that_a_client_says_can_forge_a_line_of_the_log():
    for form in ("json", "text"):
        sets = ["log.level=debug"] + ([] if form == "json" else ["log.format=text"])
        with Server(settings=sets, ready=form == "json") as s:
            if form == "text":
                eventually(lambda: "limits" in s.text(), "the start lines")
                s.port = int(re.search(r"port=(\d+)", s.text())[1])
                s.address = ("127.0.0.1", s.port)
                s.own_descriptors = s.descriptors()
            for user in ODD:
                s.ws(user).reset()
                s.ws(user).close(4999, user[:100])
            for byte in range(256):
                escaped = b"%%%02x" % byte
                with Http(s.address) as h:
                    h.send_raw(b"GET /ws?user_id=a" + escaped + b" HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n")
                    h.answer()
                with Http(s.address) as h:
                    h.send_raw(b"GET /nowhere" + bytes([byte]) + b" HTTP/1.1\r\nHost: h" + bytes([byte]) + b"\r\n\r\n")
                    h.shut()
                    while h.fill():
                        pass
                with Http(s.address) as h:
                    body = b'{"to":"b","from":"x' + bytes([byte]) + b'","content":"y"}'
                    h.send_raw(b"POST " + API.encode() + b"/send HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\nOrigin: x" + bytes([byte])
                               + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    h.shut()
                    while h.fill():
                        pass
            eventually(lambda: s.stats()["active_connections"] == 0)
            lines = log_lines_are_whole(s, form == "json")
            for line in lines:
                ok("session closed" in line, "a line of the client's own:", line)
                ok(form == "json" or re.match(r"\S+ +(debug|info) ", line, re.I), line)


# ---- connections -----------------------------------------------------------------------------------------------------


def states(s):
    """A connection in every state that a client can bring it to: (name, client)."""
    def raw(data):
        c = s.http()
        c.send_raw(data)
        return c

    def kept():
        c = s.http()
        success(c.ask("GET", "/wsc/stats"))
        return c

    def closing():
        c = s.ws("closing")
        c.send_raw(frame(CLOSE, b"\x03\xe8"))
        return c

    post = b"POST " + API.encode() + b"/broadcast HTTP/1.1\r\nHost: h\r\n"
    return [
        ("silent", lambda: raw(b"")),
        ("in the request line", lambda: raw(b"GET /ws")),
        ("in the head", lambda: raw(b"GET /ws?user_id=a HTTP/1.1\r\nHost: h\r\nUpgra")),
        ("in a body with a length", lambda: raw(post + b"Content-Length: 100\r\n\r\n{")),
        ("in a chunk", lambda: raw(post + b"Transfer-Encoding: chunked\r\n\r\n10\r\n{")),
        ("between chunks", lambda: raw(post + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")),
        ("in the trailer", lambda: raw(post + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX")),
        ("waiting for 100", lambda: raw(post + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")),
        ("kept alive", kept),
        ("refused", lambda: raw(b"BAD\r\n\r\n")),
        ("websocket", lambda: s.ws("open")),
        ("websocket, in a frame's header", lambda: s.ws("h").send_raw(b"\x81") or s.clients[-1]),
        ("websocket, in a frame", lambda: s.ws("f").send_raw(frame(TEXT, b"x" * 900)[:300]) or s.clients[-1]),
        ("websocket, between fragments", lambda: s.ws("g").send_raw(frame(TEXT, b"x", fin=False)) or s.clients[-1]),
        ("websocket, closed by a fault", lambda: s.ws("e").send_raw(b"\xf1\x80\0\0\0\0") or s.clients[-1]),
        ("websocket, closing", closing),
        ("stream", lambda: s.sse("stream")),
    ]


def end_in_every_state(how):
    config = {"heartbeat_interval": "200ms", "client_timeout": "1s", "limits": {"header_timeout": "500ms"}, "workers": 2}
    with Server(config) as s:
        s.ws("warm").close()
        for what, make in states(s):
            for _ in range(3):
                try:
                    how(make())
                except (BrokenPipeError, ConnectionResetError, OSError):
                    pass  # the server was quicker
        eventually(lambda: s.stats()["active_connections"] == 0, "no slot is kept")
        eventually(lambda: s.descriptors() <= s.own_descriptors + 1, "no descriptor is kept")
        before = cpu_seconds(s)
        time.sleep(1)
        busy = cpu_seconds(s) - before
        ok(busy < 0.3, "seconds of CPU in one in which nothing happens:", busy)
        a, b = s.ws("a"), s.ws("b")
        a.send(to="b", content="x")
        b.recv(content="x")


@row("server.descriptors", "7.close-first", "threat 129")
def test_a_peer_that_shuts_its_side_in_any_state_keeps_no_slot_and_makes_no_worker_spin():
    end_in_every_state(lambda c: c.shut())


@row("server.descriptors", "threat 117", "threat 130")
def test_a_peer_that_resets_in_any_state_keeps_no_slot_and_makes_no_worker_spin():
    end_in_every_state(lambda c: c.reset())


@row("1.client_timeout", "1.heartbeat_interval", "threat 135")
@lib.below_tls
def test_a_server_that_stood_still_for_longer_than_client_timeout_closes_no_client_for_it():
    n = 300 if lib.SLOW else 2500  # more than one poll of the kernel tells of
    config = {"heartbeat_interval": "1s", "client_timeout": "6s", "sse_heartbeat": "300ms", "workers": 1}
    with Server(config) as s:  # the timeout is longer than it takes until the last client is connected
        sockets, streams = [s.ws(f"u{i}") for i in range(n)], [s.sse(f"e{i}") for i in range(10)]
        with held(s):
            time.sleep(8)  # no deadline: the time that the machine is asleep
            for c in sockets:
                c.send_raw(frame(PING, b"awake"))
        # Not all: on a busy machine the last would have been silent for longer than client_timeout by then.
        for c in sockets[::25]:
            c.send_raw(frame(TEXT, b"ping"))
            eq(c.recv_text(), "pong")
        eq(s.stats()["active_connections"], n + 10)
        success(s.broadcast("good morning"))
        for c in streams:
            c.recv("notice")


# ---- heads -----------------------------------------------------------------------------------------------------------


@row("1.limits", "4.431", "threat 18")
def test_any_number_of_header_fields_beside_an_upgrade_is_served_or_431():
    s = lib.shared()
    own = 5  # Host and the four of the handshake
    for n, good in ((0, True), (64 - own, True), (64 - own + 1, False), (640, False)):
        ws = s.ws("many", headers=[(f"X-{i}", "v") for i in range(n)], check=False)
        eq(ws.answer.status, 101 if good else 431, n)
    s.ws("next").quiet()


@row("1.security.trusted_proxies", "threat 108")
def test_no_header_but_x_forwarded_for_of_a_trusted_proxy_moves_the_address():
    claims = [("Forwarded", "for=203.0.113.5"), ("X-Real-IP", "203.0.113.5"), ("X-Client-IP", "203.0.113.5"),
              ("CF-Connecting-IP", "203.0.113.5"), ("True-Client-IP", "203.0.113.5"), ("X-Forwarded", "203.0.113.5"),
              ("X-Forwarded-Host", "203.0.113.5"), ("X_Forwarded_For", "203.0.113.5"), ("Client-IP", "203.0.113.5")]
    refused = {"blocked_ips": ["203.0.113.0/24"]}
    for trusted in ([], ["127.0.0.1"]):
        with Server({"security": dict(refused, trusted_proxies=trusted)}) as s:
            for header in claims:
                success(s.ask("GET", "/wsc/stats", headers=[header]))
    with Server({"security": {"blocked_ips": ["127.0.0.1"], "trusted_proxies": ["10.0.0.0/8"]}}) as s:
        for header in claims + [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "10.0.0.1")]:
            failure(s.ask("GET", "/wsc/stats", headers=[header]), 403, "forbidden_ip")
    # A hop-by-hop trick cannot remove the proxy's header, and an odd spelling of an address does not pass as another.
    with Server({"security": dict(refused, trusted_proxies=["127.0.0.1"])}) as s:
        for more in ([("Connection", "close, X-Forwarded-For")], [("Connection", "x-forwarded-for")], []):
            failure(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", "203.0.113.5")] + more), 403, "forbidden_ip")
        for spelling in ("::ffff:203.0.113.5", " 203.0.113.5 ", "192.0.2.1,203.0.113.5", "192.0.2.1 ,\t203.0.113.5"):
            failure(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", spelling)]), 403, "forbidden_ip")
        for spelling in ("0313.0.0113.5", "3405803781", "203.0.113.5.", "203.0.113.5, ", "", "unknown", "_hidden", "\"203.0.113.5\""):
            a = s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", spelling)])
            ok(a.status in (200, 403), spelling, a.status)
            if a.status == 403:
                eq(spelling, "203.0.113.5, ")


@row("server.playground", "1.admin.token", "threat 106")
def test_the_first_page_is_for_no_host_that_only_looks_like_loopback():
    s = lib.shared()
    for host in ("127.0.0.1.example.com", "127.1", "0x7f.0.0.1", "2130706433", "127.0.0.01", "localhost.", "localhost.localdomain",
                 "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:2]", "127.0.0.2", "xn--localhost", "10.0.0.1",
                 "localhost.evil.example", "evil.example:8080", "127.0.0.1@evil.example", "a" * 254 + ".example"):
        a = s.ask("GET", "/", headers=[("Host", host)])
        ok(a.status in (400, 403), host, a.status)
    eq(s.ask("GET", "/", headers=[("Host", "localhost")]).status, 200)


@row("4.chunked", "2.header", "threat 52")
def test_a_trailer_field_sets_no_identity_and_no_address():
    body = b'{"to":"b","content":"x"}'
    trailer = b"X-User-ID: a\r\nX-Forwarded-For: 203.0.113.5\r\nAuthorization: Bearer x\r\nContent-Length: 5\r\n"
    with Server({"security": {"trusted_proxies": ["127.0.0.1"], "blocked_ips": ["203.0.113.5"]}}) as s:
        s.ws("b").quiet()
        for head, status in ((b"", 401), (b"X-User-ID: c\r\n", 200)):
            with Http(s.address) as h:
                h.send_raw(b"POST " + API.encode() + b"/send HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                           b"Trailer: X-User-ID\r\n" + head + b"\r\n%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer))
                eq(h.answer().status, status)
        eq(s.clients[0].recv("text")["from"], "c")


@row("1.websocket_origins", "4.options", "threat 104")
def test_no_answer_lets_pages_send_credentials():
    origin = ("Origin", "https://app.example.com")
    for rules in (["*"], ["https://app.example.com"]):
        with Server({"websocket_origins": rules}) as s:
            answers = [s.ask(method, path, headers=[origin, ("Access-Control-Request-Method", "POST")])
                       for method, path in (("GET", "/wsc/stats"), ("GET", API + "/online"), ("OPTIONS", API + "/send"),
                                            ("GET", "/nowhere"), ("POST", "/wsc/stats"))]
            answers += [s.sse("a", headers=[origin]).answer, s.ws("a", headers=[origin]).answer]
            for a in answers:
                eq(a.header("Access-Control-Allow-Credentials"), None)
                ok(a.header("Access-Control-Allow-Origin") in (None, origin[1]), a.header("Access-Control-Allow-Origin"))
