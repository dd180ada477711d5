# SPDX-License-Identifier: Apache-2.0
"""Pressure: bursts in one turn, broadcasts to thousands beside a conversation, control frames, no descriptors left.

Latencies are printed, never judged. Tests judge only the order of events, by the kernel's own time stamps.
"""
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import lib
from lib import API, PING, PONG, TEXT, Http, Server, eq, eventually, failure, frame, ok, row, success

SO_TIMESTAMPNS = 35


def held(server):
    """For a with block: the server is stopped, so that all bytes written meanwhile arrive in one turn."""
    class Held:
        def __enter__(self):
            server.signal(signal.SIGSTOP)
            eventually(self.stopped, "the server stands still")

        def stopped(self):
            with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "T"

        def __exit__(self, *_):
            server.signal(signal.SIGCONT)
    return Held()


def messages(to, contents, **more):
    """The bytes of one frame per content, one behind the other."""
    return b"".join(frame(TEXT, json.dumps(dict(more, to=to, content=c)).encode()) for c in contents)


# ---- bursts ----------------------------------------------------------------------------------------------------------


@row("1.message_buffer_size", "3.order")
@lib.not_chopped
def test_a_thousand_messages_of_fifty_senders_in_one_turn_close_no_reader():
    for workers in (1, 3):
        with Server({"workers": workers, "security": {"enable_rate_limit": False}}) as s:
            bob, stream = s.ws("bob"), s.sse("bob")
            senders = [s.ws(f"s{i}") for i in range(50)]
            with held(s):
                for c in senders:
                    c.send_raw(messages("bob", map(str, range(20))))
            for reader in (bob, stream):
                seen = {}
                for _ in range(1000):
                    m = reader.recv()
                    eq(int(m["content"]), seen.get(m["from"], 0), m)
                    seen[m["from"]] = int(m["content"]) + 1
                eq(seen, {c.user: 20 for c in senders})
            bob.quiet()
            for c in senders:
                c.quiet()


@row("1.message_buffer_size", "3.order")
def test_a_burst_from_every_user_to_every_user_in_one_turn_closes_no_reader():
    n = 60
    with Server({"workers": 3, "security": {"enable_rate_limit": False}}) as s:
        everybody = [s.ws(f"u{i}") for i in range(n)]
        with held(s):
            for c in everybody:
                c.send_raw(b"".join(messages(f"u{i}", ("1", "2", "3", "4", "5")) for i in range(n)))
        for c in everybody:
            seen = {}
            for _ in range(5 * n):
                m = c.recv()
                eq(int(m["content"]), seen.get(m["from"], 0) + 1, m)
                seen[m["from"]] = int(m["content"])
            eq(len(seen), n)
            c.quiet()


@lib.not_chopped
@row("1.message_buffer_size", "1.slow_consumer", "7.1013")
def test_in_one_turn_the_slow_reader_is_closed_and_the_quick_one_beside_it_gets_everything():
    with Server({"message_buffer_size": 100, "performance": {"kernel_queue": "4KiB"},
                 "security": {"enable_rate_limit": False}}) as s:
        slow, quick, alice = s.ws("bob", rcvbuf=4096), s.ws("bob"), s.ws("alice")
        got = []

        def read():
            for _ in range(1000):
                got.append(quick.recv()["content"])
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for i in range(0, 1000, 50):  # fifty at a time, so that no reader is closed as slow for want of a core
            alice.send_raw(messages("bob", map(str, range(i, i + 50)), filler="x" * 1000))
            eventually(lambda: len(got) >= i + 50 or not reader.is_alive(), "the quick one reads")
        reader.join(lib.LIMIT)
        eq(got, [str(i) for i in range(1000)])
        slow.expect_close(1013)
        alice.quiet()


# ---- a broadcast beside a conversation -------------------------------------------------------------------------------


def stamped(ws):
    """Lets the kernel stamp the input of @ws."""
    ws.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return ws


