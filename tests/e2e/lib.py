# SPDX-License-Identifier: Apache-2.0
"""The base of the end-to-end tests: a server on a free port, and strict clients for WebSocket, HTTP and SSE.

The clients are written from the RFCs and share no code with the server. They can send any bytes, and they accept only
exactly right output: a server frame that is masked, longer than needed or behind a close frame is a failure, as is an
HTTP answer without a length or a message without its six keys.

    with Server({"message_buffer_size": 5}) as s:       # wsc: of the YAML file; or settings=["log.level=debug"]
        bob = s.ws("bob")                                # closed with the server
        s.ws("alice").send(to="bob", content="Hi")
        eq(bob.recv()["content"], "Hi")

    s = shared()               # a server with the defaults that this process of tests keeps: take names from name()

With E2E_TLS=1 (run.py --tls) every server that is made of a dict speaks TLS too, and every client of it speaks nothing else.

No test asserts how long something takes. Every wait ends after LIMIT seconds, as a failure. To show that a message does
not arrive, a test waits for a later one: Ws.quiet() for the same connection, a marker message of the same sender for
another receiver.
"""
import atexit
import base64
import ctypes
import functools
import hashlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import urllib.parse

import yaml
from prometheus_client import parser

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOW = bool(os.environ.get("TEST_SLOW"))
CHOP = bool(os.environ.get("TEST_CHOP"))  # the server reads and writes one byte at a time: tests of amounts are smaller
OVER_TLS = bool(os.environ.get("E2E_TLS"))
LIMIT = 60.0 if SLOW else 10.0
API = "/api/v1/websocket"
KEYS = ("id", "type", "from", "to", "content", "create_at")
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


class Wrong(AssertionError):
    """A failure of a test: the server did not do what it should."""


def fail(*what):
    raise Wrong(" ".join(str(w) for w in what))


def ok(condition, *what):
    if not condition:
        fail(*(what or ("not true",)))


def eq(got, want, *what):
    if got != want:
        fail(*what, f"\n  got  {got!r}\n  want {want!r}")


def has(text, *parts):
    """Every one of @parts stands in @text."""
    for part in parts:
        if part not in text:
            fail(f"{part!r} is not in\n{text[:2000]}")


def eventually(look, what="", limit=None):
    """Calls @look until it yields something true, and returns that. The time runs out as a failure."""
    end = time.monotonic() + (limit or LIMIT)
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > end:
            fail("did not happen in time:", what or look)
        time.sleep(0.01)


_names = itertools.count(1)


def name(prefix="user"):
    """An id that no other test uses, not even in another process."""
    return f"{prefix}-{os.getpid()}-{next(_names)}"


def not_chopped(f):
    """Marks a test about so many bytes that one at a time would take hours; smaller tests show the same promise."""
    f.not_chopped = True
    return f


def row(*ids):
    """Marks a test function with the rows of tests/contract.md and docs/threats.md that it shows (tests/maps)."""
    def mark(f):
        f.rows = ids
        return f
    return mark


def below_tls(f):
    """Marks a test that looks at the bytes of the socket itself: run.py --tls leaves it out."""
    f.below_tls = True
    return f


def parse(text):
    """JSON as strict as it gets: an object's key may be there once, NaN and lone surrogates are no JSON."""
    def pairs(items):
        d = dict(items)
        ok(len(d) == len(items), "a key is there twice in", text)
        return d
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=lambda c: fail(c, "is no JSON"))
    except ValueError as e:
        fail("not JSON:", e, repr(text))
    return value


def is_message(m, text=""):
    """Has @m the shape that every message has?"""
    ok(isinstance(m, dict), "not an object:", text or m)
    for k in KEYS:
        ok(isinstance(m.get(k), str), f"{k} is missing or no text in", text or m)
    ok(1 <= len(m["id"].encode()) <= 64, "id in", m)
    ok(m["type"], "type is empty in", m)
    ok(re.match(r"\d{4}-\d\d-\d\dT", m["create_at"]), "create_at in", m)
    return m


# ---- the program -----------------------------------------------------------------------------------------------------


def program():
    """The path of the program under test."""
    return os.environ.get("E2E_WSC") or os.path.join(os.environ.get("TEST_BUILD") or os.path.join(ROOT, "build"), "wsc")


