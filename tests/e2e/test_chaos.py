# SPDX-License-Identifier: Apache-2.0
"""A hundred thousand messages while connections come and go: none lost, none twice, none late, none to the wrong user.

The traffic and the book-keeping are tests/load, a program of its own so that it is fast enough to be a load: fifty
senders over WebSocket and HTTP that reconnect, fifty receivers with up to four devices, on sockets and event streams,
that come and go, and broadcasts between. A failure prints its seed, which is the third argument of `chaos`.
"""
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
        print(f"chaos, {workers} workers: {done.stdout.strip()}", flush=True)
        d = s.stats()
        # One in some thousands is a broadcast.
        ok(d["messages_received"] >= messages * (0.7 if lib.CHOP else 0.9) and (d["broadcasts"] > 0 or lib.CHOP), d)
        lib.eventually(lambda: s.stats()["active_connections"] == 0, "all connections have ended")


@row("3.order", "3.frame-to", "threat 172")
def test_a_hundred_thousand_messages_over_two_workers_in_chaos_all_come_once_and_in_order():
    chaos(2, MESSAGES)


@row("3.order", "3.frame-to")
def test_chaos_over_five_workers():
    chaos(5, MESSAGES // 3)


@row("3.order", "3.frame-to")
def test_chaos_on_a_single_worker():
    chaos(1, MESSAGES // 3)