def read_stamped(ws, size):
    """Reads @size bytes; returns the stamps of the first and the last, in ns since the epoch."""
    stamps = []
    while size:
        data, extra, _, _ = ws.sock.recvmsg(min(size, 1 << 16), 64)
        ok(data, "the connection ended")
        size -= len(data)
        for level, kind, value in extra:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, ns = struct.unpack("@qq", value)
                stamps.append(seconds * 10**9 + ns)
    ok(stamps, "the kernel gives no time stamps")
    return stamps[0], stamps[-1]


class Talk:
    """Two users that answer each other as fast as they can, until the block ends; rounds: (began, ended) in ns."""

    def __init__(self, server):
        self.alice, self.bob = server.ws("alice"), server.ws("bob")
        self.rounds, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        i = 0
        while not self.over.is_set():
            began = time.time_ns()
            self.alice.send(to="bob", content=f"there {i}")
            self.bob.recv_until(f"there {i}")
            self.bob.send(to="alice", content=f"back {i}")
            self.alice.recv_until(f"back {i}")
            self.rounds.append((began, time.time_ns()))
            i += 1

    def until(self, look):
        eventually(lambda: look() or not self.thread.is_alive(), "the pair talks")
        ok(self.thread.is_alive(), "the pair has stopped talking")

    def __enter__(self):
        self.thread.start()
        self.until(lambda: len(self.rounds) > 100)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(lib.LIMIT)


def storm(server, crowd, copies):
    """That many broadcasts at once to @crowd and the pair; returns when the first and the last byte of them arrived."""
    h = server.http()
    h.send_raw(h.build("POST", API + "/broadcast", {"content": "storm", "filler": "x" * 7000}) * copies)
    for _ in range(copies):
        eq(success(h.answer())["delivered_count"], len(crowd) + 2)
    size = len(crowd[0].recv_text().encode()) + 4  # a frame of that length has a head of four bytes
    for _ in range(copies - 1):
        crowd[0].recv("notice", content="storm")
    spans = [read_stamped(c, copies * size) for c in crowd[1:]]
    return min(a for a, _ in spans), max(b for _, b in spans)


