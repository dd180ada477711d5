#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mixed traffic for a while: WebSocket, SSE and HTTP, with connections that open and end.

usage: soak.py PROGRAM MINUTES

It checks that a receiver that stays connected sees every message of every sender once and in order, broadcasts
included; the server's memory does not grow once it is warm; SIGTERM ends it with status 0. Prints the traffic and
"N passed, N failed".
"""
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import websockets

PAIRS = 20             # persistent receivers; each has a sender on a WebSocket and one over HTTP
CHURNERS = 10          # connections that come and go
MESSAGES_PER_S = 20    # of each sender
BROADCASTS_PER_S = 2
GROWTH_BYTES = 2 << 20


class Server:
    """The program under test on a free port; its log is kept to be shown when something fails."""

    def __init__(self, program, wrapper=(), settings=()):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = tempfile.TemporaryFile()
        sets = [a for pair in (f"node_port={self.port}", *settings) for a in ("--set", pair)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as config:
            config.write("wsc:\n  enabled: true\n  node_ip: 127.0.0.1\n")
        self.config = config.name
        self.process = subprocess.Popen([*wrapper, program, "serve", config.name, *sets], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)

    def wait_ready(self, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server did not start:\n" + self.output())

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status, or "killed" when it did not end in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed"
        finally:
            os.unlink(self.config)

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def memory(self):
        """Bytes of anonymous memory, without the kernel's memory for sockets."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s+(\d+) kB", f.read()).group(1)) * 1024