def environment(extra=None):
    """This process's environment without the variables that configure the server."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WSC_")}
    env.update(extra or {})
    return env


class Done:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err
        self.text = out + err
        self.lines = [line for line in self.text.splitlines() if line]

    def __repr__(self):
        return f"exit status {self.status}\n{self.text}"


def wsc(*args, env=None, cwd=None, input=None):
    """Runs the program to its end."""
    p = subprocess.run([program(), *map(str, args)], env=environment(env), cwd=cwd, input=input or "", text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT * 2, errors="replace")
    no_sanitizer(p.stdout + p.stderr)
    return Done(p.returncode, p.stdout, p.stderr)


SANITIZER = re.compile(r"ERROR: AddressSanitizer|WARNING: ThreadSanitizer|LeakSanitizer|runtime error:|"
                       r"Assertion .* failed")


def no_sanitizer(text):
    if SANITIZER.search(text):
        fail("the program's own checks have spoken:\n" + text)


class Scratch:
    """A directory for a with block; / joins, write() fills a file and returns its path."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="wsc-e2e-")

    def __truediv__(self, leaf):
        return os.path.join(self.path, leaf)

    def write(self, leaf, text):
        if not isinstance(text, (str, bytes)):
            text = yaml.safe_dump(text, sort_keys=False)
        with open(self / leaf, "wb") as f:
            f.write(text.encode() if isinstance(text, str) else text)
        return self / leaf

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


# ---- certificates ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def certificates():
    """A directory for this process's certificates."""
    d = Scratch()
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(d.path, ignore_errors=True))
    return d


def openssl(*args):
    p = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    eq(p.returncode, 0, "openssl", *args, p.stdout)
    return p.stdout


class Certificate:
    """A self-signed certificate for @names and its key, made anew: .certificate and .key are paths, .der its bytes."""

    def __init__(self, *names, kind="ec", days=30, alt=True):
        names = names or ("localhost",)
        base = certificates() / name("cert")
        self.certificate, self.key = base + ".pem", base + ".key"
        how = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}[kind]
        san = ["-addext", "subjectAltName=" + ",".join(["DNS:" + n for n in names] + ["IP:127.0.0.1"])] if alt else []
        openssl("req", "-x509", *how, "-nodes", "-days", str(days), "-subj", "/CN=" + names[0], *san,
                "-keyout", self.key, "-out", self.certificate)
        with open(self.certificate) as f:
            self.der = ssl.PEM_cert_to_DER_cert(f.read())

    def config(self, **more):
        """The section tls."""
        return {"certificate": self.certificate, "key": self.key, **more}

    def context(self, low=None, high=None, alpn=None):
        """A client that trusts this certificate, and only it."""
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.certificate)
        c.minimum_version = low or ssl.TLSVersion.TLSv1_2
        c.maximum_version = high or ssl.TLSVersion.TLSv1_3
        if alpn:
            c.set_alpn_protocols(alpn)
        return c


@functools.lru_cache(maxsize=None)
def usual_certificate():
    return Certificate()


class Secure:
    """TLS on a connected socket, with the methods of a socket. Both directions are bytes that we can see and cut:
    .raw is the socket below, .tls the ssl.SSLObject. .goodbye: the peer has said close_notify."""

    def __init__(self, raw, context, server_hostname="localhost", session=None, shake=True):
        self.raw, self.goodbye = raw, False
        self.inbox, self.outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inbox, self.outbox, server_hostname=server_hostname, session=session)
        if shake:
            self.step(self.tls.do_handshake)

    def flush(self):
        data = self.outbox.read()
        if data:
            self.raw.sendall(data)

    def step(self, f, *args):
        while True:
            try:
                value = f(*args)
                self.flush()
                return value
            except ssl.SSLWantReadError:
                self.flush()
                data = self.raw.recv(1 << 16)
                if data:
                    self.inbox.write(data)
                else:
                    self.inbox.write_eof()
            except ssl.SSLError:
                try:
                    self.flush()  # our alert
                except OSError:
                    pass
                raise

    def recv(self, n):
        try:
            data = self.step(self.tls.read, n)
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLEOFError:
            return b""
        self.goodbye = not data
        return data

    def sendall(self, data):
        for i in range(0, len(data), 1 << 14):
            self.step(self.tls.write, data[i:i + (1 << 14)])

    def send(self, data):
        self.sendall(data)
        return len(data)

    def shutdown(self, how):
        """close_notify, and the end of the socket's own direction."""
        try:
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        self.flush()
        self.raw.shutdown(how)

    def pending(self):
        """Is there plain text, or ciphertext to be looked at?"""
        return self.tls.pending() or self.inbox.pending

    def __getattr__(self, name):
        return getattr(self.raw, name)


