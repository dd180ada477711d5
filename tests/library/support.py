# SPDX-License-Identifier: Apache-2.0
"""Used by examples.py and from_go.py: a program that prints its port, HTTP calls, streams and WebSockets with a
deadline on everything, and the line of counts. Knows nothing of the tests."""
import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback

import websockets

SLOW = 10 if os.environ.get("TEST_SLOW") else 1
PATIENCE = 10 * SLOW


def eventually(check, what):
    """Repeats @check until it is true; its value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"in vain: {what}; last: {value!r}")


class Program:
    """A running program that prints "listening on port N"."""

    def __init__(self, *command, cwd=None, env=None):
        self.lines = []
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        cwd=cwd, env=env and dict(os.environ, **env))
        while not self.lines or not self.lines[-1].startswith("listening on port "):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"{command[0]} ended with {self.process.wait()} before it listened: {self.lines}")
            self.lines.append(line.rstrip("\n"))
        self.port = int(self.lines[-1].split()[3])

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        if kind is None and status != 0:
            raise AssertionError(f"{self.process.args[0]}: exit status {status} after SIGTERM")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def url(self, path, scheme="http"):
        return f"{scheme}://localhost:{self.port}{path}"

    def call(self, method, path, body=None, headers=None):
        """(status, answer): the answer as JSON when it is."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            c.request(method, path, body if body is None or isinstance(body, str) else json.dumps(body), headers or {})
            r = c.getresponse()
            text = r.read().decode()
            return r.status, json.loads(text) if "json" in r.headers.get("Content-Type", "") else text
        finally:
            c.close()

    def send(self, user, **message):
        return self.call("POST", "/api/v1/websocket/send", message, {"X-User-ID": user})

    def online(self):
        return [u["user_id"] for u in self.call("GET", "/api/v1/websocket/online")[1]["data"]["users"]]

    def ws(self, query, port=None, **more):
        return Client(f"ws://127.0.0.1:{port or self.port}/ws?{query}", **more)


class Client:
    """A WebSocket; status is that of a refusal."""

    def __init__(self, url, **more):
        self.loop = asyncio.new_event_loop()
        self.status = 101
        try:
            self.socket = self.loop.run_until_complete(self.connect(url, more))
        except websockets.exceptions.InvalidStatusCode as e:
            self.status = e.status_code

    @staticmethod
    async def connect(url, more):
        return await websockets.connect(url, **more)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.status == 101:
            self.loop.run_until_complete(self.socket.close())
        self.loop.close()

    def send(self, **message):
        self.loop.run_until_complete(self.socket.send(json.dumps(message)))

    def read(self):
        return json.loads(self.loop.run_until_complete(asyncio.wait_for(self.socket.recv(), PATIENCE)))

    def read_type(self, kind):
        """The next message of this type; others are skipped."""
        while True:
            message = self.read()
            if message["type"] == kind:
                return message

    def close_code(self):
        try:
            while True:
                self.loop.run_until_complete(asyncio.wait_for(self.socket.recv(), PATIENCE))
        except websockets.exceptions.ConnectionClosed:
            return self.socket.close_code


def sanitizer_flags(build):
    """A library built with sanitizers wants its users built with them."""
    options = build / "wsc-options"
    return [f"-fsanitize={kind}" for kind in re.findall(r"b_sanitize=(\S+)", options.read_text() if options.exists() else "")]


def same(got, want):
    if got != want:
        raise AssertionError(f"{got!r}, not {want!r}")


def run(tests):
    """Runs the functions, prints the counts; the exit status."""
    failed = 0
    for test in tests:
        try:
            test()
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED {test.__name__}", flush=True)
            traceback.print_exc(limit=-4, file=sys.stdout)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0
