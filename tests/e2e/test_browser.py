# SPDX-License-Identifier: Apache-2.0
"""The playground, used in a real Chromium as a person would use it.

With E2E_PICTURES=DIR in the environment each test leaves pictures of what it saw there.
"""
import base64
import json
import os
import signal

import lib
from lib import Server, eq, eventually, ok, row
from test_docs import Browser

QUICK = """
const user = (side) => document.querySelector(`.user[data-side=${side}]`);
const part = (side, what) => user(side).querySelector(what);
const texts = (list) => [...list].map((e) => e.innerText.trim().replace(/\\s+/g, ' '));
const chat = (side) => texts(user(side).querySelectorAll('.chat > *'));
const frames = () => texts(document.querySelectorAll('.frame'));
const stat = (key) => document.querySelector(`[data-stat=${key}]`).innerText;
"""


class Page(Browser):
    """The first page of the server at @port, open; @width and @height of its window; @node is the name of the server."""

    def __init__(self, port, width=1280, height=860, node="localhost:8080"):
        super().__init__(port, "http://localhost:8080/")
        try:
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                      mobile=width < 600)
            self.eval(QUICK)
            self.sees("1", lambda: self.eval("document.querySelector('#node-text').innerText"), node)
        except BaseException:
            self.close()
            raise

    def sees(self, what, look, want=None):
        """Waits until @look() is true, or has @want in it."""
        last = None

        def there():
            nonlocal last
            last = look()
            return want in last if want is not None else last
        try:
            return eventually(there, what)
        except lib.Wrong:
            self.picture("failure")
            lib.fail(what, "does not show:", want, "in", last)

    def click(self, side, what):
        self.eval(f"part('{side}', '{what}').click()")

    def state(self, side):
        return self.eval(f"part('{side}', '.state').innerText")

    def join(self, left="ws", right="ws"):
        """Both users connect, over the transports given."""
        for side, transport in (("left", left), ("right", right)):
            self.click(side, f".transport input[value={transport}]")
        self.eval("document.querySelector('#both').click()")
        for side in ("left", "right"):
            self.sees(f"{side} connected", lambda: self.state(side), "connected")
            eventually(lambda: self.eval(f"user('{side}').dataset.state") == "on", f"{side} on")

    def type(self, side, text):
        """Types into the composer of @side, key by key where that matters: the Enter."""
        self.eval(f"part('{side}', 'textarea').focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                      text="\r" if kind == "keyDown" else "")

    def to(self, side, whom):
        self.eval(f"part('{side}', '[name=to]').value = {json.dumps(whom)}")

    def hears(self, side, text):
        self.sees(f"{text!r} in the chat of {side}", lambda: "\n".join(self.eval(f"chat('{side}')")), text)

    def online(self):
        """The names of the online list, in alphabetical order."""
        return " ".join(sorted(self.eval("texts(document.querySelectorAll('#online li b'))")))

    def complaints(self):
        """The faults of the page, as the browser reports them."""
        self.eval("1")
        return [e["params"] for e in self.events if e["method"] == "Runtime.exceptionThrown"
                or (e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] in ("error", "warning"))
                or (e["method"] == "Runtime.consoleAPICalled"
                    and e["params"]["type"] in ("error", "warning", "assert"))]

    def picture(self, leaf):
        where = os.environ.get("E2E_PICTURES")
        if where:
            data = self.call("Page.captureScreenshot", format="png")["data"]
            with open(os.path.join(where, f"playground-{leaf}.png"), "wb") as f:
                f.write(base64.b64decode(data))


@row("server.playground")
def test_alice_and_bob_chat_both_ways_on_the_playground():
    with Server() as s, Page(s.port) as page:
        page.picture("fresh")
        page.join()
        page.type("left", "Hello Bob, how are you?")
        page.hears("right", "Hello Bob, how are you?")
        page.type("right", "Fine — zażółć gęślą 🙂 <b>not bold</b>")
        page.hears("left", "Fine — zażółć gęślą 🙂 <b>not bold</b>")
        page.click("left", ".ping")
        page.sees("a pong", lambda: page.state("left"), "pong in ")
        page.sees("the statistics", lambda: page.eval("stat('messages_received') + stat('messages_sent')"), "22")
        eq(page.eval("stat('active_connections') + stat('online_users')"), "22")
        page.sees("the online list", lambda: page.online(),
                  "alice bob")
        wire = page.eval("frames()")
        eq(sum("Hello Bob, how are you?" in f for f in wire), 2, "sent and received", wire)
        page.picture("chat")
        page.eval("[...document.querySelectorAll('.frame > button')].at(-1).click()")
        ok(page.eval("document.querySelector('.frame pre').innerText").startswith("{"), "an opened frame")
        page.picture("frame")
        page.eval("document.querySelector('#both').click()")
        page.sees("disconnected", lambda: page.state("left") + page.state("right"), "not connectednot connected")
        eventually(lambda: s.stats()["active_connections"] == 0, "both are gone")
        eq(page.complaints(), [])


