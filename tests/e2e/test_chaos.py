# SPDX-License-Identifier: Apache-2.0
"""A hundred thousand messages while connections come and go: none lost, none twice, none late, none to the wrong user.

The traffic and the book-keeping are tests/load, a program of its own so that it is fast enough to be a load: fifty
senders over WebSocket and HTTP that reconnect, fifty receivers with up to four devices, on sockets and event streams,
that come and go, and broadcasts between. A failure prints its seed, which is the third argument of `chaos`.
"""
import json
import os
import subprocess

import lib
from lib import Server, eq, ok, row

MESSAGES = 3000 if lib.CHOP else 100000


def chaos(workers, messages, **config):
    program = os.path.join(os.path.dirname(lib.program()), "tests/load/chaos")
    ok(os.path.exists(program), program, "is missing: meson setup -Dtests=true")
    # Fewer than 256 messages, but maybe more than a stream's 100, are under way to one device.
    config = dict({"workers": workers, "multi_login": "allow", "security": {"enable_rate_limit": False},
                   "sse_message_buffer": 256, "performance": {"kernel_queue": "4KiB"}}, **config)
    with Server(config) as s:
        done = subprocess.run([program, str(s.port), str(messages)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, preexec_fn=lib._die_with_parent,
                              env=lib.environment())
        lib.no_sanitizer(done.stderr)
        eq(done.returncode, 0, done.stdout + done.stderr)
        lib.has(done.stdout, f"{messages} messages")
        line, counts = done.stdout.splitlines()
        print(f"chaos, {workers} workers: {line}", flush=True)
        lib.eventually(lambda: s.stats()["active_connections"] == 0, "all connections have ended")
        compare(lib.eventually(lambda: not (m := s.metrics())("wsc_queue_bytes") and m, "every turn has ended"),
                json.loads(counts))
        # One in some thousands is a broadcast.
        d = s.stats()
        ok(d["messages_received"] >= messages * (0.7 if lib.CHOP else 0.9) and (d["broadcasts"] > 0 or lib.CHOP), d)


def compare(m, own):
    """The totals of the server are what the clients have counted. A client that resets a connection before it is told
    that it is open cannot know whether it was, and one that resets an open one has not read all that was sent."""
    early = own["early"]

    def between(value, low, high, what):
        ok(low <= value <= high, what, value, "is not between", low, "and", high, own)
    eq(m("wsc_messages_received_total"), own["unicasts"], own)
    eq(m("wsc_broadcasts_total"), own["broadcasts"], own)
    eq(m("wsc_messages_refused_total") + m("wsc_connections_refused_total"), 0)
    eq(m("wsc_http_requests_total", status="200", route="send")
       + m("wsc_http_requests_total", status="200", route="broadcast"), own["requests"], own)
    opened, sent = m("wsc_connections_opened_total"), m("wsc_messages_sent_total")
    between(opened, own["websockets"] + own["streams"], own["websockets"] + own["streams"] + early, "opened")
    between(m("wsc_http_requests_total", status="101"), own["websockets"], own["websockets"] + early, "101")
    between(m("wsc_http_requests_total", route="sse"), own["streams"], own["streams"] + early, "streams")
    eq(m.by("wsc_connections_closed_total", "code"), {"1000": own["closes"], "1006": opened - own["closes"]}, own)
    delivered, dropped = m("wsc_delivery_duration_seconds_count"), m("wsc_messages_dropped_total")
    between(delivered, own["deliveries"], sent, "delivered")
    between(delivered + dropped, sent, sent + early, "delivered or dropped")
    eq((m("wsc_connections"), m("wsc_online_users"), m("wsc_messages_dropped_total", reason="overflow")), (0, 0, 0))


@row("3.order", "3.frame-to", "threat 172")
def test_a_hundred_thousand_messages_over_two_workers_in_chaos_all_come_once_and_in_order():
    chaos(2, MESSAGES)


@row("3.order", "3.frame-to")
def test_chaos_over_five_workers():
    chaos(5, MESSAGES // 3)


@row("3.order", "3.frame-to")
def test_chaos_on_a_single_worker():
    chaos(1, MESSAGES // 3)
