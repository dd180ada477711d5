# SPDX-License-Identifier: Apache-2.0
"""The costs of many messages, and many hostile clients that must do no harm."""
import collections
import json
import os
import random
import re
import shutil

import lib
from lib import API, CONT, PING, TEXT, Http, Server, eq, eventually, frame, name, ok, row, shared, success


# ---- system calls ----------------------------------------------------------------------------------------------------


class Traced:
    """A server under strace; counts() says how often each system call was made so far."""

    def __init__(self, server, path):
        self.server, self.path = server, path

    def counts(self):
        with open(self.path, encoding="utf-8", errors="replace") as f:
            return collections.Counter(re.findall(r"^\d+ +(\w+)\(", f.read(), re.M))

    def settled(self):
        """Counts that no longer change."""
        last = self.counts()

        def same():
            nonlocal last
            before, last = last, self.counts()
            return before == last
        eventually(same, "strace is through")
        return last


@lib.not_chopped
@row("server.syscalls")
def test_a_message_at_one_outstanding_costs_one_recv_one_send_and_a_poll():
    ok(shutil.which("strace"), "there is no strace (tools/packages.txt)")
    with lib.Scratch() as d:
        path = d / "trace"
        quiet = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}  # it cannot look while traced
        with Server({"workers": 1}, wrapper=["strace", "-D", "-f", "-qq", "-o", path], env=quiet) as s:
            trace = Traced(s, path)
            alice, bob = s.ws("alice"), s.ws("bob")

            def rounds(n):
                for i in range(n):
                    alice.send(to="bob", content=f"there {i}")
                    bob.recv()
                    bob.send(to="alice", content=f"back {i}")
                    alice.recv()
            rounds(20)
            before = trace.settled()
            rounds(100)
            cost = trace.settled()
            cost.subtract(before)
            cost = +cost
            polls = cost.pop("epoll_wait", 0) + cost.pop("epoll_pwait", 0) + cost.pop("epoll_pwait2", 0)
            received = sum(cost.pop(c, 0) for c in ("recvfrom", "read", "recvmsg"))
            sent = sum(cost.pop(c, 0) for c in ("sendto", "write", "sendmsg", "writev"))
            eq((received, sent), (200, 200), "200 messages; the rest:", dict(cost), "polls", polls)
            ok(polls <= 202, polls, "polls for 200 turns")
            if not lib.SLOW:
                looks = cost.pop("pread64", 0)  # at the memory of the process, at most ten times a second
                ok(looks < 50, looks, "looks at the memory for 200 messages")
                eq(dict(cost), {}, "nothing else")


# ---- hostile clients -------------------------------------------------------------------------------------------------


@row("4.ambiguous", "threat 22")
def test_random_bytes_in_any_state_leave_the_server_well():
    s = shared()
    r = random.Random(1)
    starts = [b"", b"GET /", b"GET /ws?user_id=r HTTP/1.1\r\n", Http.build(s.http(), "POST", API + "/send", None,
                                                                           [("X-User-ID", "a"),
                                                                            ("Content-Length", "50")]),
              Http.build(s.http(), "POST", API + "/send", None, [("X-User-ID", "a"), ("Transfer-Encoding", "chunked")])]
    for i in range(300):
        with lib.Stream(s.address) as c:
            try:
                c.send_raw(starts[i % len(starts)] + r.randbytes(r.randrange(1, 300)))
                c.shut()
                while c.fill():
                    pass
            except OSError:
                pass
    success(s.get("/wsc/stats"))


@row("7.1002", "threat 2")
def test_random_frames_leave_the_server_well():
    s = shared()
    r = random.Random(2)
    bob = s.ws(name("bob"))
    for i in range(300):
        ws = s.ws(name("r"))
        try:
            for _ in range(r.randrange(1, 6)):
                kind = r.randrange(4)
                if kind == 0:
                    ws.send_raw(r.randbytes(r.randrange(1, 50)))
                elif kind == 1:
                    ws.send_raw(frame(r.choice([TEXT, CONT, PING, 2, 8, 10]), r.randbytes(r.randrange(0, 200)),
                                      fin=r.random() < 0.7,
                                      rsv=r.choice([0, 0, 0, 1, 4])))
                elif kind == 2:
                    text = json.dumps({"to": bob.user, "content": "x" * r.randrange(50)}).encode()
                    cut = r.randrange(len(text))
                    ws.send_raw(frame(TEXT, text[:cut] + r.randbytes(2) + text[cut:]))
                else:
                    ws.send_raw(frame(TEXT, b'{"to":"nobody","content":"x"}'))
            if r.random() < 0.5:
                ws.shut()
                while ws.fill():
                    pass
        except OSError:
            pass
        ws.reset() if r.random() < 0.3 else ws.cut()
        s.clients.remove(ws)
    success(s.send("a", bob.user, "marker"))
    while bob.recv()["content"] != "marker":
        pass
    eventually(lambda: s.stats()["online_users"] == 1, "only bob is left")


@row("server.descriptors", "threat 178")
def test_a_thousand_connections_come_talk_and_leave():
    with Server({"workers": 4}) as s:
        everybody = [s.ws(f"u{i}") for i in range(1000)]
        d = s.stats()
        eq((d["active_connections"], d["online_users"], d["total_lifetime"]), (1000, 1000, 1000))
        eq(success(s.broadcast("to all"))["delivered_count"], 1000)
        for ws in everybody:
            ws.recv(content="to all")
        for i, ws in enumerate(everybody):
            ws.send(to=f"u{(i + 1) % 1000}", content=str(i))
        for i, ws in enumerate(everybody):
            ws.recv(content=str((i - 1) % 1000))
        for i, ws in enumerate(everybody):
            ws.reset() if i % 2 else ws.cut()
        s.clients.clear()
        eventually(lambda: s.stats()["active_connections"] == 0, "all are gone")


@lib.not_chopped
@row("1.slow_consumer", "3.order", "threat 172")
def test_a_broadcast_storm_reaches_good_readers_in_order_while_bad_ones_are_closed():
    with Server({"workers": 2, "message_buffer_size": 50, "sse_message_buffer": 50,
                 "performance": {"kernel_queue": "8KiB"}}) as s:
        good = [s.ws(f"g{i}") for i in range(5)] + [s.sse(f"h{i}") for i in range(3)]
        bad = [s.ws(f"b{i}", rcvbuf=4096) for i in range(5)]
        h = s.http()
        for i in range(400):
            success(h.ask("POST", API + "/broadcast", {"content": str(i), "filler": "x" * 2000}))
            for g in good:
                g.recv(content=str(i))
        eventually(lambda: not any(s.is_online(b.user) for b in bad), "the bad ones are gone")
        for b in bad:
            b.expect_close(1013)


@row("server.memory", "threat 115")
def test_memory_does_not_grow_with_ended_connections():
    def memory(s):
        with open(f"/proc/{s.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1])
    with Server() as s:
        def wave():
            ends = [(s.ws if i % 2 else s.sse)(f"u{i}", query={"ticket_id": f"t{i}"}) for i in range(200)]
            success(s.broadcast("x" * 5000))
            for e in ends:
                e.recv()
                e.cut()
            s.clients.clear()
            eventually(lambda: s.stats()["active_connections"] == 0, "all are gone")
        for _ in range(3):
            wave()
        warm = memory(s)
        for _ in range(6):
            wave()
        kept = 80000 if lib.OVER_TLS else 20000  # the sanitizer lets freed memory rest for a while
        ok(memory(s) <= warm + (kept if lib.SLOW else 1500), "kB before and after", warm, memory(s))
