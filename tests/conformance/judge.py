# SPDX-License-Identifier: Apache-2.0
"""The cases and how they are judged: the registry, the ways in which a case reaches the server, the verdicts.

A case is a function of a Try. It opens connections, sends what it has to, and ends with one of

    t.server_closes(p, want, 1002)      the server has to fail the connection, after exactly the events @want
    t.client_closes(p, want)            exactly the events @want come, then we close and the server answers
    return INFORMATIONAL, "what it was" where the RFCs leave the choice

each of which judges the whole life of the connection, its end by the server included (RFC 6455 §7.1.1). A Fault is
FAILED, or the verdict it carries. Verdicts are those of the Autobahn testsuite:

    OK               as the RFCs and this suite want it
    NON-STRICT       allowed, but not as it should be: late, or without the events before it
    INFORMATIONAL    the RFCs leave it open; the note says what the server does
    FAILED           wrong
    WRONG CODE       closed, with another code
    UNIMPLEMENTED    the extension was not agreed to
"""
import itertools
import json
import os
import ssl

from wire import CLOSE, NAMES, TEXT, Fault, Peer, close_payload, frame

OK, NON_STRICT, INFORMATIONAL = "OK", "NON-STRICT", "INFORMATIONAL"
FAILED, WRONG_CODE, UNIMPLEMENTED = "FAILED", "WRONG CODE", "UNIMPLEMENTED"
VERDICTS = (OK, NON_STRICT, INFORMATIONAL, FAILED, WRONG_CODE, UNIMPLEMENTED)
GOOD = (OK, INFORMATIONAL)

CASES = []


class Case:
    """id       like the suite's, 6.4.1; groups from 20 on are our own
    section  of the RFC: "6455 §5.2"
    text     a sentence: what is sent and what has to come
    run      the function
    server   which server it runs against: main, forgetful (no context takeover) or strict (the default limits)
    ways     echo: the echo path; ws: the gateway's own path, where a message to oneself comes back; both
    weight   about how many MiB it moves, so that heavy cases come first and few at a time
    deflate  needs permessage-deflate: UNIMPLEMENTED where that is not agreed to
    quick    part of the TLS run of the short mode
    ours     says more than the RFCs do: not for other servers
    """

    def __init__(self, ident, section, text, run, server="main", ways=("echo",), weight=0, deflate=False, quick=True,
                 tls=True, ours=False):
        self.id, self.section, self.text, self.run, self.server = ident, section, text, run, server
        self.ways, self.weight, self.deflate, self.quick, self.tls = ways, weight, deflate, quick, tls
        self.ours = ours

    @property
    def group(self):
        return int(self.id.split(".")[0])

    def key(self):
        return [int(n) for n in self.id.split(".")]


def add(ident, section, text, run, **how):
    CASES.append(Case(ident, section, text, run, **how))


BOTH = ("echo", "ws")
_users = itertools.count(1)


class Way:
    """The echo path: every message comes back as it is."""
    name = "echo"
    is_echo = True
    query = ""

    def pack(self, opcode, payload):
        return payload

    def want(self, opcode, payload):
        """The event that @payload causes."""
        return NAMES[opcode], payload

    def seen(self, event):
        return event


class Gateway(Way):
    """/ws: the payload is the content of a message to oneself, and its content is what comes back, always as text."""
    name = "ws"
    is_echo = False

    def __init__(self):
        self.user = f"c-{os.getpid()}-{next(_users)}"
        self.query = f"?user_id={self.user}"

    def pack(self, opcode, payload):
        try:
            content = json.dumps(payload.decode(), ensure_ascii=False).encode()
        except UnicodeDecodeError:
            content = b'"' + payload + b'"'
        return b'{"to":"%s","content":%s}' % (self.user.encode(), content)

    def want(self, opcode, payload):
        return "text", payload

    def seen(self, event):
        if event[0] != "text":
            return event
        try:
            return "text", json.loads(event[1])["content"].encode()
        except (ValueError, KeyError, TypeError):
            return event


