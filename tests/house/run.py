#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the project itself: headers, symbols, installation, hardening, both compilers, package list, counting.

usage: run.py PROGRAM [TEXT...]   PROGRAM lies in the build directory; only tests whose name contains a TEXT
Prints "N passed, N failed".
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(sys.argv[1]).resolve().parent if len(sys.argv) > 1 else ROOT / "build"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wundef", "-Werror"]
PUBLIC_HEADERS = sorted(p.relative_to(ROOT / "include").as_posix() for p in (ROOT / "include").rglob("*.h"))


def sh(*command, env=None, cwd=ROOT):
    """Runs a command that must succeed; returns what it printed."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=env and dict(os.environ, **env), cwd=cwd)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(str(c) for c in command)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


class Temporary(unittest.TestCase):
    """A test with a directory of its own, self.tmp."""

    def setUp(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="wsc-house-"))
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)

    def write(self, name, text, mode=0o644):
        path = self.tmp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path


class PublicHeaders(Temporary):
    def each_alone(self, suffix, *compiler):
        for header in PUBLIC_HEADERS:
            with self.subTest(header=header):
                source = self.write("one" + suffix, f"#include <{header}>\n#include <{header}>\n")
                sh(*compiler, "-I", ROOT / "include", "-fsyntax-only", source)

    def test_each_header_stands_alone_as_strict_c11(self):
        self.each_alone(".c", "gcc", "-std=c11", *STRICT)

    def test_each_header_stands_alone_as_strict_c11_for_clang(self):
        self.each_alone(".c", "clang", "-std=c11", *STRICT)

    def test_each_header_stands_alone_as_strict_cpp17(self):
        # wsc_stats() and struct wsc_stats share a name as stat() and struct stat do; -Wshadow of C++ calls that hiding.
        strict = [w for w in STRICT if w not in ("-Wstrict-prototypes", "-Wshadow")]
        self.each_alone(".cpp", "g++", "-std=c++17", *strict)

    def test_the_version_of_the_header_is_that_of_the_build(self):
        header = re.search(r'#define WSC_VERSION "([^"]+)"', (ROOT / "include/wsc/wsc.h").read_text()).group(1)
        build = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
        self.assertEqual(header, build)


def declared_functions():
    """The functions that the public headers declare, as the compiler sees them."""
    text = sh("gcc", "-E", "-P", "-std=c11", "-I", ROOT / "include", "-include", "wsc/wsc.h", "-x", "c", "/dev/null")
    text = re.sub(r"\btypedef\b[^;{]*;", "", text)
    return set(re.findall(r"\b(wsc_\w+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*;", text))


class Symbols(unittest.TestCase):
    def defined(self, *nm):
        return {line.split()[2].split("@")[0] for line in sh("nm", "--defined-only", *nm).splitlines()
                if len(line.split()) == 3 and line.split()[1] in "TDBRVWuC"}

    # Shows: hardening.visibility
    def test_the_shared_library_shows_the_public_functions_and_nothing_else(self):
        self.assertEqual(self.defined("-D", BUILD / "libwsc.so"), declared_functions())

    # Shows: hardening.visibility
    def test_the_static_library_shows_the_public_functions_and_nothing_else(self):
        self.assertEqual(self.defined("-g", BUILD / "libwsc.a"), declared_functions())

    def test_the_soname_carries_the_number_of_the_interface(self):
        self.assertRegex(sh("readelf", "-dW", BUILD / "libwsc.so"), r"SONAME.*\[libwsc\.so\.0\]")


EMBEDDER = """
#include <wsc/wsc.h>
#include <stdio.h>
/* Names that the library uses inside: an embedder may have them too. */
int hub_publish(void); int ws_decode(void); int loop_wait(void); int mem_alloc(void);
int hub_publish(void) { return 1; }
int ws_decode(void) { return 2; }
int loop_wait(void) { return 3; }
int mem_alloc(void) { return 4; }
int main(void)
{
	struct wsc_config *config = wsc_config_new();
	struct wsc_gateway *gateway = wsc_new(config, 0);
	wsc_free(gateway);
	wsc_config_free(config);
	puts(wsc_version());
	return hub_publish() + ws_decode() + loop_wait() + mem_alloc() == 10 ? 0 : 1;
}
"""


class Faults(unittest.TestCase):
    """tests/faults/calls.def names the possible errors of every function of libc that the product calls."""

    def test_every_call_into_libc_is_in_the_matrix_of_faults_or_known_not_to_fail(self):
        text = (ROOT / "tests/faults/calls.def").read_text()
        known = set(re.findall(r"^(?:CALL|MEMORY|PLAIN)\((\w+)", text, re.M))
        libc = {line.split()[-1].split("@")[0] for line in
                sh("nm", "-D", "--defined-only", sh("gcc", "-print-file-name=libc.so.6").strip()).splitlines() if line}
        called = {line.split()[-1] for line in sh("nm", "-u", BUILD / "libwsc.a").splitlines() if line.startswith(" ")}
        # FORTIFY's __recv_chk is recv; __errno_location and its like are no calls of ours.
        called = {re.sub(r"^__(\w+)_chk$", r"\1", name) for name in called & libc}
        self.assertEqual({name for name in called - known if not name.startswith("__")}, set(),
                         "add them to tests/faults/calls.def, with the errors of their man pages")


class Ends(unittest.TestCase):
    """src/api/ends.def has every close code and every sentence that a client may be told; no literal stands beside it."""

    FOLDERS = ("shard", "conn", "hook", "submit", "transport", "http", "hub")
    # Calls whose text is for the operator or the compiler.
    LOGS = r"\b(?:shard_problem|log_\w+|LOG_WRITE|_Static_assert)\("
    # Texts that end nothing: contents of messages, lines of the log in a table.
    OTHERS = {
        "src/http/admit.c": {"nothing is stored (store.kind: none)"},
        "src/conn/flush.c": {"%u messages were dropped: this client reads too slowly"},
        "src/shard/shard.c": {"unknown error of the system"},
    }
    LOG_TABLES = {"src/shard/pressure.c": "memory: "}

    def setUp(self):
        self.table = (ROOT / "src/api/ends.def").read_text()
        self.sentences = {"".join(re.findall(r'"([^"]*)"', row)) for row in
                          re.findall(r'^(?:REFUSAL|CLOSING)\(\w+,\s*\w+,\s*((?:"[^"]*"\s*)+)\)', self.table, re.M)}

    def without(self, text, call):
        """The text without calls that match, their arguments included."""
        while found := re.search(call, text):
            depth, end = 1, found.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            text = text[:found.start()] + text[end:]
        return text

    def sources(self):
        for folder in self.FOLDERS:
            for path in sorted((ROOT / "src" / folder).glob("*.[ch]")):
                text = re.sub(r'("(?:[^"\\\n]|\\.)*")|/\*.*?\*/', lambda m: m.group(1) or "", path.read_text(), flags=re.S)
                yield path.relative_to(ROOT).as_posix(), text

    def test_no_close_code_stands_beside_the_table(self):
        numbers = set(re.findall(r"^CLOSE\((\d+)", self.table, re.M)) - {"1000"}  # also the milliseconds of a second
        self.assertGreater(len(numbers), 10)
        for path, text in self.sources():
            self.assertEqual(set(re.findall(r"(?<![\w.])(\d{4})[uU]?(?!\w)", text)) & numbers, set(), path)

    def test_no_sentence_stands_beside_the_table(self):
        self.assertGreater(len(self.sentences), 50)
        for path, text in self.sources():
            text = re.sub(r"^#include.*$", "", self.without(text, self.LOGS), flags=re.M)
            texts = {s for s in re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)
                     if s in self.sentences or re.search(r"[a-z,)] [a-z(%]", s)}
            if path in self.LOG_TABLES:
                texts = {s for s in texts if not s.startswith(self.LOG_TABLES[path])}
            self.assertEqual(texts - self.OTHERS.get(path, set()), set(), path)

    def test_the_playground_knows_every_close_code_and_reconnects_as_the_table_says(self):
        rows = re.findall(r'^CLOSE\((\d+), (\w+),\s+\w+,\s+"(.*?)"', self.table, re.M)
        back = {"SHOULD_RECONNECT", "SHOULD_SPREAD", "SHOULD_BACK_OFF"}
        page = (ROOT / "web/app.js").read_text()
        come_back = re.search(r"COME_BACK = new Set\(\[(.*?)\]\)", page).group(1)
        names = re.search(r"CLOSE_NAMES = \{(.*?)\};", page, re.S).group(1)
        self.assertEqual(set(re.findall(r"\d{4}", come_back)), {number for number, should, _ in rows if should in back})
        self.assertLessEqual({number for number, _, when in rows if when}, set(re.findall(r"(\d{4}):", names)))


class Installation(Temporary):
    def setUp(self):
        super().setUp()
        sh("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env={"DESTDIR": str(self.tmp)})
        self.libdir = next(self.tmp.rglob("libwsc.so.0")).parent
        self.env = {"PKG_CONFIG_PATH": str(self.libdir / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(self.tmp)}

    def flags(self, *what):
        return sh("pkg-config", *what, "wsc", env=self.env).split()

    def test_a_program_builds_with_pkg_config_and_runs_with_the_shared_library(self):
        source, program = self.write("e.c", EMBEDDER), self.tmp / "e"
        sh("gcc", "-std=c11", source, "-o", program, *self.flags("--cflags", "--libs"))
        self.assertIn("libwsc.so.0", sh("readelf", "-dW", program))
        self.assertRegex(sh(program, env={"LD_LIBRARY_PATH": str(self.libdir)}), r"^\d+\.\d+\.\d+\n$")

    def test_a_program_builds_with_the_static_library_and_keeps_its_own_names(self):
        source, program = self.write("e.c", EMBEDDER), self.tmp / "e"
        libs = ["-l:libwsc.a" if f == "-lwsc" else f for f in self.flags("--static", "--libs")]
        sh("gcc", "-std=c11", source, "-o", program, *self.flags("--cflags"), *libs)
        self.assertNotIn("libwsc.so", sh("readelf", "-dW", program))
        sh(program)

    def test_the_same_program_is_valid_cpp17(self):
        source, program = self.write("e.cpp", EMBEDDER), self.tmp / "e"
        sh("g++", "-std=c++17", source, "-o", program, *self.flags("--cflags", "--libs"))
        sh(program, env={"LD_LIBRARY_PATH": str(self.libdir)})

    def test_every_public_header_and_man_page_is_installed(self):
        installed = {p.relative_to(self.tmp).as_posix() for p in self.tmp.rglob("*")}
        for header in PUBLIC_HEADERS:
            self.assertTrue(any(f.endswith("include/" + header) for f in installed), header)
        for page in (p.name for p in (ROOT / "man").rglob("*.[1-8]")):
            self.assertTrue(any(re.search(f"/man/man./{re.escape(page)}(\\.gz)?$", f) for f in installed), page)

    def test_the_library_is_installed_where_linker_and_pkg_config_of_debian_look(self):
        # Left alone, meson takes lib64 on a machine that has never built a Debian package.
        options = json.loads(sh("meson", "introspect", "--buildoptions", ROOT / "meson.build"))
        value = {o["name"]: o["value"] for o in options}
        self.assertEqual((value["prefix"], value["libdir"]), ("/usr/local", "lib"))

    def test_the_installed_program_runs_alone(self):
        self.assertRegex(sh(next(self.tmp.rglob("bin/wsc")), "version"), r"\d+\.\d+\.\d+")


class Hardening(unittest.TestCase):
    """The libraries that the program and the library need; tools/check-hardening checks the hardening."""

    def each(self):
        return [(name, sh("readelf", "-dlhW", BUILD / name)) for name in ("wsc", "libwsc.so")]

    def test_only_libc_libyaml_openssl_and_zlib_are_needed(self):
        for name, text in self.each():
            needed = set(re.findall(r"NEEDED.*\[(\S+?)\.so", text))
            self.assertLessEqual(needed, {"libc", "libyaml-0", "libssl", "libcrypto", "libz"}, name)


# Unbounded writes, calls that need a NUL or a global, recursion on the stack, other programs, resolvers, weak random
# numbers; and calls that a library must leave to its program.
FORBIDDEN = set("""strcpy stpcpy strcat sprintf vsprintf gets atoi atol atof strtok scanf sscanf fscanf alloca
    setjmp _setjmp longjmp siglongjmp fork vfork execve execv execvp execl execlp posix_spawn posix_spawnp system popen
    getaddrinfo gethostbyname getnameinfo res_query rand srand random drand48 rand_r tmpnam mktemp tempnam
    localtime gmtime ctime asctime strerror inet_ntoa inet_addr setuid setgid""".split())
OF_PROGRAMS = {"signal", "sigaction", "sigprocmask", "exit", "_exit", "abort", "prctl", "setrlimit", "setrlimit64", "umask",
               "chdir", "setlocale"}


class Calls(unittest.TestCase):
    def calls(self, name):
        """The functions that a file takes from other libraries; the checked twin of a call counts as the call."""
        names = (line.split()[-1].split("@")[0] for line in sh("nm", "-D", "--undefined-only", BUILD / name).splitlines())
        return {re.sub(r"^__(isoc99_)?(\w+?)(_chk)?$", r"\2", n) for n in names}

    # Shows: threat 118, threat 141, threat 144, hardening.stack, hardening.coding-rules
    def test_no_call_that_our_rules_forbid_is_in_the_program(self):
        for name in ("wsc", "libwsc.so"):
            self.assertEqual(self.calls(name) & FORBIDDEN, set(), name)
            self.assertIn("recv", self.calls(name))

    def test_the_library_makes_no_call_that_is_the_programs_business(self):
        self.assertEqual(self.calls("libwsc.so") & OF_PROGRAMS, set())


ANALYZE = shutil.which("systemd-analyze")


class Unit(Temporary):
    """The unit of systemd that is installed with the program."""

    def setUp(self):
        super().setUp()
        sh("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env={"DESTDIR": str(self.tmp)})
        self.unit = next(self.tmp.rglob("systemd/system/wsc.service"))

    # Shows: hardening.not-root, hardening.privileges, hardening.unit, hardening.exposure
    def test_the_unit_locks_the_program_in(self):
        lines = self.unit.read_text().splitlines()
        program = re.search(r"^ExecStart=(\S+) serve /etc/wsc/config.yaml$", self.unit.read_text(), re.M).group(1)
        self.assertTrue(os.access(f"{self.tmp}{program}", os.X_OK), program)
        for line in ("DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict",
                     "MemoryDenyWriteExecute=yes", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
                     "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources", "LimitCORE=0", "UMask=0077"):
            self.assertIn(line, lines)
        if ANALYZE:  # exposure of at most 1.5, of 10
            sh(ANALYZE, "security", "--offline=true", "--threshold=15", self.unit)

    def allowed(self, name):
        out = set()
        for line in sh(ANALYZE, "syscall-filter", name).splitlines():
            word = line.strip()
            if word.startswith("@") and word != name:
                out |= self.allowed(word)
            elif re.fullmatch(r"[a-z_0-9]+", word):
                out.add(word)
        return out

    @unittest.skipUnless(ANALYZE and shutil.which("strace"), "needs systemd-analyze and strace")
    # Shows: hardening.seccomp
    def test_the_program_makes_no_call_that_its_unit_forbids(self):
        allowed = self.allowed("@system-service") - self.allowed("@privileged") - self.allowed("@resources")
        self.assertIn("epoll_wait", allowed)
        self.assertNotIn("mount", allowed)
        log, config = self.tmp / "calls", self.write("config.yaml", "wsc: {node_ip: 127.0.0.1, node_port: 0}\n")
        server = subprocess.Popen(["strace", "-f", "-qq", "-o", log, BUILD / "wsc", "serve", config], stderr=subprocess.PIPE,
                                  text=True)
        try:
            port = next(re.search(r"port[=:](\d+)", line) for line in server.stderr if "port" in line).group(1)
            url = f"http://127.0.0.1:{port}"
            sh("curl", "-sS", "--retry", "20", "--retry-connrefused", f"{url}/readyz", f"{url}/wsc/stats", f"{url}/")
            sh("curl", "-sS", "-d", '{"content":"x"}', f"{url}/api/v1/websocket/broadcast")
            subprocess.run(["curl", "-sS", "-m", "1", f"{url}/sse?user_id=a"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            child = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0]
            os.kill(int(child), signal.SIGHUP)
            os.kill(int(child), signal.SIGTERM)
            self.assertEqual(server.wait(30), 0)
        finally:
            server.kill()
            server.stderr.close()
        made = set(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.M)) - {"execve"}  # execve is systemd's
        self.assertGreater(len(made), 20)
        self.assertEqual(made - allowed, set())


class Compilers(unittest.TestCase):
    # Shows: hardening.warnings
    def test_clang_accepts_all_of_it_without_a_warning(self):
        build = BUILD.parent / (BUILD.name + "-clang")
        sh(ROOT / "tools/configure.sh", build, env={"CC": "clang"})
        sh("ninja", "-C", build, "product")


FAKE_DPKG = """#!/bin/sh
for p; do case "$p" in -*) ;; *) [ "$p" = "$ABSENT" ] || echo "installed $p" ;; esac; done
"""
FAKE_APT = """#!/bin/sh
echo "apt $*" >>"$CALLS"
exit ${APT_STATUS:-0}
"""


class Packages(Temporary):
    """tools/install-packages.sh with false dpkg and apt programs."""

    def setUp(self):
        super().setUp()
        self.calls = self.tmp / "calls"
        self.write("bin/dpkg-query", FAKE_DPKG, 0o755)
        self.write("bin/apt-get", FAKE_APT, 0o755)
        self.list = self.write("packages.txt",
                               "# groups\nbuild  gcc  a compiler\nbuild  ninja-build  b\ntest  curl  c\n")

    def fake(self, name, text):
        self.write("bin/" + name, "#!/bin/sh\n" + text, 0o755)

    def run_tool(self, *args, uid=0, **env):
        self.fake("id", f"echo {uid}")
        env = dict(os.environ, PATH=f"{self.tmp}/bin:/usr/bin:/bin", PACKAGES_LIST=str(self.list),
                   CALLS=str(self.calls), **env)
        done = subprocess.run([str(ROOT / "tools/install-packages.sh"), *args], env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout, self.calls.read_text() if self.calls.exists() else ""

    def test_nothing_is_installed_when_nothing_is_missing(self):
        self.assertEqual(self.run_tool("build", "test"), (0, "", ""))

    def test_only_the_named_group_counts(self):
        self.assertEqual(self.run_tool("build", ABSENT="curl"), (0, "", ""))

    def test_root_installs_the_missing_packages_and_no_others(self):
        status, _, calls = self.run_tool("build", "test", ABSENT="curl")
        self.assertEqual(status, 0)
        self.assertRegex(calls, r"(?s)apt .*update\n.*install .*--no-install-recommends curl\n$")

    def test_sudo_is_used_by_others(self):
        self.fake("sudo", 'echo "sudo $*" >>"$CALLS"\n')
        status, _, calls = self.run_tool("build", uid=1000, ABSENT="gcc")
        self.assertEqual(status, 0)
        self.assertRegex(calls, r"sudo env .*apt-get .*install .*gcc")

    def test_without_root_and_sudo_it_names_the_packages_and_the_command(self):
        self.fake("sudo", "exit 1")
        status, output, calls = self.run_tool("build", uid=1000, ABSENT="ninja-build")
        self.assertEqual((status, calls), (1, ""))
        self.assertIn("Missing Debian packages: ninja-build", output)
        self.assertIn("sudo apt-get update && sudo apt-get install --no-install-recommends ninja-build", output)

    def test_when_apt_fails_it_names_the_packages_and_the_command(self):
        status, output, _ = self.run_tool("build", ABSENT="gcc", APT_STATUS="100")
        self.assertEqual(status, 1)
        self.assertIn("    apt-get update && apt-get install --no-install-recommends gcc\n", output)

    def test_a_check_installs_nothing(self):
        status, output, calls = self.run_tool("--check", "build", ABSENT="gcc")
        self.assertEqual((status, calls), (1, ""))
        self.assertIn("Missing Debian packages: gcc", output)

    # Shows: owasp.17
    def test_every_package_of_the_list_is_explained_in_the_documentation(self):
        text = (ROOT / "docs/dependencies.md").read_text()
        for line in (ROOT / "tools/packages.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                self.assertIn(f"`{line.split()[1]}`", text)


class Counting(Temporary):
    """tools/run-tests counts a failure when a program's status contradicts its counts."""

    def result(self, output, status=0):
        runner = {"__name__": "runner", "__file__": str(ROOT / "tools/run-tests")}
        exec(compile((ROOT / "tools/run-tests").read_text(), "run-tests", "exec"), runner)
        r = runner["Result"]("suite", output, status, 0.0)
        return r.passed, r.failed

    def test_the_last_line_of_counts_is_taken(self):
        self.assertEqual(self.result("1 passed, 0 failed\nmore\n12 passed, 0 failed\n"), (12, 0))

    def test_failures_are_counted(self):
        self.assertEqual(self.result("3 passed, 2 failed\n", 1), (3, 2))

    def test_a_program_without_a_count_has_failed(self):
        self.assertEqual(self.result("all is well\n"), (0, 1))

    def test_a_program_that_dies_after_its_count_has_failed(self):
        self.assertEqual(self.result("5 passed, 0 failed\n", -11), (5, 1))

    def test_a_program_that_ran_nothing_has_failed(self):
        self.assertEqual(self.result("0 passed, 0 failed\n"), (0, 1))


def main():
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{text}*" for text in sys.argv[2:]] or None
    suite = loader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len({t.id().split(" (")[0] for t, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed - len(result.skipped)} passed, {failed} failed")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
