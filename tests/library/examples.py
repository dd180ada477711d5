#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts each program of examples/websocket and checks that it works as it says; the two clients against a real server.

usage: examples.py BUILD
Prints "N passed, N failed".
"""
import os
import pathlib
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading

from support import PATIENCE, Program, eventually, run, same, sanitizer_flags

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples/websocket"
BUILD = pathlib.Path(sys.argv[1]).resolve()


def example(name, *args, **more):
    return Program(BUILD / "examples" / f"example_{name}", 0, *args, **more)


class Scratch:
    """A directory of its own."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="wsc-examples-"))
        return self.path

    def __exit__(self, *exc):
        shutil.rmtree(self.path, ignore_errors=True)


def rows(database, query):
    try:
        with sqlite3.connect(database, timeout=PATIENCE) as db:
            return db.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


# ---- quick start, sending --------------------------------------------------------------------------------------------


def test_quick_start_serves_the_calls_of_the_quick_reference():
    with example("quick_start") as p, p.ws("user_id=user2") as user2:
        same(p.send("user1", to="user2", content="Hi")[1]["data"]["delivered_count"], 1)
        same(user2.read()["content"], "Hi")
        same(p.call("POST", "/api/v1/websocket/broadcast", {"content": "System announcement", "type": "notice"})[0], 200)
        same(user2.read()["content"], "System announcement")
        same(p.online(), ["user2"])
        same(p.call("GET", "/wsc/stats")[1]["status"], "ok")
        with p.ws("") as nobody:
            same(nobody.status, 401)


def test_quick_start_reads_a_configuration_file():
    with Scratch() as tmp:
        (tmp / "config.yaml").write_text("wsc:\n  enabled: true\n  node_ip: 127.0.0.1\n  node_id: from-the-file\n")
        with example("quick_start", tmp / "config.yaml") as p:
            same(p.call("GET", "/wsc/stats")[1]["data"]["node_id"], "from-the-file")


def test_examples_report_the_fault_and_fail():
    with example("quick_start") as p:
        done = subprocess.run([BUILD / "examples/example_quick_start", str(p.port)], capture_output=True, text=True, timeout=PATIENCE)
        same((done.returncode, str(p.port) in done.stderr), (1, True))
    done = subprocess.run([BUILD / "examples/example_callbacks", "0", "/no/such/directory/x.db"], capture_output=True, text=True,
                          timeout=PATIENCE)
    same((done.returncode, "database" in done.stderr), (1, True))


def test_send_and_broadcast_sends_lines_and_prints_their_outcomes():
    with example("send_and_broadcast") as p, p.ws("user_id=user2") as user2, p.ws("user_id=user3") as user3:
        p.say("user2: hello")
        message = user2.read()
        same((message["type"], message["from"], message["content"]), ("text", "user1", "hello"))
        same(re.sub(r"^\w+", "ID", p.process.stdout.readline()), "ID: delivered (1)\n")
        p.say("nobody: hello")
        same("nobody is offline" in p.process.stdout.readline(), True)
        p.say("hello everybody")
        for c in (user2, user3):
            message = c.read()
            same((message["type"], message["from"], message["to"], message["content"]), ("notice", "system", "", "hello everybody"))
        same(re.sub(r"^\w+", "ID", p.process.stdout.readline()), "ID: delivered (2)\n")


# ---- callbacks -------------------------------------------------------------------------------------------------------


def callbacks_scenario(p, query):
    """The three callbacks; @query asks the database."""
    with p.ws("user_id=bob") as bob:
        same(bob.read()["content"], "bob is online")
        eventually(lambda: query("SELECT status FROM users WHERE id = 'bob'") == [("online",)], "bob online")
        with p.ws("user_id=alice") as alice:
            message = bob.read()
            same((message["type"], message["from"], message["content"]), ("system", "system", "alice is online"))
            same(alice.read()["content"], "alice is online")

            alice.send(to="bob", content="x" * 1001)
            error = alice.read()
            same((error["content"], error["data"]["code"]), ("Message too long", "refused"))
            alice.send(to="bob", content="x", **{"from": "eve"})
            same(alice.read()["content"], "Sender mismatch")
            alice.send(to="bob", content="x" * 1000)
            same(len(bob.read()["content"]), 1000)
            status, answer = p.send("carol", to="bob", content="y" * 1001)
            same((status, answer["error"]), (403, "Message too long"))

            alice.send(to="bob", content="Hello 'Bob'!", type="image", create_at="2026-01-31T12:00:00Z", **{"from": "alice"})
            same(bob.read()["content"], "Hello 'Bob'!")
            wanted = [("alice", "bob", "Hello 'Bob'!", "image", "2026-01-31T12:00:00Z")]
            eventually(lambda: query("SELECT from_user_id, to_user_id, content, type, created_at FROM messages "
                                     "WHERE type = 'image'") == wanted, "the row of the message")
            same(query("SELECT count(*) FROM messages"), [(2,)])
            with p.ws("user_id=alice"):
                eventually(lambda: p.call("GET", "/wsc/online?user_id=alice")[1]["data"]["users"][0]["connections"] == 2, "two devices")
            eventually(lambda: p.call("GET", "/wsc/online?user_id=alice")[1]["data"]["users"][0]["connections"] == 1, "one device")
            same(query("SELECT status FROM users WHERE id = 'alice'"), [("online",)])
        eventually(lambda: query("SELECT status FROM users WHERE id = 'alice'") == [("offline",)], "alice offline")