class SecureAddress(tuple):
    """(host, port), and how to speak TLS to it."""
    context = None


_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no server outlives its tests, whatever happens to them


LIVE = []  # the servers of this process, so that run.py can show their logs


class Server:
    """`wsc serve` with a file of our own.

    config     the values under wsc: (a dict; text=... gives the whole file as text instead)
    settings   ["key=value"] for --set
    env        more environment
    cwd        where it runs; args: the whole command line behind `wsc` instead of `serve FILE`
    limits     a function for the child before it runs the program (resource limits)
    wrapper    a command in front of the program; its process must become the program's
    strangers  clients that are not ours may stay connected when it ends: its descriptors are not counted then

    The server listens on 127.0.0.1 and a free port, and logs JSON, unless the configuration says otherwise. It is ready
    when its start lines are there. When the block ends, clients are cut, then SIGTERM: the exit status must be 0.
    """

    def __init__(self, config=None, settings=(), env=None, cwd=None, text=None, args=None, limits=None, wrapper=(),
                 ready=True, strangers=False):
        self.scratch = Scratch()
        self.clients = []
        self.port = None
        self.mark = 0
        self.secure = False
        self.strangers = strangers
        if text is None and args is None:
            base = {"node_ip": "127.0.0.1", "node_port": 0}
            base.update(config or {})
            if OVER_TLS and "tls" not in base:
                base["tls"] = usual_certificate().config()
                self.secure = True
            text = yaml.safe_dump({"wsc": base}, sort_keys=False)
        if args is None:
            args = ["serve", self.scratch.write("config.yaml", text)]
        sets = list(settings)
        if not any(s.startswith("log.format") for s in sets):
            sets.append("log.format=json")
        self.output = open(self.scratch / "log", "w+b")
        self.limits = limits
        command = [*wrapper, program(), *args]
        for s in sets:
            command += ["--set", s]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        env=environment(env), cwd=cwd, preexec_fn=self._prepare)
        self.ended = False
        LIVE.append(self)
        try:
            if ready:
                self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def _prepare(self):
        _die_with_parent()
        if self.limits:
            self.limits()

    # ---- output

    def text(self):
        with open(self.scratch / "log", "rb") as f:
            return f.read().decode(errors="replace")

    def log(self, msg=None):
        """The log lines as dicts; only those with this msg."""
        lines = []
        for line in self.text().splitlines():
            if line.startswith("{"):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if msg is None or entry.get("msg") == msg:
                    lines.append(entry)
        return lines

    def wait_ready(self):
        def listening():
            if self.process.poll() is not None:
                fail("the server did not start: exit status", self.process.returncode, "\n" + self.text())
            return self.log("limits") and self.log("listening")  # a line for each address comes before "limits"
        lines = eventually(listening, "the log line \"listening\" of the server", LIMIT * 2)
        line = max(lines, key=lambda e: e.get("port", 0))
        self.port = line.get("port")
        here = "::1" if ":" in line["address"] else "127.0.0.1" if line["address"] == "0.0.0.0" else line["address"]
        self.address = (here, self.port) if self.port else line["address"][len("unix:"):]
        if self.secure and self.port:
            self.address = self.over_tls(usual_certificate().context())
        self.own_descriptors = self.descriptors()

    def over_tls(self, context, port=None):
        """Its address for a client that speaks TLS."""
        address = SecureAddress((self.address[0], port or self.port))
        address.context = context
        return address

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, limit=None):
        """Its exit status once it has ended."""
        try:
            status = self.process.wait(limit or LIMIT * 2)
        except subprocess.TimeoutExpired:
            fail("the server does not end\n" + self.text())
        self.ended = True
        return status

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def no_descriptor_is_left(self):
        """With all clients gone, it holds no more descriptors than when it was ready."""
        if self.strangers:
            return
        eventually(lambda: self.descriptors() <= self.own_descriptors or not self.running(),
                   f"the server gives its descriptors back; at first there were {self.own_descriptors}", LIMIT * 2)

    # ---- its end

    def kill(self):
        for c in self.clients:
            c.cut()
        self.clients.clear()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self):
        if self in LIVE:
            LIVE.remove(self)
        self.output.close()
        shutil.rmtree(self.scratch.path, ignore_errors=True)

    def stop(self):
        """SIGTERM, as an administrator would send it. Only exit status 0 is right."""
        for c in self.clients:
            c.cut()
        self.clients.clear()
        if not self.ended:
            early = self.process.poll()
            if early is not None:
                fail("the server ended by itself: exit status", early, "\n" + self.text())
            self.no_descriptor_is_left()
            self.signal(signal.SIGTERM)
            status = self.wait()
            if status != 0:
                fail("exit status", status, "after SIGTERM\n" + self.text())
        no_sanitizer(self.text())

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            value.server_log = self.text()
            self.kill()
            return
        try:
            self.stop()
        except BaseException as e:
            e.server_log = self.text()
            raise
        finally:
            self.kill()

    # ---- clients, closed with the server

    def keep(self, client):
        self.clients.append(client)
        return client

    def ws(self, user=None, **options):
        return self.keep(Ws(self.address, user, **options))

    def sse(self, user=None, **options):
        return self.keep(Sse(self.address, user, **options))

    def http(self, **options):
        return self.keep(Http(self.address, **options))

    def ask(self, method, path, body=None, headers=()):
        """One request on a connection of its own."""
        with Http(self.address) as h:
            return h.ask(method, path, body, headers)

    def get(self, path, **headers):
        return self.ask("GET", path, headers=_headers(headers))

    def post(self, path, body, **headers):
        return self.ask("POST", path, body, headers=_headers(headers))

    def send(self, sender, to, content=None, **more):
        """POST send; returns the answer."""
        return self.post(API + "/send", _body(to=to, content=content, **more), X_User_ID=sender)

    def broadcast(self, content=None, sender=None, **more):
        return self.post(API + "/broadcast", _body(content=content, **more),
                         **({"X_User_ID": sender} if sender else {}))

    def online(self, query=""):
        return success(self.get(API + "/online" + query))["data"]

    def stats(self):
        return success(self.get(API + "/stats"))["data"]

    def metrics(self):
        a = self.ask("GET", "/metrics", headers=[("Host", "localhost")])
        eq(a.status, 200, a)
        return Metrics(a.body.decode())

    def is_online(self, user):
        users = self.online("?" + urllib.parse.urlencode({"user_id": user}))["users"]
        return users[0]["connections"] if users[0]["status"] == "connected" else 0

    def gone(self, user, limit=None):
        eventually(lambda: not self.is_online(user), f"{user} leaves", limit)


