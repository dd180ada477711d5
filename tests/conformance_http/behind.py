# SPDX-License-Identifier: Apache-2.0
"""nginx and HAProxy in front of the server, with the configurations that stand in docs/guide.md.

The proxies run in the foreground on free ports of loopback, as nobody when we are root, with everything they write in a
directory of the test. Between proxy and server stands a Tap, which counts the server's answers.
"""
import http.server
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import yaml

import lib
from lib import Http, Wrong, eq, eventually, fail, ok

NOBODY = 65534
GUIDE = os.path.join(lib.ROOT, "docs/guide.md")
ONLINE = "/api/v1/websocket/online"


def section():
    with open(GUIDE, encoding="utf-8") as f:
        return re.search(r"^## Behind a proxy$(.*?)^## ", f.read(), re.M | re.S)[1]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", section(), re.M | re.S)


def gateway():
    """The gateway's own configuration of that section."""
    config = yaml.safe_load(blocks("yaml")[0])["wsc"]
    return {k: v for k, v in config.items() if k != "node_ip"}


def replace(text, *pairs):
    """Every left side must be found, so that no test runs a configuration that the guide no longer shows."""
    for old, new in pairs:
        ok(re.search(old, text), "docs/guide.md no longer has", old)
        text = re.sub(old, new, text)
    return text


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Tap:
    """A forwarder from a port of its own to the server. Knows what came back on each connection.

    plant   an answer to what has these bytes goes out twice: a server that has lost its place
    """

    def __init__(self, target, plant=None):
        self.target, self.plant, self.came = target, plant, []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        poll, peers = select.poll(), {}
        poll.register(self.listener, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.listener.fileno():
                    a = self.listener.accept()[0]
                    b = socket.create_connection(self.target)
                    record = {"asked": bytearray(), "came": bytearray()}
                    with self.lock:
                        self.came.append(record)
                    for one, other, key in ((a, b, "asked"), (b, a, "came")):
                        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        poll.register(one, select.POLLIN)
                        peers[one.fileno()] = (one, other, record, key)
                elif fd in peers:
                    self.move(poll, peers, fd)

    def move(self, poll, peers, fd):
        one, other, record, key = peers[fd]
        try:
            data = one.recv(1 << 18)
            if data and key == "came" and self.plant and self.plant in record["asked"]:
                data *= 2
            if data:
                with self.lock:
                    record[key] += data
                other.sendall(data)
                return
            other.shutdown(socket.SHUT_WR)
        except OSError:
            data = None
        poll.unregister(fd)
        one_is_whole = data == b"" and other.fileno() in peers
        del peers[fd]
        if one_is_whole:
            return  # the other direction goes on
        for s in (one, other):
            if s.fileno() in peers:
                poll.unregister(s.fileno())
                del peers[s.fileno()]
            s.close()

    def answers(self):
        """How many requests the server has answered, a proxy's own health checks aside."""
        with self.lock:
            return sum(len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", r["came"])) for r in self.came
                       if b"GET /readyz" not in r["asked"])

class WhoAmI:
    """The application that the guide's nginx asks for the user: a cookie user=NAME gives NAME, no cookie gives 401."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                m = re.search(r"\buser=([a-z0-9-]+)", self.headers.get("Cookie", ""))
                self.send_response(200 if m else 401)
                if m and m[1] != "forgotten":
                    self.send_header("X-User-ID", m[1])
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Proxy:
    """A running proxy: .address. Ends with the block; must not have ended by itself."""

    def __init__(self, command, files):
        self.dir = tempfile.mkdtemp(prefix="wsc-proxy-")
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        for leaf, text in files.items():
            with open(os.path.join(self.dir, leaf), "w", encoding="utf-8") as f:
                f.write(text.replace("@DIR@", self.dir).replace("@PORT@", str(self.port)))
        if os.getuid() == 0:
            os.chown(self.dir, NOBODY, NOBODY)
        self.log = open(os.path.join(self.dir, "output"), "w+b")
        self.process = subprocess.Popen([a.replace("@DIR@", self.dir) for a in command], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, cwd=self.dir, preexec_fn=self.prepare)
        eventually(self.answers, f"{command[0]} listens", lib.LIMIT * 2)

    @staticmethod
    def prepare():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        lib._die_with_parent()

    def answers(self):
        if self.process.poll() is not None:
            fail("the proxy did not start\n" + self.text())
        try:
            socket.create_connection(self.address, 1).close()
            return True
        except OSError:
            return False

    def text(self):
        out = ""
        for leaf in ("output", "error.log"):
            path = os.path.join(self.dir, leaf)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    out += f.read()[-4000:]
        return out

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        early = self.process.poll()
        if early is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(lib.LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        text = self.text()
        self.log.close()
        subprocess.run(["rm", "-rf", self.dir], check=False)
        if kind is None and early is not None:
            fail("the proxy has ended by itself:", early, "\n" + text)


def nginx(gateway_port, whoami_port, everything=False):
    text = replace(blocks("nginx")[0], (r"server 127\.0\.0\.1:8080;", f"server 127.0.0.1:{gateway_port};"),
                   (r"listen 443 ssl;", "listen 127.0.0.1:@PORT@;"), (r" *ssl_certificate(_key)? .*\n", ""),
                   (r"http://127\.0\.0\.1:3000/", f"http://127.0.0.1:{whoami_port}/"),
                   (r"allow 10\.0\.0\.0/8;", "allow 127.0.0.0/8;"))
    if everything:
        text = replace(text, (r"location /api/ ", "location / "), (r"( +)deny all;", r"\1deny 203.0.113.9;"))
    temp = "".join(f"    {n}_temp_path @DIR@/{n};\n" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = ("daemon off;\nmaster_process off;\npid @DIR@/pid;\nerror_log @DIR@/error.log;\nworker_rlimit_nofile 4096;\n"
            "events { worker_connections 2000; }\n"
            f"http {{\n    access_log off;\n{temp}{text}}}\n")
    return Proxy(["/usr/sbin/nginx", "-p", "@DIR@", "-c", "@DIR@/nginx.conf", "-e", "@DIR@/error.log"],
                 {"nginx.conf": main})


def haproxy(gateway_port, everything=False, server_line=None):
    text, line = blocks("haproxy")
    if server_line:
        line = server_line(line)
        text = replace(text, (r" *server gate1 .*\n", line))
    text = replace(text, (r"127\.0\.0\.1:8080", f"127.0.0.1:{gateway_port}"),
                   (r"bind :443 ssl crt .*", "bind 127.0.0.1:@PORT@"), (r"src 10\.0\.0\.0/8", "src 127.0.0.0/8"))
    if everything:
        text = replace(text, (r" *http-request deny .*\n", ""), (r"(server gate1 .*)", r"\1\n    http-reuse always"))
    return Proxy(["/usr/sbin/haproxy", "-db", "-f", "@DIR@/haproxy.cfg"],
                 {"haproxy.cfg": "global\n    maxconn 2000\n\n" + text})


def with_proxy_v2(line):
    return line


def with_proxy_v1(line):
    return line.replace("send-proxy-v2", "send-proxy")


# ---- the corpus ------------------------------------------------------------------------------------------------------

# Seconds without a byte after which a client stops waiting for the proxy. If a client gives up too early, the sums of
# its batch differ: the batch runs again with more patience and is judged then.
QUIET, PATIENT = 1.0, 8.0
TOGETHER = 120


class Client:
    """One connection to the proxy: the case, and right behind it a question that carries the case's number."""

    def __init__(self, address, case):
        self.case, self.data, self.last = case, b"", time.monotonic()
        self.mark = f"m-{case.number:04d}"
        self.sock = socket.create_connection(address, lib.LIMIT)
        last = f"GET {ONLINE}?user_id={self.mark} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        self.out = case.data + last.encode()
        self.sock.setblocking(False)

    def write(self):
        """False once all is sent."""
        try:
            self.out = self.out[self.sock.send(self.out):]
        except BlockingIOError:
            pass
        except OSError:
            self.out = b""
        return bool(self.out)

    def read(self):
        """False once the proxy has ended the connection."""
        try:
            more = self.sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            more = b""
        self.data += more
        self.last = time.monotonic()
        return bool(more)

    def answers(self):
        """The final answers of the server, without interim answers and without the proxy's own answers (HTML). The
        answer to HTTP/0.9 has no head."""
        parts = re.split(rb"(?=HTTP/1\.[01] [1-5]\d\d )", self.data)
        whole = [p for p in parts if re.match(rb"HTTP/1\.[01] [2-5]", p)]
        if self.data.startswith(b"{"):
            whole.insert(0, parts[0])
        return [a for a in whole if b"text/html" not in a.split(b"\r\n\r\n")[0].lower()]


class Victim(threading.Thread):
    """Asks through the proxy again and again, on kept connections; every answer must be its own."""

    def __init__(self, address, name):
        super().__init__(daemon=True)
        self.address, self.name, self.count, self.story, self.stop = address, name, 0, None, threading.Event()
        self.idle = threading.Event()
        self.hold = threading.Event()
        self.start()

    def run(self):
        try:
            h = None
            while not self.stop.is_set():
                if self.hold.is_set():
                    self.idle.set()
                    time.sleep(0.005)
                    continue
                self.idle.clear()
                h = h or Http(self.address)
                mark = f"{self.name}-{self.count}"
                a = ask(h, mark)
                self.count += 1
                eq(a.status, 200, mark)
                eq([u["user_id"] for u in a.json()["data"]["users"]], [mark], "an answer that is not ours")
                if (a.header("Connection") or "").lower() == "close":
                    h.cut()
                    h = None
        except Exception as e:
            self.story = f"the innocent client {self.name}, question {self.count}: {e}"
        self.idle.set()

    def pause(self):
        self.idle.clear()
        self.hold.set()
        ok(self.idle.wait(lib.LIMIT), "the innocent client waits for an answer")
        ok(not self.story, self.story)


def ask(h, mark):
    return h.ask("GET", f"{ONLINE}?user_id={urllib.parse.quote(mark)}", headers=[("Accept", "*/*")])


def exchange(address, cases, quiet=QUIET):
    """Runs these cases side by side; returns their clients when each has its end or is quiet."""
    clients = {}
    poll = select.poll()
    for c in (Client(address, case) for case in cases):
        clients[c.sock.fileno()] = c
        poll.register(c.sock, select.POLLIN | select.POLLOUT)
    live = dict(clients)
    while live:
        for fd, event in poll.poll(50):
            c = live[fd]
            if event & select.POLLOUT and not c.write():
                poll.modify(c.sock, select.POLLIN)
            if event & ~select.POLLOUT and not c.read():
                poll.unregister(fd)
                del live[fd]
        now = time.monotonic()
        for fd, c in list(live.items()):
            if now - c.last > quiet:
                poll.unregister(fd)
                del live[fd]
    for c in clients.values():
        c.sock.close()
    return list(clients.values())


def judge(clients):
    """Every answer that a client saw must be its own."""
    stories = []
    for c in clients:
        marks = set(re.findall(rb'"user_id":"((?:m|v)-[^"]+)"', c.data))
        got = c.answers()
        if marks - {c.mark.encode()}:
            stories.append(f"{c.case!r}: got the answer of another client: {marks}")
        if c.mark.encode() in marks and c.mark.encode() not in got[-1]:
            stories.append(f"{c.case!r}: something came behind the answer to the last request")
    return stories


def delivered(clients):
    """How many messages were delivered according to the answers that the clients got."""
    return sum(len(re.findall(rb'"to":"victim"', a)) for c in clients for a in c.answers())


class Ledger:
    """Answers that the server gave against answers that clients saw."""

    def __init__(self, tap, victims, inbox, patient):
        self.tap, self.victims, self.inbox, self.patient = tap, victims, inbox, patient
        self.seen = 0

    def settle(self, clients):
        """A line for each sum that differs."""
        for v in self.victims:
            v.pause()
        self.seen += sum(len(c.answers()) for c in clients)
        want = self.seen + sum(v.count for v in self.victims)
        told, got = delivered(clients), sum(self.inbox.take().values())
        stories = judge(clients)
        try:
            eventually(lambda: self.tap.answers() == want, limit=self.patient)
        except Wrong:
            stories.append(f"the server has answered {self.tap.answers()} requests, clients saw {want} answers")
            self.seen += self.tap.answers() - want
        if told != got:
            stories.append(f"{got} messages were delivered, clients were told of {told}")
        for v in self.victims:
            v.hold.clear()
        return stories


def corpus(proxy_of, server, inbox, cases, plant=None, patient=PATIENT):
    """All cases through the proxy. If the sums of a batch differ twice, its cases run one by one, to name the case."""
    tap = Tap(server.address, plant)
    with proxy_of(tap.port) as proxy:
        victims = [Victim(proxy.address, f"v-{i}") for i in range(2)]
        ledger = Ledger(tap, victims, inbox, patient)
        stories = []
        for i in range(0, len(cases), TOGETHER):
            batch = cases[i:i + TOGETHER]
            wrong = ledger.settle(exchange(proxy.address, batch))
            if wrong:
                wrong = ledger.settle(exchange(proxy.address, batch, patient))
            if wrong and len(stories) < 20:
                named = []
                for case in batch:
                    named += [f"{case!r}: {s}" for s in ledger.settle(exchange(proxy.address, [case], patient))]
                stories += named or [f"cases {i} to {i + len(batch)}: {s}" for s in wrong]
        for v in victims:
            v.stop.set()
            v.join(lib.LIMIT)
            if v.story:
                stories.append(v.story)
        ok(all(v.count for v in victims), "the innocent clients had no turn")
        reached = tap.answers() - sum(v.count for v in victims)
    return len(cases), stories, reached


# ---- the documented deployment ---------------------------------------------------------------------------------------


class Stream(lib.Sse):
    """An event stream as a proxy may pass it on: in chunks."""

    raw = None

    def take_until(self, mark):
        data = super().take_until(mark)
        if mark == b"\r\n\r\n" and re.search(rb"(?i)^transfer-encoding: chunked\r?$", data, re.M):
            self.raw, self.buffer = self.buffer, b""
        return data

    def fill(self):
        if self.raw is None:
            return super().fill()
        while True:
            m = re.match(rb"([0-9a-fA-F]+)\r\n", self.raw)
            size = int(m[1], 16) if m else None
            if m and size == 0:
                return False
            if m and len(self.raw) >= m.end() + size + 2:
                self.buffer += self.raw[m.end():m.end() + size]
                self.raw = self.raw[m.end() + size + 2:]
                return True
            more = self.sock.recv(1 << 16)
            if not more:
                return False
            self.raw += more


def speaks_websocket_and_streams(server, proxy, name_of, headers_of):
    """A socket and a stream through the proxy: messages both ways, and events that are not held back."""
    bob = name_of("bob")
    ws = lib.Ws(proxy.address, headers=headers_of(bob), query=f"user_id={bob}")
    stream = Stream(proxy.address, query={"user_id": bob}, headers=headers_of(bob))
    eq(stream.connected["user_id"], bob)
    for i in range(3):
        ws.send(to=bob, content=f"n{i}")
        ws.recv(content=f"n{i}", from_=bob)
        stream.recv(content=f"n{i}")
    ws.send(to=bob, content="x" * 100000)
    ws.recv(content="x" * 100000)
    stream.recv(content="x" * 100000)
    ws.quiet()
    eq(ws.close(), 1000)
    stream.cut()
    server.gone(bob)


def status(proxy, path, headers=(), source=None):
    with Http(proxy.address, source=source) as h:
        h.send_raw(h.build("GET", path, headers=headers))
        return int(h.take_until(b"\r\n").split()[1])


def shows_the_true_client(proxy, path, headers):
    """The gateway blocks 127.0.0.5, which can neither hide behind the proxy nor get another address blocked."""
    eq(status(proxy, path, headers, "127.0.0.4"), 200)
    eq(status(proxy, path, headers, "127.0.0.5"), 403)
    for name in ("X-Forwarded-For", "x-forwarded-for", "Forwarded", "X-Real-IP"):
        for value in ("127.0.0.4", "192.0.2.1", "127.0.0.1", "127.0.0.5, 127.0.0.4", "garbage"):
            eq(status(proxy, path, [*headers, (name, value)], "127.0.0.5"), 403, name, value)
        eq(status(proxy, path, [*headers, (name, "127.0.0.5")], "127.0.0.4"), 200, name)
        eq(status(proxy, path, [*headers, ("Connection", f"close, {name}")], "127.0.0.5"), 403, "hop by hop", name)


def seconds(text, word):
    return [int(n) for n in re.findall(rf"{word}\s+(\d+)s", text)]


def heartbeat():
    text = lib.wsc("config", "--markdown").out
    return [int(re.search(rf"^\| `{k}` \| `(\d+)s`", text, re.M)[1]) for k in ("heartbeat_interval", "sse_heartbeat")]