def test_callbacks_check_log_and_follow_users_in_sqlite():
    with Scratch() as tmp:
        database = tmp / "callbacks.db"
        with example("callbacks", database) as p:
            callbacks_scenario(p, lambda query: rows(database, query))
            with p.ws("user_id=last") as last:
                same(last.read()["content"], "last is online")
                p.process.send_signal(signal.SIGINT)
                same(last.close_code(), 1001)
        # Everything that was queued is written at the end.
        same(rows(database, "SELECT status, count(*) FROM users GROUP BY status"), [("offline", 3)])


class Postgres:
    """A PostgreSQL server of our own on a Unix socket; it does not run as root, so root becomes nobody for it."""

    def __enter__(self):
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="wsc-pg-"))
        self.user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self.run("initdb", "-D", "data", "-A", "trust", "-U", "wsc", "--no-sync", "-E", "UTF8", "--locale=C")
        self.run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"-c listen_addresses= -c fsync=off -k {self.dir}", "start")
        self.url = f"postgres://wsc@/postgres?host={self.dir}"
        return self

    def __exit__(self, *exc):
        self.run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, name, *args):
        as_user = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        done = subprocess.run([self.bin / name, *args], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir)}, timeout=60 + PATIENCE, **as_user)
        if done.returncode:
            raise AssertionError(f"{name}: {done.stdout}")

    def query(self, text):
        done = subprocess.run([self.bin / "psql", "-XAtq", "-F", "\x1f", "-c", text, self.url], capture_output=True, text=True,
                              timeout=PATIENCE)
        return [tuple(int(c) if c.isdigit() else c for c in line.split("\x1f")) for line in done.stdout.splitlines()]


def test_callbacks_check_log_and_follow_users_in_postgresql():
    with Postgres() as pg, example("callbacks", pg.url) as p:
        callbacks_scenario(p, pg.query)


# ---- token -----------------------------------------------------------------------------------------------------------


def test_token_auth_asks_the_database_and_answers_later():
    with Scratch() as tmp, example("token_auth", tmp / "tokens.db") as p:
        with p.ws("token=alice-token") as alice, p.ws("", extra_headers={"Authorization": "Bearer bob-token"}) as bob:
            same(sorted(p.online()), ["alice", "bob"])
            alice.send(to="bob", content="hi")
            same(bob.read()["from"], "alice")
        for query in ("token=nonsense", "user_id=alice", "token=" + "x" * 300, "token='%20OR%201=1"):
            with p.ws(query) as c:
                same(c.status, 401)
        with sqlite3.connect(tmp / "tokens.db", timeout=PATIENCE) as db:
            db.execute("INSERT INTO tokens VALUES ('king-token', 'king', 'king')")
        with p.ws("token=king-token") as c:
            same(c.status, 403)  # not one of security.allowed_user_types
        many = [threading.Thread(target=lambda: p.ws("token=alice-token").__exit__()) for _ in range(20)]
        for t in many:
            t.start()
        for t in many:
            t.join()
        same(p.call("GET", "/wsc/stats")[1]["data"]["total_lifetime"], 22)


# ---- embedding -------------------------------------------------------------------------------------------------------


def test_embed_epoll_is_one_thread_with_the_programs_own_descriptors():
    with example("embed_epoll", 50) as p, p.ws("user_id=alice") as alice, p.ws("user_id=bob") as bob:
        for _ in range(3):
            same(alice.read()["content"][:7], "up for ")
        alice.send(to="bob", content="hi")
        same(bob.read_type("text")["content"], "hi")
        if not any("san" in line for line in open(f"/proc/{p.process.pid}/maps", encoding="utf-8")):
            same(len(os.listdir(f"/proc/{p.process.pid}/task")), 1)
        p.process.send_signal(signal.SIGTERM)
        same(alice.close_code(), 1001)


