# SPDX-License-Identifier: Apache-2.0
"""GET /metrics: read with Prometheus's own parser, and compared with what the test itself has done."""
import json
import os
import re
import resource
import socket
import subprocess
import time

import lib
from lib import (API, CLOSE, PING, PONG, TEXT, Http, Server, close_payload, eq, eventually, failure, frame, has, ok, row,
                 success)

SCRAPE = [("Host", "localhost")]


def page_rows():
    """{name: (kind, labels, names in the statistics)} of the table in docs/metrics.md."""
    with open(f"{lib.ROOT}/docs/metrics.md", encoding="utf-8") as f:
        table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in f
                 if line.startswith("| `wsc_") and line.count("|") >= 7]
    return {r[0].strip("`"): (r[1], set(re.findall(r"`(\w+)`", r[2])), re.findall(r"`([\w.]+)`", r[4])) for r in table}


@row("server.metrics")
def test_every_metric_of_the_page_is_there_with_its_kind_its_labels_and_a_help():
    with Server() as s:
        a = s.ask("GET", "/metrics", headers=SCRAPE)
        eq(a.status, 200)
        eq(a.header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8")
        eq(a.header("Cache-Control"), "no-store")
        m, rows = lib.Metrics(a.body.decode()), page_rows()
        ok(len(rows) > 20, rows)
        eq({n + "_total" if f.type == "counter" else n for n, f in m.families.items()}, set(rows))
        for name, (kind, labels, _) in rows.items():
            f = m.families[name.removesuffix("_total") if kind == "counter" else name]
            eq(f.type, kind, name)
            ok(f.documentation.endswith("."), name, f.documentation)
            for sample in f.samples:
                eq(set(sample.labels) - {"le"}, labels, sample)
        lines = [line for line in a.body.decode().splitlines() if not line.startswith("#")]
        ok(len(lines) == len(m.samples) <= 400, len(lines))
        eq(len({line.rsplit(" ", 1)[0] for line in lines}), len(lines), "a series is there twice")


@row("server.metrics")
def test_metrics_begin_at_0_and_say_what_runs_and_since_when():
    began = time.time()
    with Server({"node_id": "node-7", "workers": 3, "limits": {"memory": "256MiB"},
                 "performance": {"max_connections_per_node": 77}}) as s:
        m = s.metrics()
        for sample in m.samples:
            if sample.name.endswith(("_total", "_bucket", "_count")) and "turn" not in sample.name \
                    and "bytes" not in sample.name and "handshakes" not in sample.name:
                eq(sample.value, 0, sample)
        eq(m.by("wsc_build_info", "version"), {lib.wsc("version").out.split()[1]: 1})
        eq(m.by("wsc_node_info", "node_id"), {"node-7": 1})
        eq((m("wsc_workers"), m("wsc_sockets_limit"), m("wsc_memory_limit_bytes")), (3, 77, 256 << 20))
        ok(began - 5 < m("wsc_start_time_seconds") < time.time() + 5, m("wsc_start_time_seconds"), began)
        eq((m("wsc_sockets"), m("wsc_memory_step"), m("wsc_queue_bytes")), (1, 0, 0))
        eventually(lambda: s.metrics()("wsc_memory_used_bytes") > 1 << 20, "somebody has looked at the memory")


@row("server.metrics")
def test_connections_are_counted_as_they_open_and_end():
    with Server({"max_connections_per_user": 1, "security": {"max_message_size": 1}}) as s:
        alice, bob, dave, erin = (s.ws(user) for user in ("alice", "bob", "dave", "erin"))
        stream = s.sse("carol")
        m = s.metrics()
        eq(m.by("wsc_connections", "transport"), {"websocket": 4, "sse": 1})
        eq((m("wsc_online_users"), m("wsc_connections_opened_total"), m("wsc_sockets")), (5, 5, 6))
        eq(m("wsc_connections_closed_total"), 0)
        alice.close(1000)
        bob.close(0)
        second = s.ws("dave")
        dave.expect_close(4409)
        erin.send_raw(frame(TEXT, b"x" * 2000))
        erin.expect_close(1009)
        second.send_raw(frame(TEXT, b"x", rsv=4))
        second.expect_close(1002)
        stream.cut()
        want = {"1000": 1, "1005": 1, "4409": 1, "1009": 1, "1002": 1, "1006": 1}
        m = eventually(lambda: (m := s.metrics()).by("wsc_connections_closed_total", "code") == want and m, "all ends")
        eq((m("wsc_connections"), m("wsc_online_users"), m("wsc_connections_opened_total")), (0, 0, 6))
        odd = s.ws("alice")
        odd.send_raw(frame(CLOSE, close_payload(3777)))
        odd.expect_close(3777)
        eq(s.metrics()("wsc_connections_closed_total", code="other"), 1)


@row("server.metrics")
def test_refused_clients_are_counted_by_the_code_they_were_told():
    with Server({"websocket_origins": ["https://app.example.com"], "multi_login": "reject", "max_connections_per_user": 1,
                 "security": {"allowed_user_types": ["customer"]}}) as s:
        s.ws("alice")
        elsewhere = [("Origin", "https://evil.example.com")]
        refusals = (("user_id_required", {}), ("forbidden_user_id", {"user": "system"}),
                    ("forbidden_user_type", {"user": "bob", "query": {"user_type": "vip"}}),
                    ("too_many_connections", {"user": "alice"}), ("bad_request", {"user": "a\x01b"}),
                    ("forbidden_origin", {"user": "bob", "headers": elsewhere}))
        for _, how in refusals:
            with lib.Ws(s.address, check=False, **how) as ws:
                ok(ws.answer.status >= 400, how, ws.answer)
            with lib.Sse(s.address, check=False, **how) as stream:
                ok(stream.answer.status >= 400, how, stream.answer)
            with lib.Ws(s.address, protocols=["wsc.v1"], **how) as ws:  # told by close code
                ws.recv_frame()
                ok(ws.closed.code >= 1008, how, ws.closed)
        failure(s.get("/ws?user_id=bob"), 426, "upgrade_required")
        success(s.get("/livez"))
        failure(s.ask("GET", "/livez", headers=elsewhere), 403, "forbidden_origin")  # no connection was asked for
        m = s.metrics()
        eq(m.by("wsc_connections_refused_total", "reason"),
           dict({code: 3 for code, _ in refusals}, upgrade_required=1))
        eq((m("wsc_connections_opened_total"), m("wsc_connections_closed_total")), (1, 0))


@row("server.metrics")
def test_clients_over_the_rate_and_beyond_the_room_are_counted_too():
    with Server({"security": {"connect_rate": 1}}) as s:
        told = 0
        while not told:
            with lib.Ws(s.address, "alice", check=False) as ws:
                told = ws.answer.status == 429
        eq(s.metrics().by("wsc_connections_refused_total", "reason"), {"rate_limited": 1})
    with Server({"performance": {"max_connections_per_node": 2}}) as s:
        s.ws("alice"), s.ws("bob")
        with lib.Ws(s.address, "carol", check=False) as ws:
            eq(ws.answer.status, 503)
        failure(s.get(API + "/online"), 503, "overloaded")
        m = s.metrics()  # a full node answers it
        eq(m.by("wsc_connections_refused_total", "reason"), {"overloaded": 1})
        eq((m("wsc_connections"), m("wsc_sockets_limit")), (2, 2))


def buckets(m, name):
    """The cumulative counts of a histogram, checked for form; the last is the count."""
    samples = m.families[name].samples
    bounds = [float(x.labels["le"]) for x in samples if x.name == name + "_bucket"]
    counts = [x.value for x in samples if x.name == name + "_bucket"]
    eq(bounds, sorted(bounds))
    eq(bounds[-1], float("inf"))
    eq(counts, sorted(counts))
    eq(counts[-1], m(name + "_count"))
    ok((m(name + "_sum") > 0) == (counts[-1] > 0), name, m(name + "_sum"))
    return counts


@row("server.metrics", "4.stats")
def test_messages_are_counted_on_their_way_and_each_delivery_is_timed():
    with Server({"workers": 2}) as s:
        alice, bob, bob2, stream = s.ws("alice"), s.ws("bob"), s.ws("bob"), s.sse("carol")
        for i in range(20):
            alice.send(to="bob", content=f"m{i}" + "x" * 1000)      # 20 received, 40 sent
        alice.send(to="carol", content="last")                      # 21, 41
        success(s.send("dave", "alice", "over HTTP"))               # 22, 42
        success(s.broadcast("all"))                                 # 46
        for reader, n in ((bob, 21), (bob2, 21), (stream, 2), (alice, 2)):
            for _ in range(n):
                reader.recv()
        alice.send(to="nobody", content="x")                        # received, then refused
        alice.expect_error("user_offline")
        alice.send(content="x")
        alice.expect_error("no_recipient")
        for text in ("{", "[]"):
            alice.send_text(text)
            alice.expect_error("bad_message")
        alice.send(to="bob", content="x", from_="other")
        alice.expect_error("sender_mismatch")
        alice.send_text("ping")
        eq(alice.recv_text(), "pong")
        failure(s.send("dave", "nobody", "x"), 404, "user_offline")
        failure(s.send("dave", None, "x"), 400, "missing_field")
        failure(s.send("system", "bob", "x"), 403, "forbidden_user_id")
        failure(s.post(API + "/send", {"to": "bob", "content": "x"}), 401, "user_id_required")
        failure(s.broadcast(), 400, "missing_field")
        m = eventually(lambda: (m := s.metrics())("wsc_delivery_duration_seconds_count") >= 46 and m, "46 deliveries")
        eq(buckets(m, "wsc_delivery_duration_seconds")[-1], 46)
        eq((m("wsc_messages_received_total"), m("wsc_messages_sent_total"), m("wsc_broadcasts_total")), (24, 46, 1))
        eq(m.by("wsc_messages_refused_total", "code"),
           {"user_offline": 2, "no_recipient": 1, "bad_message": 2, "sender_mismatch": 1, "missing_field": 2,
            "forbidden_user_id": 1, "user_id_required": 1})
        eq((m("wsc_messages_dropped_total"), m("wsc_queue_bytes")), (0, 0))
        ok(m("wsc_received_bytes_total") > 20 * 1000, m("wsc_received_bytes_total"))
        ok(m("wsc_sent_bytes_total") > 40 * 1000, m("wsc_sent_bytes_total"))
        ok(m("wsc_delivery_duration_seconds_sum") < 46 * lib.LIMIT)
        ok(buckets(m, "wsc_turn_duration_seconds")[-1] > 20, "turns")
        # The statistics are the same numbers, by the names of the page.
        stats = s.stats()
        for name, (_, _, keys) in page_rows().items():
            for key in keys:
                if key.startswith("memory.") or key == "connections_by_type":
                    continue
                eq(stats[key], s.metrics()(name), name, key)
        eq(stats["messages_received"], 22)


@row("server.metrics", "1.security.message_rate")
def test_messages_over_their_rate_are_counted():
    with Server({"security": {"message_rate": 1, "message_burst": 2}}) as s:
        alice = s.ws("alice")
        for _ in range(5):
            alice.send(to="alice", content="x")
        alice.recv(content="x"), alice.recv(content="x")
        for _ in range(3):
            alice.expect_error("rate_limited")
        eq(s.metrics().by("wsc_messages_refused_total", "code"), {"rate_limited": 3})


@row("server.metrics", "1.slow_consumer")
@lib.not_chopped
def test_dropped_messages_are_counted_by_reason_and_the_others_are_deliveries():
    with Server({"workers": 2, "slow_consumer": "drop_oldest", "message_buffer_size": 20,
                 "performance": {"kernel_queue": "4KiB"}}) as s:
        bob, alice = s.ws("bob", rcvbuf=4096), s.ws("alice")

        def pile_up(reason):
            for _ in range(2000):
                alice.send(to="bob", content="x" * 2000)
                if s.metrics()("wsc_messages_dropped_total", reason=reason) > 10:
                    return
                alice.quiet()
        pile_up("overflow")
        m = s.metrics()
        ok(m("wsc_queue_bytes") > 20 * 2000, m("wsc_queue_bytes"))
        eq(m("wsc_slow_readers_closed_total"), 0)
        bob.reset()
        s.gone("bob")
        m = eventually(lambda: not (m := s.metrics())("wsc_queue_bytes") and m, "the queue is gone")
        ok(20 <= m("wsc_messages_dropped_total", reason="broken") <= 21, m.by("wsc_messages_dropped_total", "reason"))
        eq(m("wsc_messages_dropped_total") + m("wsc_delivery_duration_seconds_count"), m("wsc_messages_sent_total"))
    with Server({"message_buffer_size": 20, "performance": {"kernel_queue": "4KiB"}}) as s:
        bob, alice = s.ws("bob", rcvbuf=4096), s.ws("alice")
        pile_up("closed")
        eventually(lambda: s.metrics()("wsc_slow_readers_closed_total") == 1, "the slow reader is closed")


@row("server.metrics")
def test_http_requests_are_counted_by_route_and_status():
    with Server() as s:
        s.ws("alice"), s.sse("bob")
        with s.http() as h:
            for path in ("/livez", "/readyz", "/wsc/stats", API + "/stats", API + "/online", "/wsc/online"):
                success(h.ask("GET", path))
            eq(h.ask("HEAD", "/livez").status, 200)
            failure(h.ask("GET", API + "/online?limit=x"), 400, "bad_request")
            failure(h.ask("GET", "/nowhere?user_id=secret"), 404, "not_found")
            failure(h.ask("GET", API + "/send"), 405, "method_not_allowed")
            eq(h.ask("OPTIONS", "/livez").status, 204)
            for page in ("/", "/app.js", "/openapi.json"):
                eq(h.ask("GET", page, headers=SCRAPE).status, 200)
            failure(h.ask("GET", "/", headers=[("Host", "x")]), 403, "not_local")
        success(s.send("x", "alice", "hello"))
        failure(s.send("x", "nobody", "hello"), 404, "user_offline")
        failure(s.post(API + "/send", "{}"), 401, "user_id_required")
        failure(s.post(API + "/send", "x" * (2 << 20), X_User_ID="x"), 413, "body_too_large")
        success(s.broadcast("all"))
        failure(s.get("/sse"), 401, "user_id_required")
        with lib.Ws(s.address, protocols=["wsc.v1"]) as ws:
            ws.recv_frame()
        with Http(s.address) as h:
            h.send_raw(b"GET / HTTP/9.9\r\n\r\n")
            h.answer()
        s.metrics()
        eq(s.metrics().by("wsc_http_requests_total", "route", "status"),
           {("websocket", "101"): 2, ("sse", "200"): 1, ("sse", "401"): 1, ("probe", "200"): 3, ("stats", "200"): 2,
            ("online", "200"): 2, ("online", "400"): 1, ("none", "404"): 1, ("none", "4xx"): 1, ("none", "204"): 1,
            ("page", "200"): 3, ("page", "403"): 1, ("send", "200"): 1, ("send", "404"): 1, ("send", "401"): 1,
            ("send", "4xx"): 1, ("broadcast", "200"): 1, ("none", "5xx"): 1, ("metrics", "200"): 1})
        has(s.get("/metrics", Host="localhost").body.decode(), 'status="101"')
        ok("secret" not in s.get("/metrics", Host="localhost").body.decode(), "no path of a client is a label")


@row("server.metrics")
def test_the_round_trip_of_a_ping_is_measured_and_foreign_pongs_are_not():
    with Server({"heartbeat_interval": "100ms", "client_timeout": f"{int(lib.LIMIT)}s"}) as s:
        ws = s.ws("alice", pong=False)
        payload = ws.recv_frame()[1]
        eq(len(payload), 8)
        for wrong in (b"", b"x", bytes(8), b"\xff" * 8, payload[::-1], payload + b"x"):
            ws.send_frame(PONG, wrong)
        ws.send_text("ping")
        while ws.recv_frame()[0] != TEXT:
            pass
        eq(s.metrics()("wsc_ping_round_trip_seconds_count"), 0)
        ws.send_frame(PONG, payload)
        m = eventually(lambda: (m := s.metrics())("wsc_ping_round_trip_seconds_count") == 1 and m, "a round trip")
        eq(buckets(m, "wsc_ping_round_trip_seconds")[-1], 1)
        while (f := ws.recv_frame())[0] != PING:
            pass
        ok(f[1] != payload, "every ping has a time of its own")


@row("server.metrics")
def test_metrics_answer_on_loopback_only_to_get_and_head():
    with Server({"node_ip": "0.0.0.0"}) as s:
        for header in (("Host", "localhost:1"), ("Host", "127.0.0.1"), ("Host", "[::1]:8080")):
            eq(s.ask("GET", "/metrics", headers=[header]).status, 200, header)
        for header in (("Host", "example.com"), ("Host", "127.0.0.1.nip.io"), ("X-Forwarded-For", "127.0.0.1"),
                       ("Forwarded", "for=127.0.0.1"), ("Via", "1.1 proxy")):
            failure(s.ask("GET", "/metrics", headers=[header]), 403, "not_local")
        a = s.ask("HEAD", "/metrics", headers=SCRAPE)
        eq((a.status, a.header("Content-Type")), (200, "text/plain; version=0.0.4; charset=utf-8"))
        a = s.ask("POST", "/metrics", "{}", SCRAPE)
        failure(a, 405, "method_not_allowed")
        eq(a.header("Allow"), "GET, HEAD, OPTIONS")
        from test_http import own_address
        if own_address():
            with Http((own_address(), s.port)) as h:
                failure(h.ask("GET", "/metrics", host="localhost"), 403, "not_local")


@row("server.metrics")
def test_no_node_id_can_break_the_text():
    for bad in ('a"b', "a\\b", "a\nb", "a}b", "a b"):
        with lib.Scratch() as d:
            done = lib.wsc("check", d.write("c.yaml", lib.yaml.safe_dump({"wsc": {"node_id": bad}})))
            eq(done.status, 2, bad, done)


class Crowd:
    """The program `crowd` of tests/pressure: so many clients of one kind, until the block ends."""

    def __init__(self, kind, count, port):
        self.command = [os.path.join(os.path.dirname(lib.program()), "tests/pressure/crowd"), kind, str(port), str(count)]

    def figures(self):
        self.process.stdin.write("mark\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lib._die_with_parent)
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=lib.LIMIT)


class Counted:
    """Requests of which every byte is counted."""

    def __init__(self, address):
        self.address, self.out, self.back = address, 0, 0

    def ask(self, request):
        with socket.create_connection(self.address, lib.LIMIT) as c:
            c.sendall(request)
            answer = b"".join(iter(lambda: c.recv(1 << 16), b""))
        self.out += len(request)
        self.back += len(answer)
        return answer.split(b"\r\n\r\n", 1)[1].decode()

    def metrics(self):
        """A scrape, and the bytes both ways that it must know: its own request, and no byte of its answer."""
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        known = self.out + len(request), self.back
        return lib.Metrics(self.ask(request)), known


@row("server.metrics")
@lib.not_chopped
@lib.below_tls
def test_under_ten_thousand_connections_the_totals_are_the_clients_own_count():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        n = 1000 if lib.SLOW else 10000
        n = n if hard == resource.RLIM_INFINITY else min(n, hard - 1000)
        count_a_crowd(n * 6 // 10, n * 4 // 10, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def count_a_crowd(nws, nsse, casts):
    quiet = {"heartbeat_interval": "1h", "sse_heartbeat": "1h"}
    with Server(dict(quiet, workers=2, security={"enable_rate_limit": False}), strangers=True) as s:
        own = Counted(s.address)
        with Crowd("readers", nws, s.port) as readers, Crowd("listeners", nsse, s.port) as listeners:
            eventually(lambda: readers.figures()["up"] == nws and listeners.figures()["up"] == nsse, "all are there",
                       4 * lib.LIMIT)
            for _ in range(casts):
                body = json.dumps({"content": "to all", "filler": "x" * 500})
                answer = own.ask((f"POST {API}/broadcast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                  f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
                eq(json.loads(answer)["delivered_count"], nws + nsse)

            def all_out():
                m, known = own.metrics()
                figures = [c.figures() for c in (readers, listeners)]
                return m("wsc_delivery_duration_seconds_count") == casts * (nws + nsse) and \
                    m("wsc_sent_bytes_total") == known[1] + sum(f["bytes_in"] for f in figures) and (m, known, figures)
            m, known, figures = eventually(all_out, "every byte has come", 4 * lib.LIMIT)
            eq(m("wsc_received_bytes_total"), known[0] + sum(f["bytes_out"] for f in figures))
            eq([f["gone"] + f["failed"] for f in figures], [0, 0])
            eq(m.by("wsc_connections", "transport"), {"websocket": nws, "sse": nsse})
            eq((m("wsc_connections_opened_total"), m("wsc_online_users"), m("wsc_sockets")),
               (nws + nsse, nws + nsse, nws + nsse + 1))
            eq((m("wsc_messages_sent_total"), m("wsc_broadcasts_total")), (casts * (nws + nsse), casts))
            eq(m("wsc_http_requests_total", route="websocket", status="101"), nws)
            eq(m("wsc_http_requests_total", route="sse", status="200"), nsse)
            eq(m("wsc_http_requests_total", route="broadcast", status="200"), casts)
            eq(m("wsc_messages_dropped_total") + m("wsc_connections_closed_total"), 0)
        eventually(lambda: s.metrics().by("wsc_connections_closed_total", "code") == {"1006": nws + nsse},
                   "all have left", 4 * lib.LIMIT)
        m = s.metrics()
        eq((m("wsc_connections"), m("wsc_online_users"), m("wsc_messages_dropped_total")), (0, 0, 0))
