#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C twins of docs/from-go.md and docs/quick-reference.md, taken out of the pages, put into scaffold/*.c.in, compiled
against the library and run: each must do what its Go snippet promises. A snippet that no scaffold uses is a failure.

usage: from_go.py BUILD
Prints "N passed, N failed".
"""
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from support import PATIENCE, Program, eventually, run, same, sanitizer_flags

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(sys.argv[1]).resolve()
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]  # a hook need not use all it is given


def fenced(page, language):
    """(heading, block) of every fenced block of a language, in order."""
    heading, found = "", []
    for m in re.finditer(r"^#+ ([^\n]*)$|^```(\w+)\n(.*?)^```$", page, re.M | re.S):
        if m.group(1):
            heading = m.group(1)
        elif m.group(2) == language:
            found.append((heading, m.group(3)))
    return found


def named(blocks):
    """By heading; the second below the same heading is "heading 2"."""
    result = {}
    for heading, block in blocks:
        names = [heading] + [f"{heading} {i}" for i in range(2, 9)]
        result[next(n for n in names if n not in result)] = block
    return result


FROM_GO = (ROOT / "docs/from-go.md").read_text()
QUICK = (ROOT / "docs/quick-reference.md").read_text()
TWINS = named(fenced(FROM_GO, "c"))
YAML = fenced(QUICK, "yaml")[0][1]


def split(block):
    """The code at file scope (up to the end of the last function or struct), and the statements behind it."""
    lines = block.splitlines()
    ends = [i for i, line in enumerate(lines) if line in ("}", "};") and not statement(lines, i)]
    at = ends[-1] + 1 if ends else 0
    return "\n".join(lines[:at]), "\n".join(lines[at:])


def statement(lines, end):
    """Does the braced thing that ends at @end begin as a variable with its initial value?"""
    begin = max(i for i in range(end) if lines[i] and not lines[i][0].isspace() and lines[i] != "{")
    return "=" in lines[begin]


def filled(scaffold):
    text = (HERE / "scaffold" / scaffold).read_text()
    text = re.sub(r"@FILE (.*)@", lambda m: split(TWINS[m.group(1)])[0], text)
    return re.sub(r"@BODY (.*)@", lambda m: split(TWINS[m.group(1)])[1], text)


class Running:
    """A scaffold with its snippets, compiled and started in a directory of its own, with the YAML of the quick reference but for
    address and port, which the environment overrides."""

    def __init__(self, scaffold, yaml=YAML, prepare=lambda tmp: None):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="wsc-from-go-"))
        try:
            (self.tmp / "config.yaml").write_text(yaml)
            (self.tmp / "program.c").write_text(filled(scaffold))
            libs = subprocess.run(["pkg-config", "--cflags", "--libs", "sqlite3", "libpq"], capture_output=True, text=True,
                                  check=True).stdout.split()
            subprocess.run([os.environ.get("CC", "cc"), "program.c", "-o", "program", "-g", *WARNINGS,
                            *sanitizer_flags(BUILD), f"-I{ROOT}/include", f"-I{ROOT}/examples/websocket",
                            f"-L{BUILD}", "-lwsc", f"-Wl,-rpath,{BUILD}", *libs], cwd=self.tmp, check=True)
            prepare(self.tmp)
            self.program = Program(self.tmp / "program", cwd=self.tmp, env={"WSC_NODE_PORT": "0", "WSC_NODE_IP": "127.0.0.1"})
        except BaseException:
            shutil.rmtree(self.tmp)
            raise

    def __enter__(self):
        return self.program

    def __exit__(self, kind, *rest):
        self.program.process.stdin.close()  # the end of its input ends it
        try:
            status = self.program.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.program.process.kill()
            status = self.program.process.wait()
        self.program.process.stdout.close()
        shutil.rmtree(self.tmp)
        if kind is None:
            same(status, 0)


# ---- the pages ---------------------------------------------------------------------------------------------------------


def test_every_go_snippet_stands_beside_its_twin():
    go = named(fenced(FROM_GO, "go"))
    same(len(go), 7)
    for heading in go:
        at = FROM_GO.index(go[heading])
        behind = FROM_GO.index(TWINS[heading], at)
        same((heading, "## " in FROM_GO[at:behind]), (heading, False))


def test_the_quick_reference_has_the_same_twins():
    twins = [block for heading, block in fenced(FROM_GO, "c") if heading in named(fenced(FROM_GO, "go"))]
    twins = [block for block in twins if block != TWINS["Send a message 2"]]
    same([block for _, block in fenced(QUICK, "c")], twins)
    same("```go" in QUICK, False)


def test_every_c_snippet_is_run_by_a_scaffold():
    used = set()
    for scaffold in (HERE / "scaffold").glob("*.c.in"):
        used |= set(re.findall(r"@(?:FILE|BODY) (.*)@", scaffold.read_text()))
    same(sorted(TWINS), sorted(used))


def says(block):
    """Lines that say something: no blank ones, comments or braces alone."""
    return sum(1 for line in block.splitlines() if re.search(r"[a-zA-Z]", line) and not line.strip().startswith("//"))


def test_the_twins_are_as_brief_as_the_go_snippets():
    for heading, go in named(fenced(FROM_GO, "go")).items():
        same((heading, 2 * says(TWINS[heading]) <= 3 * says(go)), (heading, True))


# ---- the snippets ------------------------------------------------------------------------------------------------------


def test_create_the_middleware_and_mount_the_api():
    with Running("start.c.in") as p, p.ws("user_id=alice") as alice, p.ws("") as nobody:
        same((alice.status, nobody.status), (101, 401))
        for path in ("/wsc/stats", "/wsc/online", "/api/v1/websocket/stats", "/api/v1/websocket/online"):
            same((path, p.call("GET", path)[0]), (path, 200))
        same(p.call("GET", "/wsc/online")[1]["data"]["users"][0]["user_type"], "customer")
        same(p.call("GET", "/sse")[0], 401)
        same(p.send("user1", to="alice", content="Hi")[0], 200)
        same(alice.read()["content"], "Hi")


def test_send_a_message():
    with Running("start.c.in") as p, p.ws("user_id=user2") as user2:
        p.say("send")
        message = user2.read()
        same({k: message[k] for k in ("from", "to", "type", "content")},
             {"from": "user1", "to": "user2", "type": "text", "content": "Hello!"})
        same(bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", message["create_at"])), True)


def test_broadcast_a_message():
    with Running("start.c.in") as p, p.ws("user_id=user1") as user1, p.ws("user_id=user2") as user2:
        p.say("broadcast")
        for c in (user1, user2):
            message = c.read()
            same({k: message[k] for k in ("from", "to", "type", "content")},
                 {"from": "system", "to": "", "type": "notice", "content": "System update!"})


def test_the_outcome_of_a_message():
    with Running("outcome.c.in") as p:
        p.say("")
        same(p.process.stdout.readline(), "m1: bob is offline and nothing is stored (store.kind: none), on 0 devices\n")
        with p.ws("user_id=bob"), p.ws("user_id=bob"):
            p.say("")
            same(p.process.stdout.readline(), "m1: delivered, on 2 devices\n")


def tables(tmp):
    with sqlite3.connect(tmp / "app.db") as db:
        db.execute("CREATE TABLE messages (from_user_id, to_user_id, content, type, created_at)")
        db.execute("CREATE TABLE users (id PRIMARY KEY, status)")
        db.execute("INSERT INTO users VALUES ('alice', 'offline'), ('bob', 'offline')")


def rows(p, query):
    with sqlite3.connect(pathlib.Path(p.process.args[0]).parent / "app.db", timeout=PATIENCE) as db:
        return db.execute(query).fetchall()


def callbacks(yaml=YAML + "  security:\n    sender_mismatch: hook\n"):
    return Running("callbacks.c.in", yaml, tables)


def test_check_messages():
    with callbacks() as p, p.ws("user_id=alice") as alice, p.ws("user_id=bob") as bob:
        alice.send(to="bob", content="x" * 1001, id="long")
        error = alice.read_type("error")
        same((error["content"], error["data"]), ("Message too long", {"code": "refused", "ref": "long"}))
        alice.send(to="bob", content="I am eve", **{"from": "eve"})
        same(alice.read_type("error")["content"], "Sender mismatch")
        alice.send(to="bob", content="x" * 1000, **{"from": "alice"})
        same(bob.read_type("text")["content"], "x" * 1000)  # and nothing of the refused ones before it
        same(p.send("carol", to="bob", content="x" * 1001)[0], 403)
        same(p.send("carol", to="bob", content="\u00e4" * 500)[0], 200)


def test_check_messages_with_the_gateways_own_check_of_from():
    with callbacks(YAML) as p, p.ws("user_id=alice") as alice:
        alice.send(to="alice", content="x", **{"from": "eve"})
        same(alice.read_type("error")["data"]["code"], "sender_mismatch")


def test_keep_a_log():
    with callbacks() as p, p.ws("user_id=bob") as bob:
        status, answer = p.send("alice", to="bob", content="It's \"me\"", type="image")
        same(status, 200)
        message = bob.read_type("image")
        same(message["id"], answer["data"]["id"])
        wanted = [("alice", "bob", "It's \"me\"", "image", message["create_at"])]
        eventually(lambda: rows(p, "SELECT * FROM messages") == wanted, "the row")
        p.call("POST", "/api/v1/websocket/broadcast", {"content": "not logged"})
        bob.read_type("notice")
        p.send("alice", to="bob", content="last")
        eventually(lambda: rows(p, "SELECT content FROM messages ORDER BY rowid") == [("It's \"me\"",), ("last",)], "two rows")


def test_follow_the_users_online():
    def status(user):
        return rows(p, f"SELECT status FROM users WHERE id = '{user}'")[0][0]

    with callbacks() as p, p.ws("user_id=bob") as bob:
        same(bob.read()["content"], "bob is online")
        with p.ws("user_id=alice"):
            message = bob.read()
            same((message["type"], message["from"], message["content"]), ("system", "system", "alice is online"))
            eventually(lambda: status("alice") == "online", "alice online")
            with p.ws("user_id=alice"):
                bob.read_type("system")
            eventually(lambda: p.call("GET", "/wsc/online?user_id=alice")[1]["data"]["users"][0]["connections"] == 1, "one device")
            same(status("alice"), "online")
        eventually(lambda: status("alice") == "offline", "alice offline")
        same(status("bob"), "online")


if __name__ == "__main__":
    sys.exit(run([f for name, f in list(globals().items()) if name.startswith("test_")]))
