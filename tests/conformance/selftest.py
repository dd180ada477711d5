# SPDX-License-Identifier: Apache-2.0
"""Group 0: the suite judges servers that each have one flaw, so that it is known to see flaws.

Flawed is a small echo server without any, until it is told to have one. Each case of this group runs a case of the
other groups against it, and passes when the verdict is the one that the flaw deserves.
"""
import base64
import collections
import hashlib
import pathlib
import re
import socket
import struct
import threading
import zlib

import judge
from judge import FAILED, NON_STRICT, OK, UNIMPLEMENTED, WRONG_CODE, add
from wire import BINARY, CLOSE, CONT, GUID, PING, PONG, TAIL, TEXT, Fault, Target, code_valid, mask

# flaw, case that has to see it, verdict
FLAWS = [
    ("none", "1.1.2", OK), ("none", "1.2.6", OK), ("none", "2.10", OK), ("none", "3.2", OK), ("none", "5.8", OK),
    ("none", "6.2.3", OK), ("none", "6.3.1", OK), ("none", "6.4.2", OK), ("none", "7.3.2", OK), ("none", "7.9.4", OK),
    ("none", "12.1.4", OK), ("none", "13.2.4", OK), ("none", "20.1.1", OK), ("none", "29.2.2", OK),
    ("masks its frames", "1.1.2", FAILED),
    ("writes lengths longer than needed", "1.1.2", FAILED),
    ("loses a byte", "1.1.6", FAILED),
    ("answers binary with text", "1.2.2", FAILED),
    ("sends what is not UTF-8", "1.1.2", FAILED),
    ("sets RSV1 without agreement", "1.1.2", FAILED),
    ("splits its pongs", "2.2", FAILED),
    ("sends no pongs", "2.2", FAILED),
    ("sends pongs in the wrong order", "2.10", FAILED),
    ("drops the connection without a close frame", "3.1", FAILED),
    ("closes with 1000 whatever happens", "3.1", WRONG_CODE),
    ("accepts reserved bits", "3.1", FAILED),
    ("forgets what came before the wrong frame", "3.2", NON_STRICT),
    ("starts a message inside another", "5.3", FAILED),
    ("does not look at UTF-8", "6.3.1", FAILED),
    ("looks at UTF-8 only at the end", "6.4.1", NON_STRICT),
    ("looks at UTF-8 only at the end", "6.4.3", NON_STRICT),
    ("answers a close with 1001", "7.7.1", WRONG_CODE),
    ("never answers a close", "7.1.1", FAILED),
    ("never ends TCP", "7.1.1", FAILED),
    ("sends a frame behind its close frame", "7.1.1", FAILED),
    ("puts 1005 into a close frame", "7.3.1", FAILED),
    ("accepts every close code", "7.9.2", FAILED),
    ("answers the handshake with a wrong accept", "20.1.1", FAILED),
    ("chooses a subprotocol that nobody offered", "20.1.1", FAILED),
    ("agrees to no compression", "12.1.1", UNIMPLEMENTED),
    ("agrees to what was not offered", "28.4.7", FAILED),
    ("agrees to compression and compresses nothing", "12.1.4", NON_STRICT),
    ("looks back further than agreed", "29.2.2", FAILED),
    ("remembers what it agreed to forget", "13.2.4", FAILED),
    ("does not inflate continuations", "12.1.14", FAILED),
]


class Flawed:
    """Serves connections until it is closed, one thread each."""

    def __init__(self, flaw):
        self.flaw = flaw
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                Session(sock, self.flaw).run()
            except (OSError, EOFError):
                pass

    def close(self):
        self.listener.close()


class Over(Exception):
    """The connection has to be closed with this code."""