def _headers(d):
    return [(k.replace("_", "-"), v) for k, v in d.items()]


def _body(**keys):
    return {k: v for k, v in keys.items() if v is not None}


_shared = {}


def shared(**config):
    """A running server with this configuration, kept for all tests of this process: no broadcasts, no stop."""
    key = json.dumps(config, sort_keys=True)
    server = _shared.get(key)
    if server and not server.running():
        del _shared[key]
        server.kill()
        server = None
    if not server:
        server = _shared[key] = Server(config)
    return server


def new_test():
    """Cuts the clients that the last test left on the shared servers; from here on their logs are the next test's."""
    for server in _shared.values():
        for c in server.clients:
            c.cut()
        server.clients.clear()
        if server.running():
            server.mark = len(server.text())


def stop_shared():
    """Ends the servers that shared() has started, as strictly as any other."""
    while _shared:
        _, server = _shared.popitem()
        try:
            server.stop()
        finally:
            server.kill()


# ---- bytes -----------------------------------------------------------------------------------------------------------


class Stream:
    """A socket with a buffer: the base of all clients."""

    def __init__(self, address, rcvbuf=None, source=None):
        unix = isinstance(address, str)
        family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if getattr(address, "context", None):
            self.sock = Secure(self.sock, address.context)
        self.buffer = b""
        self.ended = False
        self.address = address

    def send_raw(self, data):
        self.sock.sendall(data)

    def send_slowly(self, data):
        """One byte at a time, so that every cut is tried."""
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])

    def fill(self):
        """Waits for more bytes. False: the peer has closed."""
        if self.ended:
            return False
        try:
            more = self.sock.recv(1 << 16)
        except socket.timeout:
            fail(f"nothing came within {LIMIT:.0f} s; so far: {self.buffer[-300:]!r}")
        except (ConnectionError, ssl.SSLError):
            more = b""
        self.buffer += more
        self.ended = not more
        return bool(more)

    def take(self, n):
        while len(self.buffer) < n:
            ok(self.fill(), f"the connection ended; {n} bytes were expected, there are {self.buffer!r}")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def take_until(self, mark):
        while mark not in self.buffer:
            ok(self.fill(), f"the connection ended; {mark!r} was expected behind {self.buffer[-300:]!r}")
        data, self.buffer = self.buffer.split(mark, 1)
        return data

    def has_input(self):
        """Are there bytes now, without waiting?"""
        return bool(self.buffer) or (isinstance(self.sock, Secure) and bool(self.sock.pending())) or \
            bool(select.select([self.sock], [], [], 0)[0])

    def expect_end(self):
        """Nothing more comes but the end."""
        while self.fill():
            pass
        eq(self.buffer, b"", "bytes before the end of the connection")

    def shut(self):
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self):
        self.sock.close()

    def reset(self):
        """Ends with RST, as a crashed peer does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()


# ---- HTTP ------------------------------------------------------------------------------------------------------------


class Answer:
    """status, reason, headers (list of pairs, names as sent), body (bytes); json() and header(name)."""

    def __init__(self, head):
        lines = head.split(b"\r\n")
        m = re.fullmatch(rb"HTTP/1\.1 (\d{3}) ([\x20-\x7e]+)", lines[0])
        ok(m, "not a status line:", lines[0])
        self.status, self.reason = int(m[1]), m[2].decode()
        self.headers = []
        for line in lines[1:]:
            m = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)", line)
            ok(m, "not a header line:", line)
            self.headers.append((m[1].decode(), m[2].decode("latin-1")))
        self.body = b""
        self.length = self.header("Content-Length")

    def all(self, field):
        return [v for k, v in self.headers if k.lower() == field.lower()]

    def header(self, field):
        values = self.all(field)
        ok(len(values) < 2, field, "is there twice:", values)
        return values[0] if values else None

    def json(self):
        eq((self.header("Content-Type") or "").split(";")[0], "application/json", "Content-Type of", self)
        return parse(self.body.decode())

    def __repr__(self):
        return f"{self.status} {self.reason} {self.headers} {self.body[:500]!r}"


def _encode(body):
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body).encode()


class Http(Stream):
    """A connection that speaks HTTP/1.1, kept alive."""

    def build(self, method, path, body=None, headers=(), host=None):
        """The bytes of a request. A body gets its Content-Length unless a length or an encoding is among @headers."""
        body = _encode(body)
        if host is None:
            host = "localhost" if isinstance(self.address, str) else \
                ("[{}]:{}" if ":" in self.address[0] else "{}:{}").format(*self.address)
        lines = [f"{method} {path} HTTP/1.1"]
        names = {k.lower() for k, _ in headers}
        if "host" not in names:
            lines.append(f"Host: {host}")
        lines += [f"{k}: {v}" for k, v in headers]
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")

    def ask(self, method, path, body=None, headers=(), host=None):
        self.send_raw(self.build(method, path, body, headers, host))
        return self.answer(method == "HEAD")

    def head(self):
        return Answer(self.take_until(b"\r\n\r\n"))

    def answer(self, head_only=False):
        a = self.head()
        if a.status >= 200 and a.status not in (204, 304):
            ok(a.length and a.length.isdigit(), "no Content-Length in", a)
            if not head_only:
                a.body = self.take(int(a.length))
        else:
            ok(a.length is None, "a Content-Length does not belong in", a)
        return a


def success(answer, message=None):
    """The body of a success in its envelope."""
    eq(answer.status, 200, "status of", answer)
    body = answer.json()
    ok(body.get("success") is True, "not a success:", body)
    ok(isinstance(body.get("message"), str) and body["message"], "message in", body)
    ok(isinstance(body.get("data"), dict), "data in", body)
    ok("error" not in body, "error in a success:", body)
    return body


def failure(answer, status, code, text=None):
    """The body of a failure in its envelope, with exactly this status and code; @text stands in `error`."""
    eq(answer.status, status, "status of", answer)
    body = answer.json()
    eq(set(body), {"success", "error", "message", "code"}, "keys of", body)
    ok(body["success"] is False and body["message"] is None, body)
    ok(isinstance(body["error"], str) and body["error"], "error in", body)
    eq(body["code"], code, body)
    if text is not None:
        has(body["error"], text)
    return body


class Metrics:
    """A scrape, as Prometheus's own parser reads it. m("wsc_connections", transport="sse") is one sample;
    m("wsc_connections") is the sum of the samples that have at least these labels, 0 when there is none."""

    def __init__(self, text):
        self.families = {f.name: f for f in parser.text_string_to_metric_families(text)}
        self.samples = [s for f in self.families.values() for s in f.samples]

    def __call__(self, name, **labels):
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def by(self, name, *labels):
        """{label value: value} of the samples that are not 0; with several labels the keys are tuples."""
        found = [s for s in self.samples if s.name == name and s.value]
        return {s.labels[labels[0]] if len(labels) == 1 else tuple(s.labels[k] for k in labels): s.value
                for s in found}


# ---- WebSocket -------------------------------------------------------------------------------------------------------

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class Closed(Exception):
    """A close frame has come where a message was expected."""

    def __init__(self, code, reason):
        super().__init__(f"closed by the server: {code} {reason}")
        self.code, self.reason = code, reason


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True, length=None):
    """One frame. mask: True (a random key), four bytes, or None (unmasked). length: 7, 16 or 64 forces that form."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    n = len(payload)
    form = length or (7 if n < 126 else 16 if n < 65536 else 64)
    bit = 0 if mask is None else 0x80
    if form == 7:
        head = struct.pack("!BB", first, bit | n)
    elif form == 16:
        head = struct.pack("!BBH", first, bit | 126, n)
    else:
        head = struct.pack("!BBQ", first, bit | 127, n)
    if mask is None:
        return head + payload
    key = os.urandom(4) if mask is True else mask
    return head + key + bytes(b ^ key[i & 3] for i, b in enumerate(payload))


