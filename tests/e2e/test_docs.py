# SPDX-License-Identifier: Apache-2.0
"""The programs and promises of the documentation, as they stand on the page.

Every fenced block of docs/quick-reference.md that is YAML, a curl line, the Python or the JavaScript client is taken
out of the page and run unchanged. They say localhost:8080; so that tests can run side by side, the ways to that name
are turned to the port of the test's own server: curl reads a .curlrc, Python's resolver is wrapped, Chromium has rules
for host names.
"""
import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.parse

import lib
from lib import API, PING, Scratch, Server, eq, eventually, failure, has, ok, row, shared, success

DOCS = os.environ.get("E2E_DOCS") or os.path.join(lib.ROOT, "docs")


@functools.lru_cache(maxsize=None)
def page(leaf):
    with open(os.path.join(DOCS, leaf), encoding="utf-8") as f:
        return f.read()


def blocks(leaf, language):
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page(leaf), re.M | re.S)
    return [text for lang, text in found if lang == language]


def only(texts, part):
    texts = [t for t in texts if part in t]
    eq(len(texts), 1, f"blocks with {part!r}")
    return texts[0]


def config_server(**more):
    text = only(blocks("quick-reference.md", "yaml"), "wsc:")
    return Server(text=text, settings=["node_port=0"], **more)


# ---- curl ------------------------------------------------------------------------------------------------------------


def curl_lines(text):
    """The commands of a block, continuation lines joined."""
    return [c.strip() for c in re.sub(r"\\\n\s*", " ", text).split("\n") if c.strip().startswith("curl")]


def run_curl(line, port):
    """Runs a documented line unchanged, but for where localhost:8080 is."""
    with Scratch() as d:
        d.write(".curlrc", f'silent\nshow-error\nmax-time = {lib.LIMIT:.0f}\n'
                f'connect-to = "localhost:8080:127.0.0.1:{port}"\n')
        env = lib.environment({"CURL_HOME": d.path, "HOME": d.path, "no_proxy": "localhost"})
        done = subprocess.run(["sh", "-c", line], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=lib.LIMIT * 2,
                              stdin=subprocess.DEVNULL)
    eq((done.returncode, done.stderr), (0, ""), line)
    return done.stdout


@row("docs.yaml")
def test_the_yaml_of_the_quick_reference_starts_the_server():
    text = only(blocks("quick-reference.md", "yaml"), "wsc:")
    with Scratch() as d:
        done = lib.wsc("check", d.write("config.yaml", text))
        eq((done.status, done.err), (0, ""), done)
    with config_server() as s:
        s.ws("alice").quiet()


@row("docs.curl")
def test_the_curl_lines_of_the_quick_reference_work():
    lines = [line for text in blocks("quick-reference.md", "bash") for line in curl_lines(text)]
    eq(len(lines), 4, lines)
    with config_server() as s:
        user2 = s.ws("user2")
        for line in lines:
            body = lib.parse(run_curl(line, s.port))
            ok(body["success"] is True and body["message"] and "data" in body, line, body)
            if "/send" in line:
                eq(body["data"]["delivered_count"], 1)
                user2.recv("text", from_="user1", to="user2", content="Hi")
            elif "/broadcast" in line:
                eq(body["delivered_count"], 1)
                user2.recv("notice", from_="system", to="", content="System announcement")
            elif "/online" in line:
                eq([u["user_id"] for u in body["data"]["users"]], ["user2"])
            else:
                eq(body["data"]["active_connections"], 1)


@row("docs.curl")
def test_every_curl_line_of_http_api_md_works_as_it_stands():
    lines = [line for text in blocks("http-api.md", "sh") for line in curl_lines(text)]
    ok(len(lines) >= 10, lines)
    with Server() as s:
        user2 = s.sse("user2")
        for line in lines:
            if "/sse?" in line or "/ws?" in line:
                continue  # they stay open until --max-time, or for ever
            text = run_curl(line, s.port)
            if "/metrics" in line:
                eq(lib.Metrics(text)("wsc_connections", transport="sse"), 1)
                continue
            body = lib.parse(text)
            eq(body["success"], "nobody" not in line or "online" in line, line, body)
        user2.recv(content="Hi")