@row("server.playground")
def test_the_playground_speaks_event_streams_too():
    with Server() as s, Page(s.port) as page:
        page.join("sse", "ws")
        page.type("right", "to your stream")
        page.hears("left", "to your stream")
        page.type("left", "by POST")
        page.hears("right", "by POST")
        page.hears("left", "delivered to 1 device")
        page.sees("transports", lambda: page.eval("document.querySelector('[data-sub=transports]').innerText"),
                  "1 WS · 1 SSE")
        page.picture("sse")
        page.click("left", ".transport input[value=ws]")
        page.sees("over to a socket", lambda: page.eval("document.querySelector('[data-sub=transports]').innerText"),
                  "2 WS · 0 SSE")
        page.hears("left", "connected as alice over WebSocket")
        eq(page.complaints(), [])


@row("server.playground", "4.broadcast")
def test_a_broadcast_from_the_playground_reaches_both_and_the_numbers_move():
    with Server() as s, Page(s.port) as page:
        page.join("ws", "sse")
        third = s.ws("carol")
        page.sees("carol", lambda: page.online(), "carol")
        page.eval("document.querySelector('#broadcast textarea').value = 'Maintenance at noon';"
                  "document.querySelector('#broadcast button').click()")
        for side in ("left", "right"):
            page.hears(side, "system Maintenance at noon")
        third.recv("notice", from_="system", content="Maintenance at noon")
        page.sees("the outcome", lambda: page.eval("document.querySelector('#broadcast .outcome').innerText"),
                  "delivered to 3 devices")
        page.sees("the counter", lambda: page.eval("stat('broadcasts')"), "1")
        page.eval("document.querySelector('#broadcast [name=as]').selectedIndex = 1;"
                  "document.querySelector('#broadcast textarea').value = 'From me';"
                  "document.querySelector('#broadcast button').click()")
        page.hears("right", "alice From me")
        page.picture("broadcast")
        eq(page.complaints(), [])


@row("server.playground")
def test_the_playground_shows_errors_where_they_belong():
    with Server() as s, Page(s.port) as page:
        page.type("left", "too early")
        page.hears("left", "connect first")
        page.join("ws", "sse")
        page.to("left", "nobody-here")
        page.type("left", "Is anybody there?")
        page.hears("left", "user_offline")
        page.to("right", "nobody-here")
        page.type("right", "Anybody?")
        page.hears("right", "user_offline")
        page.click("left", "[name=raw]")
        page.eval("part('left', 'textarea').value = ''")
        page.type("left", "{this is not JSON")
        page.hears("left", "bad_message")
        ok(page.eval("document.querySelectorAll('.frame.bad').length") >= 3, page.eval("frames()"))
        page.eval("document.querySelector('#filter [value=error]').click()")
        page.picture("errors")
        # The browser itself notes the 404 of the POST; nothing else may be there.
        wrong = [w for w in page.complaints() if "404" not in str(w)]
        eq(wrong, [])


@row("server.playground", "7.4409")
def test_the_playground_says_why_a_connection_was_taken_over():
    with Server({"max_connections_per_user": 1}) as s, Page(s.port) as page:
        page.join()
        mine = s.ws("alice")
        page.sees("taken over", lambda: page.state("left"), "4409")
        mine.quiet()
        eq(page.eval("user('left').dataset.state"), "stopped")
        eq(page.complaints(), [])


@row("server.playground")
def test_the_playground_comes_back_by_itself_after_a_restart():
    with Server() as first:
        port = first.port
        with Page(port) as page:
            page.join("ws", "sse")
            first.signal(signal.SIGTERM)
            eq(first.wait(), 0)
            page.sees("the outage", lambda: page.eval("document.querySelector('#outage').innerText"), "does not answer")
            page.picture("outage")
            with Server({"node_port": port}, strangers=True) as second:
                for side in ("left", "right"):
                    eventually(lambda: page.eval(f"user('{side}').dataset.state") == "on", f"{side} is back",
                               lib.LIMIT * 4)
                page.type("left", "back again")
                page.hears("right", "back again")
                page.sees("no outage", lambda: page.eval("document.querySelector('#outage').hidden"))
                eq(second.stats()["active_connections"], 2)


@row("server.playground")
def test_the_playground_says_that_moved_paths_are_not_its_own():
    with Server({"paths": {"stats": "/numbers"}}) as s, Page(s.port, node="refused") as page:
        page.sees("why", lambda: page.eval("document.querySelector('#outage').innerText"), "paths.* has moved them")
        page.picture("moved")


@row("server.playground")
def test_names_and_texts_never_become_markup_on_the_playground():
    evil = "<img src=x onerror=window.evil=1>"
    with Server() as s, Page(s.port) as page:
        page.join()
        guest = s.ws(evil)
        guest.send(to="alice", content=evil)
        page.hears("left", evil)
        page.sees("the list", lambda: page.online(), evil)
        page.eval("document.querySelectorAll('.frame > button').forEach((b) => b.click())")
        eq(page.eval("[document.querySelectorAll('img').length, window.evil]"), [0, None])
        eq(page.complaints(), [])


@row("server.playground")
def test_the_playground_fits_a_phone_and_a_dark_room():
    with Server() as s, Page(s.port, 390, 844) as page:
        page.join()
        page.type("left", "Hello from a small screen, with a text that is somewhat longer than one line")
        page.hears("right", "Hello from a small screen")
        ok(page.eval("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen",
           page.eval("[document.documentElement.scrollWidth, innerWidth]"))
        page.picture("phone")
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        page.call("Emulation.setDeviceMetricsOverride", width=1280, height=860, deviceScaleFactor=1, mobile=False)
        page.picture("dark")
        ok(page.eval("document.documentElement.scrollWidth <= innerWidth"))
        eq(page.complaints(), [])
