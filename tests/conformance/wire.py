# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client that can do everything wrong: sockets, handshake, frames and permessage-deflate from the RFCs.

It shares no code with the server and none with the end-to-end tests. It sends whatever a case says, in whatever cuts;
the bytes that arrive must be exactly right (RFC 6455 §5, RFC 7692 §6), or they are a Fault. Nothing here knows what a
case expects: judge.py does. Sending never waits for a peer that does not read unless the peer owes nothing: bytes that
arrive meanwhile are read and kept.

LIMIT is how long nothing may come where something must. It is generous, and no case is slower for it unless it fails.
"""
import base64
import collections
import hashlib
import os
import re
import select
import socket
import ssl
import struct
import time
import zlib

LIMIT = 90.0 if os.environ.get("TEST_SLOW") else 30.0
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TAIL = b"\x00\x00\xff\xff"
NAMES = {TEXT: "text", BINARY: "binary", PING: "ping", PONG: "pong"}


class Fault(Exception):
    """The server did something that no server may do, or something that a case needs did not happen."""

    def __init__(self, note, verdict="FAILED"):
        super().__init__(note)
        self.verdict = verdict


# ---- frames ----------------------------------------------------------------------------------------------------------


def mask(data, key):
    """XORs @data with the four bytes of @key, over and over (RFC 6455 §5.3)."""
    n = len(data)
    if n == 0 or key == b"\0\0\0\0":
        return bytes(data)
    pad = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(n, "little")


def header(opcode, length, fin=True, rsv=0, masked=True, form=None):
    """The bytes in front of key and payload. form: 7, 16 or 64 forces that form of the length."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if masked else 0
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    if form == 7:
        return struct.pack("!BB", first, bit | length)
    if form == 16:
        return struct.pack("!BBH", first, bit | 126, length)
    return struct.pack("!BBQ", first, bit | 127, length)


def frame(opcode, payload=b"", fin=True, rsv=0, key=None, form=None, masked=True):
    """One frame with a random key, or with @key; masked=False leaves key and masking out."""
    head = header(opcode, len(payload), fin, rsv, masked, form)
    if not masked:
        return head + payload
    key = os.urandom(4) if key is None else key
    return head + key + mask(payload, key)


def fragments(opcode, payload, size, rsv=0):
    """A message in frames of @size bytes, as one run of bytes."""
    if len(payload) <= size:
        return frame(opcode, payload, rsv=rsv)
    key = os.urandom(4)
    whole = size % 4 == 0
    data = memoryview(mask(payload, key) if whole else payload)
    out = [header(opcode, size, False, rsv), key, data[:size] if whole else mask(data[:size], key)]
    middle = header(CONT, size, False) + key
    at = size
    while at + size < len(payload):
        out.append(middle)
        out.append(data[at:at + size] if whole else mask(data[at:at + size], key))
        at += size
    rest = len(payload) - at
    out += [header(CONT, rest), key, data[at:] if whole else mask(data[at:], key)]
    return b"".join(out)


def close_payload(code, reason=b""):
    return struct.pack("!H", code) + (reason.encode() if isinstance(reason, str) else reason)