@row("docs.endpoints")
def test_the_eight_built_in_endpoints_of_the_quick_reference_are_there():
    rows = re.findall(r"^\| `(/[^`]*)` \| (\w+) \|", page("quick-reference.md"), re.M)
    eq(len(rows), 8, rows)
    with config_server() as s:
        bob = s.ws("bob")
        for path, method in rows:
            if method == "WS":
                s.ws("x", path=path).quiet()
            elif path == "/sse":
                s.sse("x", path=path).cut()
            elif method == "POST":
                success(s.post(path, {"to": "bob", "content": "x"}, X_User_ID="a"))
                bob.recv(content="x")
            else:
                success(s.get(path))


# ---- Python ----------------------------------------------------------------------------------------------------------


RESOLVER = '''
import os, socket
_real = socket.getaddrinfo
def _turned(host, port, *args, **more):
    if host == "localhost" and port == 8080:
        host, port = "127.0.0.1", int(os.environ["TURNED_PORT"])
    return _real(host, port, *args, **more)
socket.getaddrinfo = _turned
'''


class PythonClient:
    """The Python program of the page, running."""

    def __init__(self, port):
        self.scratch = Scratch()
        self.scratch.write("sitecustomize.py", RESOLVER)
        program = self.scratch.write("client.py", only(blocks("quick-reference.md", "python"), "websockets"))
        self.out = open(self.scratch / "out", "w+b")
        env = lib.environment({"PYTHONPATH": self.scratch.path, "TURNED_PORT": str(port), "PYTHONUNBUFFERED": "1"})
        self.process = subprocess.Popen(["/usr/bin/python3", program], env=env, stdout=self.out, stderr=self.out,
                                        preexec_fn=lib._die_with_parent)

    def text(self):
        with open(self.scratch / "out", encoding="utf-8") as f:
            return f.read()

    def says(self, what):
        eventually(lambda: what in self.text() or (self.process.poll() is not None and lib.fail(self.text())), what)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.out.close()
        self.scratch.__exit__()


@row("docs.python")
def test_the_python_client_of_the_quick_reference_sends_and_receives():
    with config_server() as s:
        bob = s.ws("bob")
        with PythonClient(s.port) as client:
            m = bob.recv("text", from_="alice", to="bob", content="Hello Bob!")
            ok(m["create_at"].endswith("Z"), "datetime.now().isoformat() has no zone:", m)
            bob.send(to="alice", content="Hello Alice, é!")
            client.says("Message from bob: Hello Alice, é!")
            success(s.broadcast("to all"))
            client.says("Message from system: to all")
            s.signal(signal.SIGTERM)
            bob.expect_close(1001)
            eq(s.wait(), 0)
            eq(client.process.wait(lib.LIMIT), 0, client.text())


@row("docs.python")
def test_the_python_client_meets_no_stranger_when_bob_is_offline():
    with config_server() as s, PythonClient(s.port) as client:
        client.says("Message from system: bob is offline")


# ---- JavaScript ------------------------------------------------------------------------------------------------------