class Session:
    def __init__(self, sock, flaw):
        self.sock, self.flaw, self.inp = sock, flaw, b""
        self.message, self.kind, self.packed, self.held = b"", None, False, []
        self.deflate = False

    def has(self, flaw):
        return self.flaw == flaw

    def take(self, n):
        while len(self.inp) < n:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self.inp += data
        data, self.inp = self.inp[:n], self.inp[n:]
        return data

    def shake(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        head = head.decode()
        key = re.search(r"Sec-WebSocket-Key: (\S+)", head, re.I)[1]
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        if self.has("answers the handshake with a wrong accept"):
            accept = accept.swapcase()
        out = f"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        if self.has("chooses a subprotocol that nobody offered"):
            out += "Sec-WebSocket-Protocol: chat\r\n"
        offered = re.search(r"permessage-deflate[^,\r]*", head)
        if offered and not self.has("agrees to no compression") or self.has("agrees to what was not offered"):
            self.deflate, self.forgets = True, "server_no_context" in head
            bits = re.search(r"server_max_window_bits=(\d+)", head)
            self.bits = int(bits[1]) if bits else 15
            out += "Sec-WebSocket-Extensions: permessage-deflate" + ("; server_no_context_takeover" * self.forgets) \
                + (f"; server_max_window_bits={self.bits}" if bits else "") + "\r\n"
            self.unpacker = zlib.decompressobj(-15)
            self.packer = None
        self.sock.sendall(out.encode() + b"\r\n")

    def pack(self, data):
        if not self.packer or (self.forgets and not self.has("remembers what it agreed to forget")):
            self.packer = zlib.compressobj(6, zlib.DEFLATED,
                                           -15 if self.has("looks back further than agreed") else -self.bits)
        return (self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def send(self, opcode, data, fin=True, rsv=0):
        n = len(data)
        masked = 0x80 if self.has("masks its frames") else 0
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        if n < 126 and not self.has("writes lengths longer than needed"):
            head += bytes([masked | n])
        elif n < 65536:
            head += struct.pack("!BH", masked | 126, n)
        else:
            head += struct.pack("!BQ", masked | 127, n)
        self.sock.sendall(head + (b"abcd" + mask(data, b"abcd") if masked else data))

    def echo(self, kind, data):
        if self.has("forgets what came before the wrong frame"):
            self.held.append((kind, data))
            self.sock.setblocking(False)
            try:
                self.inp += self.sock.recv(1 << 16)
            except BlockingIOError:
                pass
            self.sock.setblocking(True)
            if self.inp:
                return
        if self.has("loses a byte"):
            data = data[:-1]
        if self.has("answers binary with text"):
            kind = TEXT
        if self.has("sends what is not UTF-8"):
            data = b"\xff" * len(data)
        if self.has("starts a message inside another"):
            self.send(kind, data, fin=False)
            self.send(kind, data)
        elif self.deflate and not self.has("agrees to compression and compresses nothing"):
            self.send(kind, self.pack(data), rsv=4)
        else:
            self.send(kind, data, rsv=4 if self.has("sets RSV1 without agreement") else 0)

    def control(self, opcode, data):
        if opcode == PING and self.has("splits its pongs"):
            self.send(PONG, data[:3], fin=False)
            self.send(CONT, data[3:])
        elif opcode == PING and self.has("sends pongs in the wrong order"):
            self.held.append(data)
            if len(self.held) == 10:
                for d in reversed(self.held):
                    self.send(PONG, d)
        elif opcode == PING and not self.has("sends no pongs"):
            self.send(PONG, data)
        elif opcode == CLOSE:
            if len(data) == 1:
                raise Over(1002)
            code = struct.unpack("!H", data[:2])[0] if data else 1000
            if not code_valid(code) and not self.has("accepts every close code"):
                raise Over(1002)
            raise Over(code)

    def utf8(self, whole):
        """Raises Over(1007) for bytes that cannot become UTF-8 any more."""
        if self.kind != TEXT or self.has("does not look at UTF-8") or \
                (self.has("looks at UTF-8 only at the end") and not whole):
            return
        try:
            self.message.decode()
        except UnicodeDecodeError as e:
            if whole or e.reason != "unexpected end of data":
                raise Over(1007)

    def frame(self):
        first, second = self.take(2)
        fin, rsv, opcode, n = first & 0x80, first >> 4 & 7, first & 15, second & 127
        if n > 125:
            n = int.from_bytes(self.take(2 if n == 126 else 8), "big")
        allowed = 4 if self.deflate and opcode in (TEXT, BINARY) else 0
        if rsv & ~allowed and not self.has("accepts reserved bits"):
            raise Over(1002)
        if opcode > PONG or 2 < opcode < 8 or not second & 0x80:
            raise Over(1002)
        if opcode < 8 and (opcode == CONT) == (self.kind is None):
            raise Over(1002)
        if opcode >= 8 and (n > 125 or not fin):
            raise Over(1002)
        key = self.take(4)
        if opcode >= 8:
            self.control(opcode, mask(self.take(n), key))
            return
        if opcode != CONT:
            self.kind, self.message, self.packed = opcode, b"", bool(rsv & 4)
        at = 0
        while at < n:  # as it comes, so that UTF-8 fails early
            piece = self.take(1)
            step = min(n - at - 1, len(self.inp))
            piece += self.take(step)
            self.message += mask(piece, key[at % 4:] + key[:at % 4])
            at += len(piece)
            if not self.packed:
                self.utf8(False)
        if not fin:
            return
        if self.packed and self.has("does not inflate continuations") and opcode == CONT:
            self.packed = False
        if self.packed:
            self.message = self.unpacker.decompress(self.message + TAIL)
        self.utf8(True)
        kind, self.kind = self.kind, None
        self.echo(kind, self.message)

    def run(self):
        try:
            self.shake()
            while True:
                self.frame()
        except Over as e:
            code = e.args[0]
            if self.has("drops the connection without a close frame") or self.has("never answers a close"):
                return
            if self.has("closes with 1000 whatever happens"):
                code = 1000
            if self.has("answers a close with 1001"):
                code = 1001
            if self.has("puts 1005 into a close frame"):
                code = 1005
            self.send(CLOSE, struct.pack("!H", code))
            if self.has("sends a frame behind its close frame"):
                self.send(TEXT, b"behind")
            self.sock.settimeout(3)
            if self.has("never ends TCP"):
                while self.sock.recv(100):
                    pass
            self.sock.shutdown(socket.SHUT_WR)
            while self.sock.recv(1 << 16):
                pass


def judged(flaw, ident, verdict):
    def run(t):
        case = next(c for c in judge.CASES if c.id == ident)
        server = Flawed(flaw)
        try:
            target = Target("127.0.0.1", server.port, "/echo", None)
            got, note = judge.run_case(case, "echo", {case.server: target}, False, limit=1.5 if verdict == FAILED else None)
        finally:
            server.close()
        if got != verdict:
            raise Fault(f"{ident} says {got}: {note}")
        return OK, f"{got}: {note}"
    return run


def table_of_docs(t):
    """docs/conformance.md counts the cases of each group as they are."""
    docs = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
    rows = re.findall(r"^\| (\d+) \| [^|]* \| (\d+) \| \d+ \|", docs.read_text("utf-8"), re.M)
    written = {int(g): int(n) for g, n in rows}
    counted = dict(collections.Counter(c.group for c in judge.CASES))
    if written != counted:
        raise Fault(f"docs/conformance.md says {written}, there are {counted}")
    return OK, ""


def register():
    for i, (flaw, ident, verdict) in enumerate(FLAWS, 1):
        what = "without a flaw" if flaw == "none" else f"that {flaw}"
        add(f"0.1.{i}", "", f"Case {ident} judges a server {what}: {verdict}.", judged(flaw, ident, verdict), ours=True,
            tls=False)
    add("0.2.1", "", "docs/conformance.md counts the cases of each group as they are.", table_of_docs, ours=True,
        tls=False)