def code_valid(code):
    """May stand in a close frame (RFC 6455 §7.4 and the IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# ---- permessage-deflate ----------------------------------------------------------------------------------------------


class Deflate:
    """The client's side of one agreed permessage-deflate (RFC 7692 §7): the server's answer decides."""

    def __init__(self, server_bits=15, client_bits=15, server_forgets=False, client_forgets=False, level=6):
        self.server_bits, self.client_bits = server_bits, client_bits
        self.server_forgets, self.client_forgets, self.level = server_forgets, client_forgets, level
        self.packer = self.unpacker = None

    def pack(self, payload):
        if not self.packer or self.client_forgets:
            # zlib has no raw window of 256 bytes; with 512 it never looks back further than 250 (MAX_DIST).
            self.packer = zlib.compressobj(self.level, zlib.DEFLATED, -max(self.client_bits, 9))
        data = self.packer.compress(payload) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4] if data.endswith(TAIL) and len(data) > 4 else b"\0"

    def unpack(self, payload):
        if not self.unpacker or self.server_forgets:
            self.unpacker = zlib.decompressobj(-self.server_bits)
        if self.unpacker.eof:  # a final block has ended the stream before: the next one begins afresh (§7.2.3.4)
            self.unpacker = zlib.decompressobj(-self.server_bits)
        try:
            if self.server_bits == 15:
                return self.unpacker.decompress(payload + TAIL)
            # In small steps, or zlib would look back into its latest output instead of into its window.
            out, data = [], payload + TAIL
            while True:
                piece = self.unpacker.decompress(data, 64)
                out.append(piece)
                data = self.unpacker.unconsumed_tail
                if not data and len(piece) < 64:
                    return b"".join(out)
        except zlib.error as e:
            raise Fault(f"the server's message does not inflate: {e}")


def offer(server_bits=None, client_bits=None, server_forgets=False, client_forgets=False):
    """The text of one offer; client_bits True: the parameter without a value."""
    parts = ["permessage-deflate"]
    if server_forgets:
        parts.append("server_no_context_takeover")
    if client_forgets:
        parts.append("client_no_context_takeover")
    if server_bits:
        parts.append(f"server_max_window_bits={server_bits}")
    if client_bits:
        parts.append("client_max_window_bits" + ("" if client_bits is True else f"={client_bits}"))
    return "; ".join(parts)


def elements(lines):
    """The elements of comma lists, commas inside quoted strings left alone."""
    return [e.strip() for line in lines for e in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")+', line) if e.strip()]


def agreed(answer, offers):
    """The Deflate that the server's header agrees to, None without one. An answer that the RFC forbids is a Fault."""
    if answer is None:
        return None
    name, *params = [p.strip() for p in answer.split(";")]
    if name != "permessage-deflate":
        raise Fault(f"the server agrees to what nobody offered: {answer}")
    have = {}
    for p in params:
        key, eq, value = (s.strip() for s in p.partition("="))
        value = value.strip('"')
        if key in have:
            raise Fault(f"{key} twice in {answer}")
        have[key] = value if eq else None
        if key.endswith("_no_context_takeover") and key[:6] in ("server", "client"):
            good = not eq
        elif key in ("server_max_window_bits", "client_max_window_bits"):
            good = bool(eq) and re.fullmatch(r"[89]|1[0-5]", value)
        else:
            good = False
        if not good:
            raise Fault(f"{p} may not stand in an answer: {answer}")
    if not any(fits(o, have) for o in elements(offers)):
        raise Fault(f"{answer} is an answer to none of {offers}")
    return Deflate(int(have.get("server_max_window_bits") or 15), int(have.get("client_max_window_bits") or 15),
                   "server_no_context_takeover" in have, "client_no_context_takeover" in have)


BITS = r'"?([89]|1[0-5])"?'
PARAMETERS = {"server_no_context_takeover": "", "client_no_context_takeover": "",
              "server_max_window_bits": "=" + BITS, "client_max_window_bits": f"(=\\s*{BITS})?"}


def fits(offered, have):
    """Is this offer one that may be agreed to (§7.1), and may the answer be @have?"""
    name, *params = [p.strip() for p in offered.split(";")]
    asked = {}
    for p in params:
        key = re.split(r"\s*=", p)[0]
        if key in asked or key not in PARAMETERS or not re.fullmatch(PARAMETERS[key], p[len(key):].replace(" ", "")):
            return False
        asked[key] = re.sub(r"\D", "", p[len(key):])
    if name != "permessage-deflate":
        return False
    if "server_no_context_takeover" in asked and "server_no_context_takeover" not in have:
        return False
    if "server_max_window_bits" in asked:
        if int(have.get("server_max_window_bits") or 99) > int(asked["server_max_window_bits"]):
            return False
    return "client_max_window_bits" in asked or "client_max_window_bits" not in have


# ---- HTTP answers ----------------------------------------------------------------------------------------------------


class Answer:
    """The head of an answer: status, headers (pairs), body."""

    def __init__(self, head):
        lines = head.split(b"\r\n")
        m = re.fullmatch(rb"HTTP/1\.1 (\d{3}) ([\x20-\x7e]*)", lines[0])
        if not m:
            raise Fault(f"not a status line: {lines[0][:100]!r}")
        self.status = int(m[1])
        self.headers = []
        for line in lines[1:]:
            m = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*", line)
            if not m:
                raise Fault(f"not a header line: {line[:100]!r}")
            self.headers.append((m[1].decode().lower(), m[2].decode("latin-1")))
        self.body = b""

    def all(self, name):
        return [v for k, v in self.headers if k == name.lower()]

    def one(self, name):
        values = self.all(name)
        if len(values) > 1:
            raise Fault(f"{name} is there {len(values)} times in the answer")
        return values[0] if values else None


# ---- a connection ----------------------------------------------------------------------------------------------------

# tls: None or an ssl.SSLContext; pid: of the server, when it is one of ours
Target = collections.namedtuple("Target", "host port path tls pid", defaults=(None, None))