def close_payload(code, reason=""):
    return struct.pack("!H", code) + reason.encode()


class Ws(Stream):
    """A WebSocket client. The handshake is checked in the constructor unless check=False: then read `answer` yourself.

    user       for ?user_id=; query: more of it (a dict or a text); headers: pairs; protocols: offered subprotocols
    rcvbuf     a small receive buffer makes a reader that is soon full
    """

    def __init__(self, address, user=None, query=None, headers=(), path="/ws", protocols=(), rcvbuf=None, source=None,
                 key=None, check=True, pong=True, preface=b"", behind=b""):
        super().__init__(address, rcvbuf, source)
        self.user, self.pong, self.closed = user, pong, None
        self.key = key or base64.b64encode(os.urandom(16)).decode()
        if not isinstance(query, str):
            items = ([("user_id", user)] if user is not None else []) + list((query or {}).items())
            query = urllib.parse.urlencode(items)
        lines = [f"GET {path}{'?' if query else ''}{query} HTTP/1.1"]
        names = {k.lower() for k, _ in headers}
        for k, v in (("Host", "127.0.0.1"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                     ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", self.key)):
            if k.lower() not in names:
                lines.append(f"{k}: {v}")
        lines += [f"{k}: {v}" for k, v in headers if v is not None]
        if protocols:
            lines.append("Sec-WebSocket-Protocol: " + ", ".join(protocols))
        self.send_raw(preface + "\r\n".join(lines).encode() + b"\r\n\r\n" + behind)
        self.answer = Answer(self.take_until(b"\r\n\r\n"))
        if check:
            self.check(protocols)
        elif self.answer.status != 101 and self.answer.length:
            self.answer.body = self.take(int(self.answer.length))

    def check(self, protocols=()):
        a = self.answer
        if a.status != 101:
            a.body = self.take(int(a.length or 0))
            fail("no upgrade:", a)
        accept = base64.b64encode(hashlib.sha1((self.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        eq(a.header("Sec-WebSocket-Accept"), accept.decode())
        eq(a.header("Upgrade").lower(), "websocket")
        eq(a.header("Connection").lower(), "upgrade")
        eq(a.header("Sec-WebSocket-Protocol"), "wsc.v1" if "wsc.v1" in protocols else None)
        eq(a.header("Sec-WebSocket-Extensions"), None)
        ok(a.length is None, "a 101 has no length:", a)

    # ---- out

    def send_frame(self, opcode, payload=b"", **how):
        self.send_raw(frame(opcode, payload, **how))

    def send_text(self, text, **how):
        self.send_frame(TEXT, text if isinstance(text, bytes) else text.encode(), **how)

    def send(self, **keys):
        """A message; from_ stands for from."""
        if "from_" in keys:
            keys["from"] = keys.pop("from_")
        self.send_text(json.dumps(keys))

    # ---- in

    def recv_frame(self):
        """The next frame: (opcode, payload, fin). Strict about everything a server must do."""
        first, second = self.take(2)
        opcode, fin, n = first & 15, bool(first & 0x80), second & 0x7f
        ok(not first & 0x70, "reserved bits in a frame")
        ok(not second & 0x80, "a server must not mask")
        if n == 126:
            n, = struct.unpack("!H", self.take(2))
            ok(n > 125, "length in a longer form than needed")
        elif n == 127:
            n, = struct.unpack("!Q", self.take(8))
            ok(n > 65535, "length in a longer form than needed")
        ok(opcode in (0, 1, 2, 8, 9, 10), "opcode", opcode)
        if opcode >= 8:
            ok(fin and n <= 125, "a control frame that is split or too long")
        ok(not self.closed, "a frame behind the close frame")
        payload = self.take(n)
        if opcode == CLOSE:
            ok(len(payload) != 1, "a close frame of one byte")
            code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self.closed = Closed(code, payload[2:].decode())
        return opcode, payload, fin

    def recv_text(self):
        """The next text; pings on the way are answered. A close frame is answered and raised as Closed."""
        while True:
            opcode, payload, fin = self.recv_frame()
            if opcode == PING:
                if self.pong:
                    self.send_frame(PONG, payload)
                continue
            if opcode == CLOSE:
                self.answer_close()
                raise self.closed
            if opcode == PONG:
                continue
            ok(opcode == TEXT and fin, "the server sends whole texts, this is opcode", opcode, fin)
            return payload.decode()

    def answer_close(self):
        try:
            self.send_frame(CLOSE, struct.pack("!H", self.closed.code) if self.closed.code != 1005 else b"")
        except OSError:
            pass

    def recv(self, type=None, **keys):
        """The next message, as a dict. With arguments: they must be so. Its text stays in self.last."""
        self.last = self.recv_text()
        m = is_message(parse(self.last), self.last)
        if type is not None:
            keys["type"] = type
        if "from_" in keys:
            keys["from"] = keys.pop("from_")
        for k, v in keys.items():
            ok(k in m and m[k] == v and m[k].__class__ is v.__class__, f"{k} should be {v!r} in {self.last}")
        return m

    def recv_until(self, content):
        """All messages up to the one with this content, which is not among them."""
        out = []
        while True:
            m = self.recv()
            if m["content"] == content:
                return out
            out.append(m)

    def expect_error(self, code, ref=None, text=None):
        """The next message is an error frame with this code, about the message @ref (None: whatever it says)."""
        m = self.recv("error", from_="system", to=self.user)
        eq(m["data"]["code"], code, self.last)
        if ref is not None:
            eq(m["data"].get("ref"), ref, "ref in", self.last)
        ok(m["content"], "an error without a sentence:", self.last)
        if text is not None:
            has(m["content"], text)
        return m

    def quiet(self):
        """Nothing has come for this connection so far: a ping's answer is the next thing."""
        self.send_text("ping")
        eq(self.recv_text(), "pong", "something came before the answer to a ping")

    def expect_close(self, code, reason=None, answer=True):
        """Frames may still come; then the close frame with this code, and after our answer the end."""
        while not self.closed:
            opcode, payload, _ = self.recv_frame()
            if opcode == PING and self.pong:
                self.send_frame(PONG, payload)
        eq(self.closed.code, code, "close code; reason:", self.closed.reason)
        if reason is not None:
            has(self.closed.reason, reason)
        if answer:
            self.answer_close()
            self.expect_end()
        return self.closed.reason

    def close(self, code=1000, reason=""):
        """Our own close; input before the answer is ignored. Returns the server's code."""
        self.send_frame(CLOSE, close_payload(code, reason) if code else b"")
        while not self.closed:
            self.recv_frame()
        self.expect_end()
        return self.closed.code


# ---- SSE -------------------------------------------------------------------------------------------------------------


class Event:
    def __init__(self):
        self.data, self.id, self.event, self.retry, self.comments = None, None, None, None, []

    def __repr__(self):
        return str(self.__dict__)


class Sse(Stream):
    """An event stream. The head and the first event (`connected`, in .connected) are checked unless check=False."""

    def __init__(self, address, user=None, query=None, headers=(), path="/sse", rcvbuf=None, source=None, check=True,
                 skip_connected=True):
        super().__init__(address, rcvbuf, source)
        self.user = user
        items = ([("user_id", user)] if user is not None else []) + list((query or {}).items())
        query = urllib.parse.urlencode(items)
        lines = [f"GET {path}{'?' if query else ''}{query} HTTP/1.1"]
        if "host" not in {k.lower() for k, _ in headers}:
            lines.append("Host: 127.0.0.1")
        lines += ["Accept: text/event-stream"] + [f"{k}: {v}" for k, v in headers]
        self.send_raw("\r\n".join(lines).encode() + b"\r\n\r\n")
        self.answer = Answer(self.take_until(b"\r\n\r\n"))
        if check:
            if self.answer.status != 200:
                self.answer.body = self.take(int(self.answer.length or 0))
                fail("no stream:", self.answer)
            eq(self.answer.header("Content-Type").split(";")[0], "text/event-stream")
            if skip_connected:
                self.connected = self.recv("connected")
        elif self.answer.length:
            self.answer.body = self.take(int(self.answer.length))

    def event(self):
        """The next block of lines, up to an empty one; comments alone are an event without data."""
        e = Event()
        some = False
        while True:
            line = self.take_until(b"\n")
            ok(b"\r" not in line and b"\0" not in line, "a line of the stream:", line)
            if line == b"":
                if some:
                    return e
                continue
            some = True
            field, _, value = line.decode().partition(":")
            if field == "":
                e.comments.append(value)
                continue
            value = value[1:] if value.startswith(" ") else value
            if field == "data":
                ok(e.data is None, "a message takes one data line")
                e.data = value
            elif field == "retry":
                ok(value.isdigit(), "retry:", value)
                e.retry = int(value)
            else:
                ok(field in ("id", "event"), "field of a stream:", line)
                setattr(e, field, value)

    def recv(self, type=None, **keys):
        """The next message; comments and retry are skipped, the event that carried it is in .last_event."""
        while True:
            e = self.event()
            if e.data is not None:
                break
        self.last_event, self.last = e, e.data
        m = is_message(parse(e.data), e.data)
        if type is not None:
            keys["type"] = type
        if "from_" in keys:
            keys["from"] = keys.pop("from_")
        for k, v in keys.items():
            eq(m.get(k), v, k, "in", e.data)
        return m

    def recv_until(self, content):
        out = []
        while True:
            m = self.recv()
            if m["content"] == content:
                return out
            out.append(m)

    def expect_closed(self, code, reconnect):
        """The event `closed`, and the end."""
        m = self.recv("closed", from_="system", to=self.user)
        eq(set(m["data"]), {"code", "reason", "reconnect"}, m)
        eq((m["data"]["code"], m["data"]["reconnect"]), (code, reconnect), m)
        ok(isinstance(m["data"]["reason"], str) and m["data"]["reason"], m)
        self.expect_end()
        return m


# ---- schemas ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def openapi():
    with open(os.path.join(ROOT, "web/openapi.json"), encoding="utf-8") as f:
        return json.load(f)


@functools.lru_cache(maxsize=None)
def asyncapi():
    with open(os.path.join(ROOT, "web/asyncapi.json"), encoding="utf-8") as f:
        return json.load(f)


def fits(value, document, pointer):
    """Is @value what the schema at @pointer ("#/components/schemas/Failure") of @document allows?"""
    import jsonschema
    schema = {"$ref": pointer, "components": document["components"], "paths": document.get("paths", {})}
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    faults = sorted(validator.iter_errors(value), key=lambda e: list(e.path))
    if faults:
        fail(f"{json.dumps(value)[:600]} does not fit {pointer}: " + "; ".join(f.message[:300] for f in faults[:3]))
