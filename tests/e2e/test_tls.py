# SPDX-License-Identifier: Apache-2.0
"""TLS as clients meet it: the websockets package, curl and Python's ssl; certificates, tickets, reloads and hostile
clients. tests/e2e_tls shows that everything else holds over TLS as well."""
import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import websockets

import lib
from lib import (API, Certificate, Http, Scratch, Secure, Server, Stream, eq, eventually, fail, failure, has,
                 name, ok, row, success, usual_certificate, wsc)

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
HELLO = (b"\x16\x03\x01", b"\x16\x03\x03")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tls_server(config=None, certificate=None, tls=None, **more):
    return Server(dict(config or {}, tls=(certificate or usual_certificate()).config(**(tls or {}))), **more)


def usual(server, port=None, **how):
    """The server's address for clients that speak TLS."""
    return server.over_tls(usual_certificate().context(**how), port)


def connect(server, context, port=None, **how):
    """A socket with TLS on it, for looking closely."""
    raw = socket.create_connection((server.address[0], port or server.port), lib.LIMIT)
    try:
        return Secure(raw, context, **how)
    except BaseException:
        raw.close()
        raise


def ask(tls, path="/livez"):
    """One request on a connection that is kept alive; its body."""
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = tls.recv(4096)
        ok(more, "the connection ended; so far", data)
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += tls.recv(4096)
    return body