@lib.not_chopped
@row("1.slow_consumer", "4.broadcast")
@lib.below_tls
def test_a_pair_keeps_talking_while_broadcasts_go_out_to_thousands():
    """A server that wrote a broadcast in one go would let no round trip begin and end between its first and last
    copy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        talk_beside_storms(2000 if hard == resource.RLIM_INFINITY else min(2000, hard // 2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def talk_beside_storms(n):
    with Server({"workers": 1, "security": {"enable_rate_limit": False}}) as s:
        crowd = [stamped(s.ws(f"u{i}")) for i in range(n)]
        with Talk(s) as talk:
            inside, tries = [], 0
            while len(inside) < 3:  # a machine that is busy otherwise may need more than one try
                tries += 1
                ok(tries < 20, "round trips while", tries, "storms went out:", len(inside))
                first, last = storm(s, crowd, 8)
                talk.until(lambda: talk.rounds[-1][0] > last)
                inside += [b - a for a, b in talk.rounds if a > first and b < last]
        print(f"a pair beside 8 broadcasts to {len(crowd)}, {(last - first) / 1e6:.1f} ms long: {len(inside)} round "
              f"trips in {tries} storms, the longest {max(inside) / 1e6:.2f} ms", flush=True)
        for c in crowd[1:]:
            c.quiet()


# ---- control frames --------------------------------------------------------------------------------------------------


@row("3.frame-ping")
def test_every_one_of_a_thousand_pings_gets_its_pong_in_order_between_messages():
    with Server({"security": {"enable_rate_limit": False}}) as s:
        alice = s.ws("alice")
        burst = b"".join(frame(PING, f"p{i}".encode()) + (messages("alice", [str(i)]) if i % 10 == 0 else b"")
                         for i in range(1000))
        alice.send_raw(burst)
        pongs, texts = [], []
        while len(pongs) < 1000 or len(texts) < 100:
            opcode, payload, _ = alice.recv_frame()
            ok(opcode in (PONG, TEXT), opcode)
            (pongs if opcode == PONG else texts).append(payload)
        eq(pongs, [f"p{i}".encode() for i in range(1000)])
        eq([json.loads(t)["content"] for t in texts], [str(i) for i in range(0, 1000, 10)])


@row("1.limits", "7.1008", "threat 27")
def test_a_flood_of_pings_is_closed_with_1008_and_the_next_client_is_served():
    with Server() as s:
        alice, bob = s.ws("alice"), s.ws("bob")
        try:
            for _ in range(40):
                alice.send_raw(frame(PING, b"x") * 500)
        except OSError:
            pass  # it may be closed by now
        while not alice.closed:
            alice.recv_frame()
        eq(alice.closed.code, 1008)
        bob.quiet()
        s.gone("alice")


@row("3.frame-ping")
def test_unasked_pongs_are_passed_over_within_the_rate():
    alice = lib.shared().ws(lib.name("alice"))
    for i in range(5):
        alice.send_frame(PONG, b"unasked")
    alice.quiet()


# ---- no descriptors, no time -----------------------------------------------------------------------------------------


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@row("server.descriptors", "threat 126")
@lib.below_tls
def test_without_a_free_descriptor_new_clients_get_503_and_connected_ones_are_served():
    with Server() as s:
        used = s.descriptors() + 2
        alice, bob = s.ws("alice"), s.ws("bob")
        eventually(lambda: s.descriptors() == used, "both are connected, and no other client")
        was = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (used, was[1]))
        for i in range(30):
            k = lib.Http(s.address)
            if i % 2:
                k.send_raw(k.build("GET", "/livez"))
            failure(a := k.answer(), 503, "overloaded")
            ok(int(a.header("Retry-After")) > 0, a)
            k.expect_end()
            k.cut()
            alice.send(to="bob", content="still here")
            bob.recv(content="still here")
        eq(s.descriptors(), used, "the spare descriptor is open again")
        eq(len([e for e in s.log() if e["level"] in ("warn", "error")]), 1, "one line for all of them")
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, was)
        # The first request may still arrive within the batch of clients that the server is refusing.
        eventually(lambda: s.get("/wsc/stats").status == 200, "there is room again")
        s.ws("carol").quiet()


@row("server.descriptors")
@lib.below_tls
def test_the_table_of_descriptors_need_not_grow_while_clients_come():
    def slots(s):
        with open(f"/proc/{s.process.pid}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("FDSize")).split()[1])

    with Server({"workers": 2}, limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))) as s:
        ok(slots(s) >= 5000, slots(s))


@row("server.descriptors", "threat 126")
@lib.below_tls
def test_without_the_spare_descriptor_new_clients_wait_and_no_worker_spins():
    with Server() as s:
        used = s.descriptors() + 2
        alice, bob = s.ws("alice"), s.ws("bob")
        eventually(lambda: s.descriptors() == used, "both are connected, and no other client")
        was = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (1, was[1]))  # 0 would forbid poll(), too
        knocking = [lib.Stream(s.address) for _ in range(20)]
        for k in knocking:
            k.send_raw(Http.build(k, "GET", "/livez"))
        before = cpu_seconds(s)
        for _ in range(15):
            alice.send(to="bob", content="still here")
            bob.recv(content="still here")
            time.sleep(0.1)
        busy = cpu_seconds(s) - before
        ok(busy < 0.7, "seconds of CPU while nothing could be accepted:", busy)
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, was)
        for k in knocking:
            ok(k.take_until(b"\r\n").startswith(b"HTTP/1.1 200"))
            k.cut()
        eventually(lambda: s.descriptors() == used, "descriptors, the spare one among them")
        ok([e for e in s.log() if e["level"] in ("warn", "error")], "the log says so")


@row("4.408", "server.descriptors", "threat 32", "threat 61", "threat 63", "threat 127")
def test_five_hundred_heads_that_never_end_keep_no_client_out_and_get_their_408():
    with Server({"limits": {"header_timeout": "2s"}}) as s:
        drips = []
        for i in range(500):
            drips.append(s.http())
            drips[-1].send_raw(b"GET /ws?user_id=x HTTP/1.1\r\nHost: x\r\nX-Slow: "[:4 + i % 44])
        a, b = s.ws("a"), s.ws("b")
        a.send(to="b", content="x")
        b.recv(content="x")
        for d in drips:
            eq(d.answer().status, 408)
            d.expect_end()
        eventually(lambda: s.stats()["active_connections"] == 2, "only the two are left")
        b.quiet()


@row("server.descriptors", "threat 117", "threat 142")
def test_connections_that_are_reset_in_any_state_leave_nothing_behind():
    with Server({"workers": 2}) as s:
        before = s.descriptors()
        for i in range(300):
            kind = i % 6
            if kind == 0:
                c = s.ws(f"u{i}")
            elif kind == 1:
                c = s.sse(f"u{i}")
            elif kind == 2:
                c = s.http()
                c.send_raw(c.build("POST", API + "/broadcast", {"content": "x"}))
            elif kind == 3:
                c = s.ws(f"u{i}")
                c.send_raw(frame(TEXT, b"x" * 5000)[:3000])
            elif kind == 4:
                c = s.http()
                c.send_raw(b"GET /ws?user_id=u HTTP/1.1\r\nUpgr")
            else:
                c = s.ws(f"u{i}")
                c.shut()
            c.reset()
            s.clients.remove(c)
        eventually(lambda: s.stats()["active_connections"] == 0, "all are gone")
        eventually(lambda: s.descriptors() <= before + 1, "descriptors", lib.LIMIT)


# ---- crowds ----------------------------------------------------------------------------------------------------------


class Crowd:
    """The load program of `make pressure`, in a small version: clients of one kind."""

    def __init__(self, server, kind, count):
        self.process = subprocess.Popen([os.path.join(os.path.dirname(lib.program()), "tests/pressure/crowd"), kind,
                                         str(server.port), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def figures(self):
        self.process.stdin.write("mark\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "kind" in answer:
                return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def crowd_is_gone(crowd, count):
    eventually(lambda: crowd.figures()["gone"] >= count, "all of them are gone", lib.LIMIT * 4)


@row("server.fair", "7.4429", "7.1008", "7.1013")
@lib.not_chopped
def test_slow_stalled_flooding_and_torn_clients_at_once_are_closed_in_the_end_and_a_pair_talks_on():
    with Server({"limits": {"header_timeout": "2s", "write_timeout": "2s"}, "max_connections_per_user": 1000,
                 "performance": {"kernel_queue": "16KiB"}}) as s:
        alice, bob = s.ws("alice"), s.ws("bob")
        before = s.descriptors()
        with Crowd(s, "stalled", 50) as stalled, Crowd(s, "heads", 300) as heads, Crowd(s, "resets", 20) as resets, \
                Crowd(s, "pings", 10) as pings, Crowd(s, "fragments", 10) as fragments, \
                Crowd(s, "messages", 10) as messages, Crowd(s, "requests", 5), Crowd(s, "deaf", 5) as deaf:
            for i in range(200):
                alice.send(to="bob", content=str(i))
                bob.recv(content=str(i))
                time.sleep(0.01)
            crowd_is_gone(heads, 300)
            crowd_is_gone(pings, 10)
            crowd_is_gone(fragments, 10)
            crowd_is_gone(stalled, 50)
            crowd_is_gone(deaf, 5)
            crowd_is_gone(messages, 10)
            ok(resets.figures()["opened"] > 100, "connections were reset meanwhile")
            alice.send(to="bob", content="still here")
            bob.recv(content="still here")
        ok(s.stats()["closed_slow"] >= 50, s.stats())
        eventually(lambda: s.descriptors() <= before, "descriptors are back")
        eventually(lambda: s.stats()["active_connections"] == 2, "only the pair is left")


@row("server.descriptors")
def test_hundreds_of_clients_that_send_nothing_or_little_are_closed_at_their_deadlines():
    with Server({"limits": {"header_timeout": "1s"}}) as s:
        before = s.descriptors()
        with Crowd(s, "mute", 300) as mute, Crowd(s, "bodies", 300) as bodies:
            crowd_is_gone(mute, 300)
            crowd_is_gone(bodies, 300)
        eventually(lambda: s.descriptors() <= before, "descriptors are back")
        success(s.get("/wsc/stats"))