class Http:
    """One keep-alive connection."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def call(self, method, path, user=None, body=None):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n" + (f"X-User-ID: {user}\r\n" if user else "")
        self.writer.write((head + f"Content-Length: {len(data)}\r\n\r\n").encode() + data)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(re.search(r"content-length: *(\d+)", lines).group(1))
        return int(lines.split()[1]), json.loads(await self.reader.readexactly(length))


async def sse(port, user):
    """Yields the messages of a stream; the first is `connected`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        writer.write(f"GET /sse?user_id={user} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        while line := await reader.readline():
            if line.startswith(b"data:"):
                yield json.loads(line[5:])
    finally:
        writer.close()


async def ws(port, user):
    """Yields the messages of a socket."""
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws?user_id={user}", ping_interval=None) as connection:
        async for text in connection:
            yield json.loads(text)


class Soak:
    def __init__(self, server, seconds):
        self.server, self.port, self.end = server, server.port, time.monotonic() + seconds
        self.sent, self.seen = {}, {}      # (receiver, sender) -> number of the last message
        self.faults, self.memory = [], []
        self.broadcasts = self.moved = self.visits = 0
        self.listening = {}                # receiver -> Event: connected, and has told so
        self.finish = asyncio.Event()

    def fault(self, text):
        if len(self.faults) < 20:
            self.faults.append(text)

    async def receive(self, i):
        """Reads as user r<i> until every message has come."""
        me = f"r{i}"
        async for message in (ws if i % 2 else sse)(self.port, me):
            sender = message["from"]
            if message["type"] == "error":
                self.fault(f"{me} got {message}")
            if sender == me:
                self.listening[me].set()
            elif message["type"] in ("text", "notice") and sender != "system":
                self.arrived(me, sender, int(message["content"]))
            if self.finish.is_set() and self.complete(me):
                return
        if not self.finish.is_set():
            self.fault(f"{me} was disconnected")

    def arrived(self, receiver, sender, number):
        self.moved += 1
        expected = self.seen.get((receiver, sender), 0) + 1
        if number != expected:
            self.fault(f"{receiver} got number {number} of {sender}, not {expected}")
        self.seen[receiver, sender] = number

    def complete(self, receiver):
        return all(self.seen.get(k, 0) == n for k, n in self.sent.items() if k[0] == receiver)

    async def send_ws(self, i):
        me, to = f"s{i}", f"r{i}"
        async with websockets.connect(f"ws://127.0.0.1:{self.port}/ws?user_id={me}", ping_interval=None) as connection:
            async def listen():
                async for text in connection:
                    message = json.loads(text)
                    if message["type"] == "error":
                        self.fault(f"{me} got {message}")
            listener = asyncio.create_task(listen())
            number = 0
            while time.monotonic() < self.end:
                number += 1
                self.sent[to, me] = number
                await connection.send(json.dumps({"to": to, "type": "text", "content": str(number)}))
                await asyncio.sleep(random.random() * 2 / MESSAGES_PER_S)
            listener.cancel()

    async def send_http(self, i):
        me, to, http, number = f"h{i}", f"r{i}", Http(self.port), 0
        while time.monotonic() < self.end:
            number += 1
            self.sent[to, me] = number
            status, answer = await http.call("POST", "/api/v1/websocket/send", me, {"to": to, "content": str(number)})
            if status != 200:
                self.fault(f"{me}: send was answered {status} {answer}")
            await asyncio.sleep(random.random() * 2 / MESSAGES_PER_S)

    async def broadcast(self):
        http = Http(self.port)
        while time.monotonic() < self.end:
            self.broadcasts += 1
            for i in range(PAIRS):
                self.sent[f"r{i}", "news"] = self.broadcasts
            status, answer = await http.call("POST", "/api/v1/websocket/broadcast", "news",
                                             {"content": str(self.broadcasts)})
            if status != 200 or answer["delivered_count"] < PAIRS:
                self.fault(f"broadcast was answered {status} {answer}")
            await asyncio.sleep(1 / BROADCASTS_PER_S)

    async def churn(self, i):
        """Comes, stays a moment, leaves: politely, by cutting the connection, or in the middle of a frame."""
        me = f"c{i}"
        while time.monotonic() < self.end:
            self.visits += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            path = random.choice(["/ws", "/sse"])
            upgrade = "" if path == "/sse" else (
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
            writer.write(f"GET {path}?user_id={me} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
            try:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                await asyncio.sleep(random.random())
                if path == "/ws" and random.random() < 0.5:
                    writer.write(random.choice([b"\x88\x80\0\0\0\0", b"\x81\xfe\x01\x00abcd", b"\xff" * 20]))
                    await writer.drain()
                    await asyncio.sleep(random.random() / 10)
            except (OSError, asyncio.IncompleteReadError):
                pass
            if random.random() < 0.3:
                writer.transport.abort()
            writer.close()

    async def watch(self):
        """Reads statistics as an operator would, and the server's memory."""
        http = Http(self.port)
        while time.monotonic() < self.end:
            status, answer = await http.call("GET", "/wsc/stats")
            if status != 200 or answer["data"]["active_connections"] < 2 * PAIRS:
                self.fault(f"stats were answered {status} {answer}")
            await http.call("GET", "/api/v1/websocket/online")
            self.memory.append(self.server.memory())
            await asyncio.sleep(1)

    async def run(self):
        self.listening = {f"r{i}": asyncio.Event() for i in range(PAIRS)}
        receivers = [asyncio.create_task(self.receive(i)) for i in range(PAIRS)]
        http = Http(self.port)
        for user, event in self.listening.items():
            while not event.is_set():    # a message to oneself that arrives proves that one is registered
                await http.call("POST", "/api/v1/websocket/send", user, {"to": user, "content": "0"})
                await asyncio.sleep(0.05)
        await asyncio.gather(*(self.send_ws(i) for i in range(PAIRS)), *(self.send_http(i) for i in range(PAIRS)),
                             *(self.churn(i) for i in range(CHURNERS)), self.broadcast(), self.watch_later())
        self.finish.set()
        http = Http(self.port)           # the first one has long been closed for its silence
        for user in self.listening:      # one more each, so that every receiver looks whether it is done
            await http.call("POST", "/api/v1/websocket/send", user, {"to": user, "content": "0"})
        _, late = await asyncio.wait(receivers, timeout=10)
        for task in late:
            task.cancel()

    async def watch_later(self):
        await asyncio.sleep(1)           # until the senders are there
        await self.watch()

    def verdicts(self):
        """(sentence, holds) of each promise."""
        missing = {k: (self.seen.get(k, 0), n) for k, n in self.sent.items() if self.seen.get(k, 0) != n}
        if missing:
            self.fault(f"(receiver, sender): (got, sent): {dict(list(missing.items())[:5])}")
        n = len(self.memory)
        early, late = (statistics.median(self.memory[a:b]) for a, b in ((n // 4, n // 2 + 1), (3 * n // 4, n)))
        return [
            ("the last message of every sender has arrived", not missing),
            ("everything comes once, in order and without an error", not self.faults),
            (f"memory stays flat: {early / 2**20:.1f} MiB when warm, {late / 2**20:.1f} MiB at the end",
             late - early < max(GROWTH_BYTES, early / 20)),
        ]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = Server(sys.argv[1])
    server.wait_ready()
    soak = Soak(server, float(sys.argv[2]) * 60)
    try:
        asyncio.run(soak.run())
        verdicts = soak.verdicts()
    finally:
        status = server.stop()
    verdicts.append((f"SIGTERM ends it with status 0 (it was {status})", status == 0))

    print(f"{soak.moved} messages to {PAIRS} receivers, {soak.broadcasts} broadcasts, {soak.visits} visitors")
    for fault in soak.faults:
        print(fault)
    for sentence, holds in verdicts:
        print("ok    " if holds else "FAILED", sentence)
    failed = sum(not holds for _, holds in verdicts)
    if failed:
        print(server.output()[-4000:])
    print(f"{len(verdicts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