def client_hello(context=None):
    """The first bytes of a client that means well."""
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = (context or usual_certificate().context()).wrap_bio(inbox, outbox, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outbox.read()


# ---- clients of each port --------------------------------------------------------------------------------------------


@row("tls.clients", "1.tls.port")
def test_the_websockets_client_speaks_wss_on_the_port_that_speaks_ws_too():
    async def talk(port):
        context = usual_certificate().context()
        async with websockets.connect(f"wss://localhost:{port}/ws?user_id=alice", ssl=context) as alice, \
                websockets.connect(f"ws://localhost:{port}/ws?user_id=bob") as bob:
            for size in (1, 100, 16384, 16385, 300000):
                await alice.send(json.dumps({"to": "bob", "content": "a" * size}))
                eq(len(json.loads(await bob.recv())["content"]), size)
                await bob.send(json.dumps({"to": "alice", "content": "b" * size}))
                eq(len(json.loads(await alice.recv())["content"]), size)
        eq((alice.close_code, bob.close_code), (1000, 1000))
    with tls_server({"node_ip": ["127.0.0.1", "::1"]}) as s:
        asyncio.run(asyncio.wait_for(talk(s.port), lib.LIMIT * 2))


@row("1.tls.port", "tls.log")
def test_tls_has_a_port_of_its_own_when_tls_port_says_so():
    port = free_port()
    with tls_server(tls={"port": port}) as s:
        eq([(e["port"], e["min_version"], e["plain"]) for e in s.log("TLS")], [(port, "1.2", True)])
        alice = s.keep(lib.Ws(usual(s, port), "alice"))
        bob = s.ws("bob")
        alice.send(to="bob", content="in")
        bob.recv(content="in")
        bob.send(to="alice", content="out")
        alice.recv(content="out")
        with Http((s.address[0], port)) as h:
            failure(h.ask("GET", "/livez"), 400, "bad_request", "this port speaks TLS: use https:// or wss://")
            h.expect_end()
        try:
            connect(s, usual_certificate().context()).close()
            fail("node_port speaks TLS although it has a port of its own")
        except ssl.SSLError:
            pass
        with Stream(s.address) as c:  # as any other bytes that are no request
            c.send_raw(client_hello())
            has(c.take_until(b"\r\n\r\n"), b"HTTP/1.1 400 ")


@row("1.tls.port")
def test_a_tls_port_in_use_is_reported_with_the_key_that_chooses_it():
    with socket.socket() as taken, Scratch() as d:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = wsc("serve", d.write("c.yaml", {"wsc": {"node_ip": "127.0.0.1", "node_port": 0,
                                                       "tls": usual_certificate().config(port=port)}}))
        eq(done.status, 1)
        has(done.err, f"cannot listen on 127.0.0.1 port {port}", "set tls.port")


@row("1.tls.allow_plain", "owasp.1")
def test_without_allow_plain_an_http_client_is_told_to_use_tls_except_on_a_unix_socket():
    with Scratch() as d:
        path = d / "wsc.sock"
        with tls_server({"node_ip": ["127.0.0.1", "unix:" + path]}, tls={"allow_plain": False}) as s:
            s.address = ("127.0.0.1", s.port)
            eq([e["plain"] for e in s.log("TLS")], [False])
            has(s.log("listening")[0]["page"], "https://localhost:")
            with Http(s.address) as h:
                failure(h.ask("GET", "/livez"), 400, "bad_request", "this port speaks TLS")
                h.expect_end()
            eq(lib.Ws(s.address, "a", check=False).answer.status, 400)
            with Http(usual(s)) as h:
                success(h.ask("GET", "/livez"))
            with Http(path) as h:
                success(h.ask("GET", "/livez"))
            s.keep(lib.Ws(usual(s), "alice")).quiet()


@row("tls.clients")
def test_curl_reads_an_event_stream_over_https_and_posts_to_it():
    with tls_server() as s:
        curl = ["curl", "-sS", "--cacert", usual_certificate().certificate]
        url = f"https://localhost:{s.port}"
        stream = subprocess.Popen([*curl, "-N", url + "/sse?user_id=bob"], stdout=subprocess.PIPE, text=True)
        try:
            while "connected" not in stream.stdout.readline():
                pass
            done = subprocess.run([*curl, url + API + "/send", "-H", "X-User-ID: alice", "-d",
                                   '{"to":"bob","content":"Hi"}'], capture_output=True, text=True, timeout=lib.LIMIT)
            ok(json.loads(done.stdout)["success"], done)
            line = ""
            while '"content":"Hi"' not in line:
                line = stream.stdout.readline()
        finally:
            stream.kill()
            stream.wait()
        done = subprocess.run([*curl, "--http2", "-o", "/dev/null", "-w", "%{http_version} %{ssl_verify_result}",
                               url + "/livez"], capture_output=True, text=True, timeout=lib.LIMIT)
        eq(done.stdout, "1.1 0", done)


@row("1.tls.min_version", "tls.clients", "hardening.tls-versions")
def test_versions_below_min_version_are_refused_and_versions_above_are_spoken():
    for lowest, spoken in (("1.2", (V12, V13)), ("1.3", (V13,))):
        with tls_server(tls={"min_version": lowest}) as s:
            for version in (V12, V13):
                context = usual_certificate().context(low=version, high=version)
                try:
                    c = connect(s, context)
                except ssl.SSLError as e:
                    ok(version not in spoken, version, e)
                    continue
                ok(version in spoken, version, "was spoken with min_version", lowest)
                eq(c.tls.version(), "TLSv1.2" if version == V12 else "TLSv1.3")
                ok(c.tls.cipher()[0].split("_")[-1] in ("SHA256", "SHA384") or "GCM" in c.tls.cipher()[0], c.tls.cipher())
                has(ask(c), b"Alive")
                c.close()


@row("tls.alpn", "threat 67", "hardening.tls-alpn")
def test_alpn_agrees_to_http_1_1_and_nothing_else():
    with tls_server() as s:
        for offer, agreed in ((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (None, None)):
            c = connect(s, usual_certificate().context(alpn=offer))
            eq(c.tls.selected_alpn_protocol(), agreed)
            c.close()
        for offer in (["h2"], ["http/1.0"], ["spdy/3"]):
            try:
                connect(s, usual_certificate().context(alpn=offer))
                fail(offer, "was agreed to")
            except ssl.SSLError as e:
                has(str(e).lower().replace("_", " "), "no application protocol")


# ---- certificates ----------------------------------------------------------------------------------------------------


def der_of(server, hostname="localhost", port=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    c = connect(server, context, port, server_hostname=hostname)
    der = c.tls.getpeercert(True)
    c.close()
    return der


@row("tls.sni", "1.tls.files")
def test_the_name_chooses_the_certificate_and_each_may_have_its_own_kind_of_key():
    first, second = Certificate("a.example", "*.b.example"), Certificate("c.example", kind="rsa")
    with Server({"tls": {"certificate": [first.certificate, second.certificate], "key": [first.key, second.key]}}) as s:
        eq([(e["names"], e["file"]) for e in s.log("certificate")],
           [("a.example, *.b.example", first.certificate), ("c.example", second.certificate)])
        for hostname, want in (("a.example", first), ("x.b.example", first), ("c.example", second),
                               ("nobody.example", first), (None, first)):
            eq(der_of(s, hostname), want.der, hostname)
        for hostname, want in (("x.b.example", first), ("c.example", second)):
            connect(s, want.context(), server_hostname=hostname).close()  # verified, the name included


@row("1.tls.files")
def test_a_file_that_is_missing_or_does_not_fit_stops_the_start_with_one_line_and_status_1():
    c, other = Certificate("a.example"), Certificate("b.example")
    with Scratch() as d:
        text = d.write("text", "no PEM\n")
        for certificate, key, parts in (
                (d / "none.pem", c.key, ("tls.certificate: ", "none.pem cannot be read: No such file")),
                (c.certificate, d / "none.key", ("tls.key: ", "none.key cannot be read: No such file")),
                (text, c.key, ("tls.certificate: ", "is not a usable certificate (PEM)")),
                (c.certificate, text, ("tls.key: ", "is not a usable private key (PEM)")),
                (c.certificate, other.key, ("tls.key: ", "is not the key of the certificate", c.certificate))):
            file = d.write("c.yaml", {"wsc": {"node_ip": "127.0.0.1", "node_port": 0,
                                              "tls": {"certificate": certificate, "key": key}}})
            said = []
            for command in ("check", "serve"):
                done = wsc(command, file)
                eq((done.status, len(done.lines)), (1, 1), done)
                has(done.err, "wsc: ", *parts)
                said.append(done.err)
            eq(*said, "check and serve say the same")
        good = wsc("check", d.write("c.yaml", {"wsc": {"tls": c.config()}}))
        eq((good.status, good.err), (0, ""))


@row("1.tls.files")
def test_a_certificate_without_its_key_is_a_fault_of_the_configuration():
    c = Certificate("a.example")
    for tls, parts in (({"certificate": c.certificate}, ("tls.certificate", "set tls.key too")),
                       ({"key": c.key}, ("tls.key", "set tls.certificate too")),
                       ({"certificate": [c.certificate, c.certificate], "key": c.key}, ("tls.key", "1 key for 2")),
                       ({"port": 8443}, ("tls.port", "needs tls.certificate and tls.key")),
                       ({"allow_plain": False}, ("tls.allow_plain", "needs tls.certificate and tls.key"))):
        with Scratch() as d:
            file = d.write("c.yaml", {"wsc": {"tls": tls}})
            for command in ("check", "serve"):
                done = wsc(command, file)
                eq((done.status, len(done.lines)), (2, 1), done)
                has(done.err, *parts)


@row("1.tls.files", "tls.log", "threat 140")
def test_an_expired_certificate_is_served_with_a_warning():
    with Scratch() as d:
        lib.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=old",
                    "-keyout", d / "old.key", "-out", d / "old.csr")
        lib.openssl("x509", "-req", "-in", d / "old.csr", "-signkey", d / "old.key", "-days", "-1", "-out", d / "old.pem")
        with Server({"tls": {"certificate": d / "old.pem", "key": d / "old.key"}}) as s:
            eq([e["file"] for e in s.log("this certificate has expired: clients will refuse it")], [d / "old.pem"])
            ok(der_of(s))


# ---- tickets ---------------------------------------------------------------------------------------------------------


def visit(server, context, session=None):
    """(was it resumed, the session with the newest ticket)"""
    c = connect(server, context, session=session)
    ask(c)
    resumed, session = c.tls.session_reused, c.tls.session
    c.close()
    return resumed, session


@row("tls.tickets")
def test_a_ticket_resumes_a_session_on_every_worker_and_across_a_reload():
    for version in (V12, V13):
        with tls_server({"workers": 4}) as s:
            context = usual_certificate().context(low=version, high=version)
            resumed, session = visit(s, context)
            ok(not resumed)
            for _ in range(12):
                resumed, session = visit(s, context, session)
                ok(resumed, version)
            s.signal(signal.SIGHUP)
            eventually(lambda: s.log("certificates reloaded"), "the reload")
            resumed, session = visit(s, context, session)
            ok(resumed, "across a reload", version)


@row("tls.tickets", "1.tls.ticket_rotation", "hardening.tls-tickets")
def test_an_old_ticket_is_refused_once_its_key_is_dropped_and_the_handshake_still_succeeds():
    for version in (V12, V13):
        with tls_server(tls={"ticket_rotation": "1s"}) as s:
            context = usual_certificate().context(low=version, high=version)
            _, first = visit(s, context)

            def refused():
                time.sleep(0.2)
                return not visit(s, context, first)[0]
            eventually(refused, "the key of the first ticket goes", lib.LIMIT * 2)
            eventually(lambda: visit(s, context, visit(s, context)[1])[0], "a new ticket is good")


@row("tls.tickets", "threat 138")
def test_another_gateway_does_not_take_our_tickets():
    with tls_server() as s, tls_server() as t:
        context = usual_certificate().context(low=V13)
        _, session = visit(s, context)
        eq(visit(t, context, session)[0], False)
        eq(visit(s, context, session)[0], True)


# ---- reload ----------------------------------------------------------------------------------------------------------


class Renewable:
    """Two files that a server reads, and that put() replaces."""

    def __init__(self, d):
        self.certificate, self.key = d / "live.pem", d / "live.key"
        self.put(usual_certificate())

    def put(self, c):
        shutil.copy(c.certificate, self.certificate)
        shutil.copy(c.key, self.key)
        return c

    def config(self, **more):
        return {"certificate": self.certificate, "key": self.key, **more}


@row("tls.reload", "threat 28", "hardening.rotation", "hardening.tls-reload")
def test_a_reload_under_traffic_ends_no_connection_and_new_clients_get_the_new_certificate():
    with Scratch() as d:
        files = Renewable(d)
        others = [Certificate("localhost", kind=kind) for kind in ("ec", "rsa", "ec")]
        with Server({"tls": files.config(), "workers": 2, "security": {"enable_rate_limit": False}}) as s:
            pairs = [(s.keep(lib.Ws(usual(s), f"a{i}")), s.keep(lib.Ws(usual(s), f"b{i}"))) for i in range(5)]
            stream = s.keep(lib.Sse(usual(s), "listener"))
            over, rounds = threading.Event(), [0] * len(pairs)

            def talk(i):
                a, b = pairs[i]
                while not over.is_set():
                    a.send(to=b.user, content=f"{rounds[i]}", filler="x" * (rounds[i] % 30000))
                    b.recv(content=f"{rounds[i]}")
                    rounds[i] += 1
            threads = [threading.Thread(target=talk, args=(i,), daemon=True) for i in range(len(pairs))]
            for t in threads:
                t.start()
            for n in range(1, 13):
                now = files.put(others[n % 3])
                before = list(rounds)
                s.signal(signal.SIGHUP)
                eventually(lambda: len(s.log("certificates reloaded")) == n, "the reload")
                eq(der_of(s), now.der)
                eventually(lambda: all(r > b for r, b in zip(rounds, before)) or not all(t.is_alive() for t in threads),
                           "the pairs go on talking")
                ok(all(t.is_alive() for t in threads), "a pair was dropped")
            over.set()
            for t in threads:
                t.join(lib.LIMIT)
            success(s.send("a", "listener", "still there"))
            stream.recv(content="still there")
            eq(s.stats()["active_connections"], 2 * len(pairs) + 1)


@row("tls.reload", "tls.log", "threat 97")
def test_a_reload_that_finds_a_bad_file_keeps_the_former_certificates_and_says_why():
    with Scratch() as d:
        files = Renewable(d)
        other = Certificate("localhost")
        with Server({"tls": files.config()}) as s:
            alice = s.keep(lib.Ws(usual(s), "alice"))
            for n, (break_it, word) in enumerate((
                    (lambda: os.unlink(files.key), "No such file"),
                    (lambda: shutil.copy(other.key, files.key), "is not the key of the certificate"),
                    (lambda: d.write("live.pem", "half a file"), "is not a usable certificate")), 1):
                files.put(usual_certificate())
                break_it()
                s.signal(signal.SIGHUP)
                eventually(lambda: len(s.log("certificates not reloaded: the former ones stay")) == n, "the log line")
                has(s.log("certificates not reloaded: the former ones stay")[-1]["why"], word)
                eq(der_of(s), usual_certificate().der)
            alice.quiet()
            files.put(other)
            s.signal(signal.SIGHUP)
            eventually(lambda: s.log("certificates reloaded"), "the reload")
            eq(der_of(s), other.der)
            eq(s.log("certificate")[-1]["file"], files.certificate)


@row("tls.reload")
def test_sighup_without_tls_changes_nothing():
    with Server() as s:
        alice = s.ws("alice")
        s.signal(signal.SIGHUP)
        alice.quiet()
        s.ws("bob").quiet()
        eventually(lambda: len(s.log("nothing to reload: no certificates are set")) == 1, "one line says so")
        eq(s.log("certificates reloaded"), [])


# ---- hostile clients -------------------------------------------------------------------------------------------------


@row("tls.hostile", "threat 139")
def test_garbage_where_a_handshake_should_be_ends_the_connection_and_fills_no_log():
    for level in ("info", "debug"):
        with tls_server(settings=[f"log.level={level}"]) as s:
            before = len(s.log())
            for garbage in (b"\x16", b"\x16garbage", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"x" * 70000,
                            client_hello()[:100] + b"\0" * 500, b"\x16\x03\x03\x00\x00" * 1000,
                            client_hello() + b"\x17\x03\x03\x00\x02hi", client_hello() * 2):
                with Stream(s.address) as c:
                    try:
                        c.send_raw(garbage)
                        c.shut()
                        while c.fill():
                            pass
                    except OSError:
                        pass
            with Http(usual(s)) as h:
                success(h.ask("GET", "/livez"))
            eq(bool(s.log("TLS failed")), level == "debug")
            if level == "info":
                eq(len(s.log()), before)


@row("tls.hostile", "1.limits", "threat 62", "hardening.tls-deadline")
def test_a_handshake_that_stalls_at_any_byte_is_cut_by_header_timeout():
    hello = client_hello()
    with tls_server({"limits": {"header_timeout": "1s"}}) as s:
        stalled = []
        for n in [1, 2, 3, 4, 5, 6, 9, 43, 44, len(hello) // 2, len(hello) - 1, len(hello)]:
            c = Stream(s.address)
            c.send_raw(hello[:n])
            stalled.append(c)
        dribble = Stream(s.address)  # a byte now and then is no progress
        sent = 0
        for c in stalled:
            while not c.ended:
                if sent < len(hello) and not dribble.has_input():
                    try:
                        dribble.send_raw(hello[sent:sent + 1])
                    except OSError:
                        pass
                    sent += 1
                c.sock.settimeout(0.1)
                try:
                    c.ended = not c.sock.recv(65536)
                except socket.timeout:
                    pass
                except OSError:
                    c.ended = True
        for c in stalled:
            c.cut()
        while dribble.fill():
            pass
        dribble.cut()
        with Http(usual(s)) as h:
            success(h.ask("GET", "/livez"))
        eventually(lambda: s.stats()["active_connections"] == 0, "no connection is left")


@row("tls.hostile", "threat 137")
def test_plain_bytes_in_front_of_a_handshake_are_never_taken_for_decrypted_ones():
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Injected: "
    with tls_server({"security": {"trusted_proxies": ["127.0.0.1"]}}) as s:
        for preface in (b"", b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"):
            with Stream(s.address) as c:  # the connection began as HTTP, and these bytes are no HTTP
                c.send_raw(preface + request + client_hello())
                while c.fill():
                    pass
                ok(not c.buffer.startswith(HELLO), "a handshake was begun behind plain text")
        # The other way round: unencrypted bytes are no request once TLS is spoken.
        c = connect(s, usual_certificate().context())
        has(ask(c), b"Alive")
        c.raw.sendall(request + b"x\r\n\r\n")
        try:
            while True:
                data = c.raw.recv(65536)
                if not data:
                    break
                ok(b"Alive" not in data and b"HTTP/" not in data, "answered", data)
        except OSError:
            pass
        c.close()


@row("tls.hostile", "tls.proxy")
def test_a_proxy_header_stands_in_front_of_tls_and_is_believed_from_trusted_proxies_only():
    blocked, fine = b"PROXY TCP4 203.0.113.5 127.0.0.1 1 2\r\n", b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n"
    v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + socket.inet_aton("203.0.113.5") + socket.inet_aton("127.0.0.1") + \
        b"\0\1\0\2"
    for trusted in (["127.0.0.1"], ["192.0.2.99"]):
        with tls_server({"security": {"trusted_proxies": trusted, "blocked_ips": ["203.0.113.5"]}}) as s:
            for header, allowed in ((blocked, False), (v2, False), (fine, True), (b"", True)):
                for slowly in (False, True):
                    raw = socket.create_connection(s.address, lib.LIMIT)
                    if slowly:
                        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        for i in range(len(header)):
                            raw.sendall(header[i:i + 1])
                    else:
                        raw.sendall(header)
                    try:
                        c = Secure(raw, usual_certificate().context())
                    except (ssl.SSLError, OSError):
                        ok(trusted != ["127.0.0.1"] and header, header, "and TLS behind it were refused")
                        raw.close()
                        continue
                    ok(trusted == ["127.0.0.1"] or not header, "a stranger's PROXY header was taken")
                    has(ask(c), b"Alive" if allowed else b"forbidden_ip")
                    c.close()


@row("tls.hostile")
def test_clients_that_reset_in_any_state_leave_the_server_well():
    hello = client_hello()
    with tls_server({"security": {"enable_rate_limit": False}}) as s:
        bob = s.keep(lib.Ws(usual(s), "bob"))
        for i in range(60):
            if i % 4 == 0:
                c = Stream(s.address)
                c.send_raw(hello[:1 + i * 5 % len(hello)])
            elif i % 4 == 1:
                c = Stream(s.address)
                c.send_raw(hello)
                c.take(5)
            else:
                c = lib.Ws(usual(s), f"u{i}", rcvbuf=4096)
                for k in range(20 if i % 4 == 2 else 1):
                    c.send(to=c.user, content="x" * 20000)
                if i % 4 == 3:
                    c.send_frame(lib.CLOSE, b"")
            c.reset()
        eventually(lambda: s.stats()["active_connections"] == 1, "only bob is left")
        bob.quiet()


# ---- beside the rest of the gateway ----------------------------------------------------------------------------------


@row("tls.move")
def test_a_session_moves_to_its_users_worker_with_all_that_was_sent_behind_its_handshake():
    with tls_server({"workers": 4}) as s:
        for i in range(40):
            user = name("u")
            c = s.keep(lib.Ws(usual(s), user, behind=lib.frame(lib.TEXT, json.dumps(
                {"to": user, "content": "x" * (i * 2000)}).encode())))
            eq(len(c.recv()["content"]), i * 2000)
            c.quiet()


@row("tls.drain")
def test_while_the_server_stops_clients_over_tls_get_a_close_code_and_a_close_notify():
    with tls_server({"workers": 2}) as s:
        users = [s.keep(lib.Ws(usual(s), f"u{i}")) for i in range(4)]
        streams = [s.keep(lib.Sse(usual(s), f"s{i}")) for i in range(4)]
        idle = connect(s, usual_certificate().context())
        ask(idle)
        s.signal(signal.SIGTERM)
        for c in users:
            c.expect_close(1001)
            ok(c.sock.goodbye, "no close_notify")
        for c in streams:
            c.expect_closed(1001, True)
            ok(c.sock.goodbye, "no close_notify")
        eq(idle.recv(100), b"")
        ok(idle.goodbye, "no close_notify")
        idle.close()
        eq(s.wait(), 0)


@row("tls.drain")
def test_a_close_frame_behind_a_full_socket_is_not_cut_off():
    with tls_server({"message_buffer_size": 5, "security": {"enable_rate_limit": False}}) as s:
        slow = s.keep(lib.Ws(usual(s), "slow", rcvbuf=4096))
        alice = s.keep(lib.Ws(usual(s), "alice"))

        def full():
            for _ in range(20):
                alice.send(to="slow", content="x" * 30000)
            alice.send_text("ping")
            while alice.recv_text() != "pong":
                pass
            return not s.is_online("slow")
        eventually(full, "the slow one is given up")
        slow.expect_close(1013)
        ok(slow.sock.goodbye, "no close_notify")


@row("1.websocket_origins", "tls.clients")
def test_the_gateways_own_origin_is_allowed_over_https():
    with tls_server({"websocket_origins": []}) as s:
        host = f"localhost:{s.port}"
        for origin, status in ((f"https://{host}", 101), ("https://evil.example", 403), ("https://localhost", 403)):
            c = lib.Ws(usual(s), "a", headers=[("Host", host), ("Origin", origin)], check=False)
            eq(c.answer.status, status, origin)
            c.cut()


@row("tls.drain")
def test_the_answer_to_a_close_frame_waits_until_the_socket_takes_it():
    with tls_server({"performance": {"kernel_queue": "1KiB"}, "security": {"enable_rate_limit": False}}) as s:
        for i in range(20):
            c = s.keep(lib.Ws(usual(s), f"slow{i}", rcvbuf=4096))
            for k in range(10):
                c.send(to=c.user, content="x" * (15000 + 37 * i))
            c.send_frame(lib.CLOSE, lib.close_payload(1000))
            eventually(lambda: not s.is_online(c.user), "the close frame is read")
            c.expect_close(1000, answer=False)
            c.expect_end()
            ok(c.sock.goodbye, "no close_notify")
            c.cut()


@row("server.metrics")
def test_handshakes_are_counted_as_they_end():
    with tls_server() as s:
        for _ in range(3):
            connect(s, usual_certificate().context()).close()
        with Stream(s.address) as c:  # leaves in the middle
            c.send_raw(client_hello())
        try:
            connect(s, ssl.create_default_context()).close()  # does not trust the certificate
            fail("a stranger's certificate is trusted")
        except ssl.SSLError:
            pass
        eventually(lambda: s.metrics().by("wsc_tls_handshakes_total", "result") == {"ok": 3, "failed": 2},
                   "all handshakes have ended")
