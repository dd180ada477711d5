# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol and X-Forwarded-For: the client address that the gateway believes, and from which peers.

The gateway's debug log names the address of each refused client, so a request for an unknown path shows it.
"""
import itertools
import json
import os
import re

import cases
import lib
from lib import Http, Wrong, eq, eventually, fail

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8:7::/48"]
STRANGER = "127.0.0.2"
QUESTION = b"GET /nothing HTTP/1.1\r\nHost: h\r\n"
WORDS = {"2": "\r\n\r\n\0\r\nQUIT\n", "F": "ffff:" * 7 + "ffff", "v4": "\xcb\0\x71\x05\x7f\0\0\1\x03\xe7\0\x50",
         "v6": "\x20\x01\x0d\xb8" + "\0" * 11 + "\1" + "\0" * 15 + "\1" + "\x03\xe7\0\x50"}


def read():
    """Tuples of name, outcome and bytes."""
    out = []
    with open(os.path.join(cases.HERE, "proxy.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            name, outcome, text = line.split(" | ", 2)
            out += [(full, outcome, data) for full, data in cases.expand(name, text, WORDS)]
    return out


class Gateway:
    """A server that trusts TRUSTED and logs the address of each client that it refuses."""

    def __init__(self):
        self.server = lib.Server({"security": {"trusted_proxies": TRUSTED}}, ["log.level=debug"])
        self.log = open(self.server.scratch / "log", "rb")

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *how):
        self.log.close()
        return self.server.__exit__(*how)

    def refused(self):
        """The address of the one refusal since the last call."""
        found = []

        def look():
            found.extend(json.loads(x) for x in self.log.readlines() if b'"request refused"' in x)
            return found
        eventually(look, "the refusal in the log")
        eq(len(found), 1, "refusals", found)
        return found[0]["address"]

    def ask(self, pieces, source=None):
        """Status of the first answer and the client address that the gateway believed; None when the end came first."""
        with Http(self.server.address, source=source) as h:
            try:
                for p in pieces:
                    h.send_raw(p)
                h.shut()
            except OSError:
                pass
            while b"\r\n\r\n" not in h.buffer and h.fill():
                pass
            if not h.buffer:
                return None, None
            status = h.answer().status
            h.expect_end()
        return status, self.refused()


def check(gateway, outcome, pieces):
    if outcome == "none":
        eq(gateway.ask(pieces), (None, None))
        return
    got = gateway.ask([*pieces, QUESTION + b"\r\n"])
    if outcome == "400":
        eq(got[0], 400, got)
    else:
        eq(got, (404, "127.0.0.1" if outcome == "peer" else outcome))


def run(table, cut):
    stories = []
    with Gateway() as g:
        for name, outcome, data in table:
            for pieces in cut(data):
                try:
                    check(g, outcome, pieces)
                except Wrong as e:
                    stories.append(f"{name}: {pieces!r}\n  {e}")
    return len(table), stories


def whole(data):
    return [[data]]


def single_bytes(data):
    return [[data[i:i + 1] for i in range(len(data))]]


def in_two(data):
    return [[data[:i], data[i:]] for i in range(1, len(data), max(1, len(data) // 60))]


def from_a_stranger(table):
    """The gateway believes none of these headers: it reads each as HTTP, and as HTTP it is wrong."""
    stories = []
    with Gateway() as g:
        for name, outcome, data in table:
            if data in (b"", b"\r\n"):
                continue
            try:
                got = g.ask([data] if outcome == "none" else [data, QUESTION + b"\r\n"], STRANGER)
                if got[0] == 404 or (outcome != "none" and got[0] != 400):
                    fail("answered", got)
                if got[1] not in (STRANGER, None):
                    fail("taken for", got[1])
            except Wrong as e:
                stories.append(f"{name}: {data!r}\n  {e}")
    return len(table), stories


# ---- with X-Forwarded-For --------------------------------------------------------------------------------------------

HEADERS = {  # what the PROXY header says of the client; None: nothing
    "no header": (b"", None),
    "a client": (b"PROXY TCP4 203.0.113.5 127.0.0.1 1 2\r\n", "203.0.113.5"),
    "a client, version 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\0\x71\x06\x7f\0\0\1\0\1\0\x50", "203.0.113.6"),
    "another of our proxies": (b"PROXY TCP4 10.1.2.3 127.0.0.1 1 2\r\n", "10.1.2.3"),
    "another of our proxies in IPv6": (b"PROXY TCP6 2001:db8:7::9 ::1 1 2\r\n", "2001:db8:7::9"),
    "local": (b"\r\n\r\n\0\r\nQUIT\n\x20\x11\x00\x0c\xcb\0\x71\x06\x7f\0\0\1\0\1\0\x50", None),
    "unknown": (b"PROXY UNKNOWN 203.0.113.5 127.0.0.1 1 2\r\n", None),
}
FORWARDED = [  # field lines
    [], ["192.0.2.9"], ["192.0.2.9, 192.0.2.10"], ["192.0.2.9,192.0.2.10"], [" 192.0.2.9 ,\t192.0.2.10 "],
    ["192.0.2.9, 10.0.0.1"], ["192.0.2.9, 10.0.0.1, 10.255.255.255"], ["10.0.0.1"], ["10.0.0.1, 10.0.0.2"],
    ["192.0.2.9", "192.0.2.10"], ["192.0.2.9", "10.0.0.1"], ["10.0.0.1", "192.0.2.9"], ["192.0.2.9, 2001:db8:7::1"],
    ["2001:db8::5"], ["::ffff:192.0.2.9"], ["192.0.2.9, ::ffff:10.0.0.1"], ["garbage"], ["192.0.2.9, garbage"],
    ["192.0.2.9, garbage, 10.0.0.1"], ["garbage, 192.0.2.9"], [""], ["192.0.2.9,"], [",192.0.2.9"], ["192.0.2.9,,"],
    ["192.0.2.9:80"], ["[2001:db8::5]"], ["\"192.0.2.9\""], ["for=192.0.2.9"], ["192.0.2.9 10.0.0.1"], ["127.0.0.1"],
    ["127.0.0.2"], ["unknown"], ["192.0.2.9, unknown"], ["192.0.2.9;10.0.0.1"], ["localhost"], ["3221225993"],
    ["[2001:db8::5]:443"], ["192.0.2.9:80, 10.0.0.1:81"], ["[::ffff:192.0.2.9]:1"], ["[192.0.2.9]"], ["192.0.2.9:"],
    ["192.0.2.9:x"], ["192.0.2.9:123456"], ["[2001:db8::5]x"], ["[2001:db8::5"], ["2001:db8::5:443"],
]
NAMES = ["X-Forwarded-For", "x-forwarded-for"]
BESIDE = [  # fields that must not matter
    b"", b"Connection: X-Forwarded-For\r\n", b"Connection: close, x-forwarded-for\r\n",
    b"Forwarded: for=192.0.2.77\r\n",
    b"X-Real-IP: 192.0.2.77\r\nClient-IP: 192.0.2.77\r\nTrue-Client-IP: 192.0.2.77\r\n",
    b"X_Forwarded_For: 192.0.2.77\r\n",
]


def trusted(address):
    return address == "127.0.0.1" or address.startswith("10.") or address.startswith("2001:db8:7:")


def normal(text):
    """An address as the gateway writes it, or None."""
    text = re.sub(r"^::ffff:(?=[\d.]+$)", "", text.strip(" \t"))
    if re.fullmatch(r"(\d{1,3}\.){3}\d{1,3}", text) or re.fullmatch(r"[0-9a-f:]*:[0-9a-f:]*", text):
        return text
    return None


def without_port(text):
    """The address alone, without the brackets and the port that a proxy may write around it."""
    text = text.strip(" \t")
    bare = re.fullmatch(r"\[([0-9a-f:.]*:[0-9a-f:.]*)\](:\d{1,5})?", text) or re.fullmatch(r"([\d.]+):\d{1,5}", text)
    return bare[1] if bare else text


def expected(peer, said, lines):
    """The rule of docs/guide.md once more: from the right, past our own proxies, up to the first item of no address."""
    client = (said or peer) if trusted(peer) else peer
    for text in reversed(",".join(lines).split(",") if lines else []):
        if not trusted(client):
            break
        one = normal(without_port(text))
        if one is None:
            break
        client = one
    return client


def spoof_matrix():
    stories, n = [], 0
    with Gateway() as g:
        peers = ("127.0.0.1", STRANGER)
        for peer, (what, (header, said)), lines in itertools.product(peers, HEADERS.items(), FORWARDED):
            if header and not trusted(peer):
                continue  # refused: that is another test
            n += 1
            field = NAMES[n % 2]
            head = QUESTION + b"".join(f"{field}: {v}\r\n".encode() for v in lines) + BESIDE[n % len(BESIDE)]
            try:
                eq(g.ask([header, head + b"\r\n"], peer), (404, expected(peer, said, lines)))
            except Wrong as e:
                stories.append(f"from {peer}, {what}, {lines}: {head!r} {e}")
    return n, stories


def only_once():
    """A header counts for its connection, and only at its beginning: behind a request it is a bad request."""
    line = b"PROXY TCP4 203.0.113.5 127.0.0.1 1 2\r\n"
    with Gateway() as g, Http(g.server.address) as h:
        h.send_raw(line)
        for forwarded in (b"", b"X-Forwarded-For: 192.0.2.9\r\n"):
            h.send_raw(QUESTION + forwarded + b"\r\n")
            eq(h.answer().status, 404)
            eq(g.refused(), "203.0.113.5")
        h.send_raw(line.replace(b"203.0.113.5", b"192.0.2.1") + QUESTION + b"\r\n")
        eq(h.answer().status, 400)
        h.expect_end()
    return 1, []


def the_first_page():
    """The first page is for this machine alone, never for a client behind a proxy, whatever the proxy says of it."""
    page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Gateway() as g:
        for what, (header, _) in HEADERS.items():
            with Http(g.server.address) as h:
                h.send_raw(header + page)
                eq(h.answer().status, 403 if header else 200, what)
    return 1, []