class Browser:
    """A headless Chromium with one page, driven over the DevTools protocol."""

    def __init__(self, port, url="about:blank"):
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        ok(path, "there is no chromium (tools/packages.txt)")
        self.scratch = Scratch()
        args = [path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--remote-debugging-port=0",
                "--no-proxy-server", "--disable-background-networking", f"--user-data-dir={self.scratch.path}/profile",
                f"--host-resolver-rules=MAP localhost:8080 127.0.0.1:{port}, MAP *.example.com:8080 127.0.0.1:{port}",
                "about:blank"]
        self.log = open(self.scratch / "log", "wb")
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        start_new_session=True,
                                        env=lib.environment({"HOME": self.scratch.path}),
                                        preexec_fn=lib._die_with_parent)
        self.n = 0
        self.events = []
        try:
            self.connect()
            if url != "about:blank":
                self.call("Page.navigate", url=url)
                eventually(lambda: self.eval("document.readyState") == "complete"
                           and self.eval("location.href") != "about:blank", url)
        except BaseException:
            self.close()
            raise

    def connect(self):
        active = f"{self.scratch.path}/profile/DevToolsActivePort"
        eventually(lambda: os.path.exists(active) and open(active, encoding="ascii").read().count("\n") >= 1,
                   "chromium", lib.LIMIT * 3)
        with open(active, encoding="ascii") as f:
            port = int(f.readline())

        def pages():
            with lib.Stream(("127.0.0.1", port)) as h:
                h.send_raw(b"GET /json/list HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                head = h.take_until(b"\r\n\r\n").decode()
                body = json.loads(h.take(int(re.search(r"(?i)content-length: *(\d+)", head)[1])))
            return [p for p in body if p["type"] == "page"]
        target = eventually(pages, "a page", lib.LIMIT * 3)[0]
        path = urllib.parse.urlparse(target["webSocketDebuggerUrl"]).path
        self.ws = lib.Ws(("127.0.0.1", port), path=path, check=False)
        eq(self.ws.answer.status, 101)
        for domain in ("Runtime", "Page", "Log"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.n += 1
        self.ws.send_text(json.dumps({"id": self.n, "method": method, "params": params}))
        while True:
            text = b""
            while True:
                opcode, payload, fin = self.ws.recv_frame()
                if opcode in (lib.TEXT, lib.CONT):
                    text += payload
                    if fin:
                        break
            m = json.loads(text)
            if m.get("id") == self.n:
                ok("error" not in m, m)
                return m["result"]
            self.events.append(m)

    def eval(self, source, wait=False):
        """Evaluates @source in the page as the console does: what it declares stays."""
        r = self.call("Runtime.evaluate", expression=source, returnByValue=True, awaitPromise=wait, replMode=False)
        ok("exceptionDetails" not in r, source, r.get("exceptionDetails"))
        return r["result"].get("value")

    def console(self):
        """The lines that the page has written with console.log."""
        self.eval("1")
        return [" ".join(str(a.get("value")) for a in e["params"]["args"]) for e in self.events
                if e["method"] == "Runtime.consoleAPICalled"]

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        for _ in range(50):
            shutil.rmtree(self.scratch.path, ignore_errors=True)
            if not os.path.exists(self.scratch.path):
                break
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def pieces(source):
    """The JavaScript of the page, split in front of each comment."""
    parts = re.split(r"^(?=// )", source, flags=re.M)
    return [p for p in parts if p.strip()]


@row("docs.javascript")
def test_the_javascript_of_the_quick_reference_runs_in_chromium_part_by_part():
    parts = pieces(only(blocks("quick-reference.md", "javascript"), "new WebSocket"))
    ok(len(parts) >= 3 and "new WebSocket" in parts[0] and "ws.send" in parts[1] and "onmessage" in parts[2], parts)
    with config_server() as s, Browser(s.port) as browser:
        bob = s.ws("bob")
        browser.eval(parts[0])
        eventually(lambda: browser.eval("ws.readyState") == 1, "open")
        for part in parts[1:]:
            browser.eval(part)
        m = bob.recv("text", from_="alice", to="bob", content="Hello Bob!")
        ok(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", m["create_at"]), m)
        bob.send(to="alice", content="Hello Alice!")
        eventually(lambda: "Message from bob : Hello Alice!" in browser.console(), "the message")
        success(s.broadcast("to all"))
        eventually(lambda: "Message from system : to all" in browser.console(), "the broadcast")
        ok("Connected" in browser.console(), browser.console())
        s.signal(signal.SIGTERM)
        bob.recv("notice")
        bob.expect_close(1001)
        eventually(lambda: "Disconnected" in browser.console(), "the end")
        eq(s.wait(), 0)


@row("2.wsc-v1", "docs.browser")
def test_a_browser_with_wsc_v1_sees_the_code_and_reason_of_a_refusal():
    with Server() as s, Browser(s.port) as browser:
        wait = ("new Promise(done => { const w = new WebSocket('ws://localhost:8080/ws', %s);"
                " w.onclose = e => done([e.code, e.reason]); })")
        code, reason = browser.eval(wait % "['wsc.v1']", wait=True)
        eq(code, 4401)
        has(reason, "user_id is required")
        eq(browser.eval(wait % "[]", wait=True), [1006, ""])


@row("5.204", "docs.browser")
def test_an_event_source_that_lost_its_place_stops_after_its_204():
    with Server({"max_connections_per_user": 1}) as s, Browser(s.port) as browser:
        browser.eval("const seen = []; const es = new EventSource('http://localhost:8080/sse?user_id=bob');"
                     "es.onmessage = e => seen.push(JSON.parse(e.data).type);"
                     "es.onerror = () => seen.push('error ' + es.readyState)")
        eventually(lambda: browser.eval("seen").count("connected") == 1, "connected")
        holder = s.ws("bob")
        eventually(lambda: browser.eval("es.readyState") == 2, "closed for good", lib.LIMIT * 2)
        eq(browser.eval("seen")[:2], ["connected", "closed"])
        holder.quiet()


@row("5.retry", "docs.browser")
def test_an_event_source_comes_back_by_itself_after_a_restart():
    with Server() as first:
        port = first.port
        with Browser(port) as browser:
            browser.eval("const seen = []; const es = new EventSource('http://localhost:8080/sse?user_id=bob');"
                         "es.onmessage = e => seen.push(JSON.parse(e.data).type)")
            eventually(lambda: browser.eval("seen").count("connected") == 1, "connected")
            first.signal(signal.SIGTERM)
            eq(first.wait(), 0)
            with Server({"node_port": port}, strangers=True):
                eventually(lambda: browser.eval("seen").count("connected") == 2, "connected again", lib.LIMIT * 3)
                eq(browser.eval("seen"), ["connected", "closed", "connected"])


@row("server.playground", "docs.browser")
def test_the_first_page_loads_in_a_browser_without_an_error():
    with Server() as s, Browser(s.port, "http://localhost:8080/") as browser:
        ok(browser.eval("document.body.innerText.trim().length") > 0)
        browser.call("Page.reload")
        eventually(lambda: browser.eval("document.readyState") == "complete", "reload")
        wrong = [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"
                 or (e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error")]
        eq(wrong, [])


@row("server.playground", "docs.browser")
def test_the_first_page_over_https_talks_over_wss():
    config = {"tls": dict(lib.usual_certificate().config(), allow_plain=False)}
    with Server(config) as s, Browser(s.port) as browser:
        browser.call("Security.setIgnoreCertificateErrors", ignore=True)
        browser.call("Network.enable")
        browser.call("Page.navigate", url="https://localhost:8080/")
        eventually(lambda: browser.eval("document.querySelector('#node-text')?.textContent") == "localhost:8080", "page")
        browser.eval("document.querySelector('#both').click()")
        eventually(lambda: browser.eval("document.querySelector('#both').textContent") == "Disconnect both", "both")
        eq({e["params"]["url"].split("?")[0] for e in browser.events if e["method"] == "Network.webSocketCreated"},
           {"wss://localhost:8080/ws"})


# ---- questions that come up ------------------------------------------------------------------------------------------


@row("faq.refused")
def test_connection_refused_make_sure_the_url_carries_user_id():
    s = shared()
    failure(s.ws(check=False).answer, 401, "user_id_required", "user_id is required")
    s.ws("with-user-id").quiet()


@row("faq.cors", "docs.browser")
def test_cors_error_add_the_origin_to_websocket_origins():
    """A page of http://app.example.com:8080 asks http://localhost:8080."""
    fetch = ("fetch('http://localhost:8080/api/v1/websocket/send', {method: 'POST',"
             " headers: {'X-User-ID': 'a', 'Content-Type': 'application/json'},"
             " body: JSON.stringify({to: 'bob', content: 'x'})})"
             ".then(r => r.json()).then(b => b.code || b.success, e => 'CORS')")
    for origins, result in (([], "CORS"), (["http://app.example.com:8080"], True)):
        with Server({"websocket_origins": origins}) as s:
            bob = s.ws("bob")
            with Browser(s.port, "http://app.example.com:8080/livez") as browser:
                eq(browser.eval(fetch, wait=True), result, origins)
                if origins:
                    bob.recv(content="x", from_="a")
            bob.quiet()


@row("faq.not-delivered")
def test_message_not_delivered_see_whether_the_target_is_online():
    s = shared()
    failure(s.send("a", "nobody-here", "x"), 404, "user_offline")
    eq(s.online("?user_id=nobody-here")["users"][0]["status"], "offline")
    bob = s.ws("somebody-here")
    eq(s.online("?user_id=somebody-here")["users"][0]["status"], "connected")
    success(s.send("a", "somebody-here", "x"))
    bob.recv(content="x")


def oldest_that_waits(size):
    """The number of the oldest message behind the gap, of 600 that were sent to a client while it did not read."""
    with Server({"slow_consumer": "drop_oldest", "message_buffer_size": size,
                 "performance": {"kernel_queue": "4KiB", "max_queue_bytes": "64MiB"}}) as s:
        slow, h = s.ws("slow", rcvbuf=4096), s.http()
        for i in range(600):
            success(h.ask("POST", API + "/send", {"to": "slow", "content": str(i), "filler": "x" * 4000},
                          [("X-User-ID", "a")]))
        # The socket may have taken a few in between: only the messages behind the last gap count.
        oldest, before = None, None
        while True:
            m = slow.recv()
            if m["type"] != "gap" and before == "gap":
                oldest = int(m["content"])
            before = m["type"]
            if m["content"] == "599":
                return oldest


@row("faq.latency")
def test_high_latency_a_lower_message_buffer_size_bounds_how_old_a_message_can_be():
    small, large = oldest_that_waits(5), oldest_that_waits(200)
    ok(small >= 590 and 350 <= large <= 410, small, large)


@row("faq.latency")
def test_high_latency_a_longer_heartbeat_interval_only_saves_pings():
    with Server({"heartbeat_interval": "1h"}) as s:
        alice, bob = s.ws("alice"), s.ws("bob")
        for i in range(100):
            alice.send(to="bob", content=str(i))
            bob.recv(content=str(i))
    with Server({"heartbeat_interval": "50ms", "client_timeout": "60s"}) as s:
        eq(s.ws("alice").recv_frame()[0], PING)


@row("faq.drops")
def test_connection_drops_look_at_client_timeout():
    with Server({"heartbeat_interval": "50ms", "client_timeout": "200ms"}) as s:
        s.ws("asleep", pong=False).expect_close(4408, "client_timeout")
    with Server({"heartbeat_interval": "50ms", "client_timeout": "30s"}) as s:
        awake = s.ws("awake")
        for _ in range(10):
            opcode, payload, _ = awake.recv_frame()
            eq(opcode, PING)
            awake.send_frame(lib.PONG, payload)


@row("faq.refused", "faq.cors", "faq.not-delivered", "faq.latency", "faq.drops")
def test_the_questions_of_the_quick_reference_stand_in_troubleshooting_md():
    problems = "Connection refused|CORS error|Message not delivered|High latency|Connection drops"
    rows = re.findall(rf"^\| ({problems}) \| (.+) \|$",
                      page("quick-reference.md"), re.M)
    eq(len(rows), 5, rows)
    for problem, answer in rows:
        has(page("troubleshooting.md"), problem)
        for word in re.findall(r"`([^`]+)`", answer):
            has(page("troubleshooting.md"), word)


@row("docs.errors")
def test_errors_md_explains_every_code():
    with open(os.path.join(lib.ROOT, "src/api/ends.def"), encoding="utf-8") as f:
        codes = re.findall(r'^CODE\(API_\w+, "(\w+)", \w+, (\d+), (\d+),', f.read(), re.M)
    ok(len(codes) > 20)
    text = page("errors.md")
    for code, status, close in codes:
        has(text, f"| `{code}` |")
        line = next(line for line in text.splitlines() if line.startswith(f"| `{code}` |"))
        ok(status in line or "frame" in line, code, status, line)
        if close != "0":
            has(text, f"| {close} |")


@row("docs.commands")
def test_shell_lines_of_the_documentation_name_commands_that_exist():
    known = {"serve", "check", "config", "version", "help"}
    for leaf in sorted(os.listdir(DOCS)):
        if leaf.endswith(".md"):
            for language in ("sh", "bash", "console", "text"):
                for text in blocks(leaf, language):
                    for line in text.splitlines():
                        words = shlex.split(line, comments=True) if re.match(r"\s*\$?\s*(build/|\./)?wsc ",
                                                                             line) else []
                        words = [w for w in words if w != "$"]
                        if len(words) > 1 and words[0].split("/")[-1] == "wsc":
                            ok(words[1] in known, leaf, line)