def test_own_routes_and_socket():
    with example("own_routes_and_socket") as p:
        own = int(re.search(r"\d+$", p.lines[0]).group())
        same(p.call("GET", "/hello?name=you"), (200, "Hello, you!\n"))
        same(p.call("GET", "/hello"), (200, "Hello, stranger!\n"))
        same(p.call("GET", "/nothing")[0], 404)
        with p.ws("user_id=alice") as alice, p.ws("user_id=bob", port=own) as bob:
            alice.send(to="bob", content="across")
            same(bob.read()["content"], "across")
            same(sorted(p.online()), ["alice", "bob"])


def test_every_example_ends_on_sigint_and_sigterm_with_clients_connected():
    with Scratch() as tmp:
        for name in sorted(f.stem for f in EXAMPLES.glob("*.c")):
            for sig in (signal.SIGINT, signal.SIGTERM):
                with example(name, cwd=tmp) as p:
                    with p.ws("user_id=alice&token=alice-token") as c:
                        p.process.send_signal(sig)
                        same((name, c.close_code()), (name, 1001))
                    same((name, p.process.wait(PATIENCE)), (name, 0))


# ---- the clients -------------------------------------------------------------------------------------------------------


def test_the_python_client_sends_and_prints():
    with example("quick_start") as p, p.ws("user_id=bob") as bob, Scratch() as tmp:
        # The file names port 8080; here it is another.
        (tmp / "client.py").write_text((EXAMPLES / "client.py").read_text().replace("localhost:8080", f"localhost:{p.port}"))
        client = subprocess.Popen(["/usr/bin/python3", "-u", tmp / "client.py"], stdout=subprocess.PIPE, text=True)
        try:
            same(bob.read()["content"], "Hello Bob!")
            bob.send(to="alice", content="Hello Alice!")
            same(client.stdout.readline(), "Message from bob: Hello Alice!\n")
        finally:
            client.kill()
            client.wait()
            client.stdout.close()


def test_the_clients_match_the_quick_reference():
    text = (ROOT / "docs/quick-reference.md").read_text()
    python = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    same((EXAMPLES / "client.py").read_text().endswith(python), True)
    # The JavaScript has its send inside onopen, else it is the same, statement by statement.
    javascript = re.search(r"```javascript\n(.*?)```", text, re.S).group(1)
    file = (EXAMPLES / "client.js").read_text()
    for line in javascript.splitlines():
        if "onopen" not in line:
            same((line, line.strip() in file), (line, True))
    same(file.index("onopen") < file.index("ws.send(") < file.index("ws.onmessage"), True)
    same("client.js" in (EXAMPLES / "client.html").read_text(), True)


# ---- the page --------------------------------------------------------------------------------------------------------


def test_every_example_is_in_the_readme_and_builds_with_its_own_line():
    readme = (EXAMPLES / "README.md").read_text()
    with Scratch() as tmp:
        for file in sorted(EXAMPLES.glob("*.c")):
            same((file.name, f"[{file.name}]({file.name})" in readme), (file.name, True))
            line = re.search(r"^ \*   (cc " + file.name + r" .*)$", file.read_text(), re.M).group(1)
            # pkg-config knows a wsc that is not installed by the files of this build.
            libs = re.search(r"\$\(pkg-config --cflags --libs wsc(.*)\)", line).group(1).split()
            flags = subprocess.run(["pkg-config", "--cflags", "--libs", *libs], capture_output=True, text=True,
                                   check=True).stdout.split() if libs else []
            subprocess.run(["cc", file.name, "-o", tmp / "a.out", f"-I{ROOT}/include", *sanitizer_flags(BUILD), f"-L{BUILD}", "-lwsc", *flags],
                           cwd=EXAMPLES, check=True)


def test_the_first_program_of_the_library_page_compiles_as_it_stands_listens_and_ends():
    program = re.search(r"```c\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.S).group(1)
    with Scratch() as tmp:
        (tmp / "program.c").write_text(program)
        (tmp / "config.yaml").write_text("wsc:\n  node_ip: 127.0.0.1\n  node_port: 0\n")
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "program.c", f"-I{ROOT}/include", *sanitizer_flags(BUILD),
                        f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", "-lwsc"], cwd=tmp, check=True)
        done = subprocess.run(["./a.out"], cwd=tmp, input="\n", capture_output=True, text=True, timeout=PATIENCE)
        same((done.returncode, " listening " in done.stderr, " stopped " in done.stderr), (0, True, True))
        (tmp / "config.yaml").write_text("wsc:\n  node_ip: 127.0.0.1\n  node_prt: 0\n")
        done = subprocess.run(["./a.out"], cwd=tmp, input="\n", capture_output=True, text=True, timeout=PATIENCE)
        same((done.returncode, "did you mean node_port?" in done.stderr), (1, True))


if __name__ == "__main__":
    sys.exit(run([f for name, f in list(globals().items()) if name.startswith("test_")]))