class Peer:
    """One connection. Events (see event()) are tuples whose first member is text, binary, ping, pong, close or end."""

    def __init__(self, target, rcvbuf=None, limit=None):
        self.target, self.limit = target, limit or LIMIT
        raw = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET)
        raw.settimeout(self.limit)
        if rcvbuf:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        raw.connect((target.host, target.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = raw.getsockname()
        if target.tls:
            raw = target.tls.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
        raw.setblocking(False)
        self.sock = raw
        self.inp = bytearray()
        self.ended = None     # None, "end" (FIN), "reset", or "cut" (a TLS stream without close_notify)
        self.broken = False   # nothing can be sent any more
        self.deflate = None
        self.answer = None
        self.closed = None    # the server's close event
        self.said_close = False
        self.parts, self.kind, self.packed = [], None, False
        self.last_packed = False  # the last message came compressed
        self.frames = 0       # data frames of the last message

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    # ---- bytes

    def _read(self):
        """Takes the bytes that are there. False: none were."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except ssl.SSLEOFError:
            self.ended = "cut"
            return False
        except (ssl.SSLError, OSError):
            self.ended = "reset"
            return False
        if not data:
            self.ended = "end"
            return False
        self.inp += data
        return True

    def fill(self, seconds=None):
        """Waits for more bytes. False: the connection has ended. Time over is a Fault, or None with @seconds given."""
        end = time.monotonic() + (self.limit if seconds is None else seconds)
        while not self._read():
            if self.ended:
                return False
            left = end - time.monotonic()
            if left <= 0:
                if seconds is not None:
                    return None
                raise Fault(f"nothing came within {self.limit:.0f} s")
            poll = select.poll()
            poll.register(self.sock, select.POLLIN)
            poll.poll(left * 1000)
        return True

    def send(self, data, chop=None):
        """Sends all of it, in writes of @chop bytes. A connection that the server has ended swallows the rest."""
        view = memoryview(data)
        step = chop or 1 << 18
        end = time.monotonic() + self.limit
        for at in range(0, len(view), step):
            piece = view[at:at + step]
            while piece and not self.broken:
                try:
                    n = self.sock.send(piece)
                    piece = piece[n:]
                    end = time.monotonic() + self.limit
                    continue
                except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    pass
                except (ssl.SSLError, OSError):
                    self.broken = True
                    return
                if self._read():
                    end = time.monotonic() + self.limit
                    continue
                if time.monotonic() > end:
                    raise Fault(f"the server took no bytes for {self.limit:.0f} s")
                poll = select.poll()
                poll.register(self.sock, select.POLLOUT | (0 if self.ended else select.POLLIN))
                poll.poll(1000)

    def push(self, data):
        """Sends what the kernel takes now, without reading; the number of bytes."""
        try:
            return self.sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except (ssl.SSLError, OSError):
            self.broken = True
            return 0

    def shut(self):
        """No more bytes from us: FIN, with the other direction open."""
        self.sock.shutdown(socket.SHUT_WR)
        self.broken = True

    def reset(self):
        """Ends with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.ended = "reset"

    def take(self, n):
        """@n bytes, or None when the connection ends before."""
        while len(self.inp) < n:
            if not self.fill():
                return None
        data = bytes(self.inp[:n])
        del self.inp[:n]
        return data

    # ---- handshake

    def request(self, key, offers=(), protocols=(), headers=(), method="GET", query="", drop=()):
        """The bytes of a handshake. headers: more lines (pairs); drop: names of ours that are left out."""
        t = self.target
        lines = [f"{method} {t.path}{query} HTTP/1.1"]
        for k, v in (("Host", f"{t.host}:{t.port}"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                     ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)):
            if k.lower() not in drop:
                lines.append(f"{k}: {v}")
        if protocols:
            lines.append("Sec-WebSocket-Protocol: " + ", ".join(protocols))
        lines += [f"Sec-WebSocket-Extensions: {o}" for o in offers]
        lines += [f"{k}: {v}" for k, v in headers]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def read_answer(self):
        """The head of the server's answer, and its body when it is no 101."""
        while b"\r\n\r\n" not in self.inp:
            if len(self.inp) > 1 << 17:
                raise Fault("the head of the answer does not end")
            if not self.fill():
                raise Fault(f"the connection ended instead of an answer: {bytes(self.inp[:200])!r}")
        head, _, rest = bytes(self.inp).partition(b"\r\n\r\n")
        self.inp = bytearray(rest)
        self.answer = a = Answer(head)
        if a.status != 101:
            a.body = self.take(int(a.one("content-length") or 0)) or b""
        return a

    def check_upgrade(self, key, offers=(), protocols=()):
        """The answer agrees to the handshake, in every field that RFC 6455 §4.2.2 has."""
        a = self.answer
        if a.status != 101:
            raise Fault(f"no upgrade: {a.status} {a.body[:200]!r}")
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        if a.one("sec-websocket-accept") != accept:
            raise Fault(f"Sec-WebSocket-Accept is {a.one('sec-websocket-accept')}, not {accept}")
        if (a.one("upgrade") or "").lower() != "websocket":
            raise Fault(f"Upgrade is {a.one('upgrade')}")
        if "upgrade" not in [v.strip().lower() for v in (a.one("connection") or "").split(",")]:
            raise Fault(f"Connection is {a.one('connection')}")
        if a.all("content-length") or a.all("transfer-encoding"):
            raise Fault("a 101 has no body")
        chosen = a.one("sec-websocket-protocol")
        if chosen is not None and chosen not in protocols:
            raise Fault(f"the server chose a subprotocol that nobody offered: {chosen}")
        self.deflate = agreed(a.one("sec-websocket-extensions"), offers)

    def shake(self, offers=(), protocols=(), headers=(), query="", key=None, behind=b""):
        """The whole handshake; @behind is sent with it, in the same write."""
        key = key or base64.b64encode(os.urandom(16)).decode()
        self.send(self.request(key, offers, protocols, headers, query=query) + behind)
        self.read_answer()
        self.check_upgrade(key, offers, protocols)
        return self

    # ---- frames and events

    def _frame(self):
        """(fin, rsv, opcode, payload) of the next frame, None at the end of the connection."""
        head = self.take(2)
        if head is None:
            if self.inp:
                raise Fault(f"the connection ended inside a frame header: {bytes(self.inp)!r}")
            return None
        first, n = head
        if n & 0x80:
            raise Fault("a frame of the server is masked (RFC 6455 §5.1)")
        more = self.take(2 if n == 126 else 8) if n > 125 else b""
        if more is None:
            raise Fault("the connection ended inside a frame header")
        if n > 125:
            n = int.from_bytes(more, "big")
            if n < 126 or (len(more) == 8 and n < 65536) or n >> 63:
                raise Fault("a frame of the server has its length in a longer form than needed (§5.2)")
        payload = self.take(n)
        if payload is None:
            raise Fault(f"the connection ended inside a frame: {len(self.inp)} of {n} bytes")
        return bool(first & 0x80), first >> 4 & 7, first & 15, payload

    def _control(self, fin, rsv, opcode, payload):
        if not fin or len(payload) > 125:
            raise Fault("a control frame of the server is split or longer than 125 bytes (§5.5)")
        if rsv:
            raise Fault("a control frame of the server has a reserved bit")
        if opcode != CLOSE:
            return NAMES[opcode], payload
        if len(payload) == 1:
            raise Fault("a close frame of the server has half a code")
        code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        if payload and not code_valid(code):
            raise Fault(f"the server sends the close code {code}")
        try:
            reason = payload[2:].decode()
        except UnicodeDecodeError:
            raise Fault("the reason in the server's close frame is not UTF-8")
        self.closed = ("close", code, reason)
        return self.closed

    def _data(self, fin, rsv, opcode, payload):
        """A whole message, or None while it is not at its end."""
        if (opcode == CONT) == (self.kind is None):
            raise Fault("a continuation of nothing, or a new message inside another (§5.4)")
        if opcode != CONT:
            self.kind, self.parts, self.packed = opcode, [], bool(rsv & 4)
        if rsv & 3 or (rsv and (opcode == CONT or not self.deflate)):
            raise Fault(f"the server sets reserved bits: {rsv} (§5.2)")
        self.parts.append(payload)
        if not fin:
            return None
        data = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        kind, self.kind, self.frames = self.kind, None, len(self.parts)
        self.parts, self.last_packed = [], self.packed
        if self.packed:
            data = self.deflate.unpack(data)
        if kind == TEXT:
            try:
                data.decode()
            except UnicodeDecodeError:
                raise Fault("a text of the server is not UTF-8 (§8.1)")
        return NAMES[kind], data

    def event(self):
        """The next event. ("end", how) once the connection is over."""
        while True:
            got = self._frame()
            if got is None:
                return "end", self.ended
            fin, rsv, opcode, payload = got
            if self.closed:
                raise Fault("a frame of the server behind its close frame (§5.5.1)")
            if opcode in (CLOSE, PING, PONG):
                return self._control(fin, rsv, opcode, payload)
            if opcode not in (CONT, TEXT, BINARY):
                raise Fault(f"the server sends opcode {opcode}")
            message = self._data(fin, rsv, opcode, payload)
            if message:
                return message

    def send_close(self, code=1000, reason=b""):
        self.said_close = True
        self.send(frame(CLOSE, close_payload(code, reason) if code is not None else b""))

    def encode(self, opcode, payload, size=None, key=None):
        """The bytes of a message, compressed if that is agreed on, in frames of @size bytes."""
        rsv = 0
        if self.deflate:
            payload, rsv = self.deflate.pack(payload), 4
        if size:
            return fragments(opcode, payload, size, rsv)
        return frame(opcode, payload, rsv=rsv, key=key)