class Try:
    """One run of one case. targets: server name -> Target; full: the suite's own counts."""

    def __init__(self, case, way, targets, full=False, limit=None):
        self.case, self.full, self.limit = case, full, limit
        self.way = Gateway() if way == "ws" else Way()
        self.targets = targets
        self.peers = []

    def target(self, server=None):
        t = self.targets[server or self.case.server]
        return t if self.way.is_echo else t._replace(path="/ws")

    def peer(self, server=None, **how):
        """A connection without handshake."""
        p = Peer(self.target(server), limit=self.limit, **how)
        self.peers.append(p)
        return p

    def open(self, server=None, offers=(), rcvbuf=None, **how):
        """A connection after its handshake. With offers, one of them has to be agreed to."""
        p = self.peer(server, rcvbuf=rcvbuf)
        p.shake(offers=offers, query=self.way.query, **how)
        if offers and not p.deflate:
            p.send_close()
            raise Fault(f"the server does not agree to {', '.join(offers)}", UNIMPLEMENTED)
        return p

    def done(self):
        for p in self.peers:
            p.sock.close()

    # ---- messages, in the form that this way wants

    def frame(self, opcode, payload, **how):
        return frame(opcode, self.way.pack(opcode, payload), **how)

    def text(self, payload, **how):
        return self.frame(TEXT, payload, **how)

    def want(self, opcode, payload):
        return self.way.want(opcode, payload)

    def event(self, p):
        return self.way.seen(p.event())

    def expect(self, p, *want):
        """Exactly these events come next."""
        for w in want:
            got = self.event(p)
            if got != w:
                raise Fault(f"{show(got)} came instead of {show(w)}")

    # ---- ends

    def to_close(self, p):
        """Everything up to the server's close frame or the end of the connection: (events, close or None)."""
        events = []
        while True:
            e = self.event(p)
            if e[0] == "close":
                return events, e
            if e[0] == "end":
                return events, None
            events.append(e)

    def end(self, p):
        """The close frames are exchanged: nothing comes but the end of the connection, and the server makes it."""
        e = self.event(p)
        if e[0] != "end":
            raise Fault(f"{show(e)} behind the close frame")

    def to_close_or_pong(self, p, payload):
        """As to_close(), but a pong with @payload ends it too: (events, None)."""
        events = []
        while True:
            e = self.event(p)
            if e == ("pong", payload):
                return events, None
            if e[0] == "close":
                return events, e
            if e[0] == "end":
                raise Fault(f"the connection was dropped ({p.ended}) without a close frame")
            events.append(e)

    def server_closes(self, p, want, *codes, lax=()):
        """The server fails the connection with one of @codes after the events @want. @lax: others, NON-STRICT."""
        events, close = self.to_close(p)
        return self.closed_with(p, events, close, want, *codes, lax=lax)

    def closed_with(self, p, events, close, want, *codes, lax=()):
        """The second half of server_closes(), for a case that has read the events itself."""
        if events != list(want) and events not in [list(x) for x in lax]:
            raise Fault(f"{show(*events) or 'nothing'} came before the close, instead of {show(*want) or 'nothing'}")
        if not close:
            raise Fault(f"the connection was dropped ({p.ended}) without a close frame")
        if close[1] not in codes:
            raise Fault(f"closed with {close[1]} {close[2]!r}, not with {' or '.join(map(str, codes))}", WRONG_CODE)
        if not p.said_close:
            p.send_close(close[1] if close[1] != 1005 else None)
        self.end(p)
        if events != list(want):
            return NON_STRICT, f"{show(*events) or 'nothing'} came before the close"
        return OK, f"closed with {close[1]} {close[2]!r}"

    def client_closes(self, p, want, code=1000):
        """Exactly the events @want come; then we close, the server answers with our code and ends the connection."""
        self.expect(p, *want)
        p.send_close(code)
        return self.answered(p, code if code is not None else 1005)

    def answered(self, p, *codes, want=()):
        """Our close frame is out: after @want the server answers with one of @codes and ends the connection."""
        events, close = self.to_close(p)
        if events != list(want):
            raise Fault(f"{show(*events) or 'nothing'} came before the close, instead of {show(*want) or 'nothing'}")
        if not close:
            raise Fault(f"the connection was dropped ({p.ended}) without an answer to our close frame")
        if close[1] not in codes:
            raise Fault(f"our close was answered with {close[1]}, not with {' or '.join(map(str, codes))}", WRONG_CODE)
        self.end(p)
        return OK, ""


def show(*events):
    """Events for a note, long payloads cut."""
    def part(x):
        return f"{x[:40]!r}.. ({len(x)} bytes)" if isinstance(x, bytes) and len(x) > 60 else repr(x)
    return ", ".join(f"{e[0]}({', '.join(map(part, e[1:]))})" for e in events)


def run_case(case, way, targets, full, limit=None):
    """(verdict, note) of one case; @limit: how long nothing may come where something must."""
    t = Try(case, way, targets, full, limit)
    try:
        verdict, note = case.run(t)
        return verdict, note
    except Fault as e:
        return e.verdict, str(e)
    except (OSError, ssl.SSLError) as e:
        return FAILED, f"{type(e).__name__}: {e}"
    finally:
        t.done()


def close_frame(code, reason=b"", **how):
    return frame(CLOSE, close_payload(code, reason), **how)

