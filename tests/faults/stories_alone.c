/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stories_alone: stories outside a running gateway: configurations, the program wsc, and two workers that relay to each
 * other, turned by hand. A configuration is never used in part: either all of it counts, or it is refused.
 */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include "unit/worker_fixture.h"

int wsc_main(int argc, char **argv);

static char yaml_path[64], bad_path[64], secret_path[64];

static void write_file(char path[64], const char *kind, const char *text)
{
	FILE *f;

	snprintf(path, 64, "/tmp/wsc-faults-%d.%s", getpid(), kind);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

void alone_begin(void)
{
	sigset_t term;

	write_file(
		yaml_path, "yaml",
		"other: 1\nwsc:\n  node_ip: [127.0.0.1]\n  node_port: 0\n  workers: 2\n  heartbeat-interval: 500ms\n"
		"  client_timeout: ${FAULTS_TIMEOUT}\n  websocket_origins:\n    - \"https://a.example\"\n"
		"    - https://b.example\n  security: {max_message_size: 512KiB, blocked_ips: [10.0.0.0/8, \"fd00::/8\"]}\n"
		"  store:\n    url: ${FAULTS_SECRET}\n");
	write_file(bad_path, "bad.yaml",
		   "wsc:\n  node_prot: 8080\n  heartbeat_interval: soon\n  client_timeout: 1s\n  workers: [1, 2]\n");
	write_file(secret_path, "secret", "postgres://me:secret@db/x\n");
	setenv("FAULTS_TIMEOUT", "7s", 1);
	setenv("FAULTS_SECRET_FILE", secret_path, 1);
	setenv("WSC_SSE_HEARTBEAT", "9s", 1);
	setenv("WSC_STORE_PATH_FILE", secret_path, 1);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
}

void alone_end(void)
{
	REAL(unlink)(yaml_path);
	REAL(unlink)(bad_path);
	REAL(unlink)(secret_path);
}

/* ---- configurations ------------------------------------------------------------------------------------------------------- */

static bool is(const struct wsc_config *c, const char *key, const char *value)
{
	char text[128] = "";
	int r = wsc_config_get(c, key, text, sizeof text);

	return r == -WSC_ENOMEM || strcmp(text, value) == 0;
}

static bool values_right(const struct wsc_config *c)
{
	return is(c, "heartbeat_interval", "500ms") && is(c, "client_timeout", "7s") && is(c, "sse_heartbeat", "9s") &&
	       is(c, "node_port", "0") && is(c, "workers", "3") && is(c, "multi_login", "reject") &&
	       is(c, "security.max_message_size", "512KiB") && is(c, "store.url", "(secret)") &&
	       is(c, "max_connections_per_user", "8");
}

static bool read_yaml(bool final, const char **what)
{
	struct wsc_config *c = wsc_config_new();
	struct wsc_gateway *gw;
	int r[4], worst = 0;

	if (!c)
		return !final;
	r[0] = wsc_config_load(c, yaml_path);
	r[1] = wsc_config_set(c, "workers", "3");
	r[2] = wsc_config_set(c, "wsc.multi_login", "reject");
	r[3] = wsc_config_check(c, 0);
	for (int i = 0; i < 4; i++)
		worst = r[i] < worst ? r[i] : worst;
	*what = "a configuration with faults has no word about them";
	if (r[0] == -WSC_ESYSTEM && !wsc_config_problem(c, 0, NULL) && wsc_config_check(c, 0) != -WSC_ENOMEM)
		goto bad;
	*what = "an accepted configuration differs from the file";
	if (worst == 0 && !(wsc_config_enabled(c) && values_right(c)))
		goto bad;
	*what = "a good configuration is refused";
	if (final && worst != 0)
		goto bad;
	gw = wsc_new(c, NULL);
	wsc_config_free(c);
	if (gw && worst < 0 && worst != -WSC_ENOMEM && wsc_register_routes(gw) == 0) {
		*what = "a refused configuration is taken by a gateway";
		wsc_free(gw);
		return false;
	}
	wsc_free(gw);
	return gw || !final;
bad:
	wsc_config_free(c);
	return false;
}

static bool read_bad_yaml(bool final, const char **what)
{
	struct wsc_config *c = wsc_config_new();
	struct wsc_gateway *gw;
	bool ok;
	size_t n = 0;

	if (!c)
		return !final;
	(void)wsc_config_load(c, bad_path);
	*what = "a configuration with faults is accepted";
	ok = wsc_config_check(c, 0) < 0;
	while (wsc_config_problem(c, n, NULL))
		n++;
	ok = ok && (!final || n >= 4);
	gw = wsc_new(c, NULL);
	ok = ok && (!gw || wsc_register_routes(gw) < 0);
	wsc_free(gw);
	wsc_config_free(c);
	return ok;
}

static bool print_reference(bool final, const char **what)
{
	bool ok = true;
	FILE *out;

	fault_pause(true);
	out = fopen("/dev/null", "w");
	fault_pause(false);
	if (!out)
		abort();
	*what = "the reference cannot be printed";
	for (int form = WSC_CONFIG_YAML; form <= WSC_CONFIG_MAN; form++) {
		int r = wsc_config_reference(out, (enum wsc_config_form)form);

		ok = ok && (r == 0 || (!final && r < 0));
	}
	fault_pause(true);
	fclose(out);
	return ok;
}

/* ---- the program ---------------------------------------------------------------------------------------------------------- */

/* Its exit code; its output is not shown. */
static int run_wsc(int argc, char **argv)
{
	int null = REAL(open64)("/dev/null", O_WRONLY | O_CLOEXEC), out, err, code;

	fflush(stdout);
	out = dup(1);
	err = dup(2);
	if (null < 0 || out < 0 || err < 0)
		abort();
	dup2(null, 1);
	dup2(null, 2);
	code = wsc_main(argc, argv);
	fflush(stdout);
	dup2(out, 1);
	dup2(err, 2);
	REAL(close)(null);
	REAL(close)(out);
	REAL(close)(err);
	return code;
}

#define RUN(...)                                                                  \
	run_wsc((int)(sizeof((char *[]){ "wsc", __VA_ARGS__ }) / sizeof(char *)), \
		(char *[]){ "wsc", __VA_ARGS__, NULL })

static bool check_command(bool final, const char **what)
{
	int good = RUN("check", yaml_path, "--set", "workers=2"), bad = RUN("check", bad_path);

	*what = "wsc check does not tell a good configuration from a bad one";
	return (good == 0 || (!final && (good == 1 || good == 2))) && (bad == 2 || (!final && bad == 1));
}

/* The signal to stop waits already. */
static bool serve_command(bool final, const char **what)
{
	struct timespec none = { 0 };
	sigset_t term;
	int code;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	raise(SIGTERM);
	clock_bend(false);
	code = RUN("serve", "--set", "node_ip=127.0.0.1", "--set", "node_port=0", "--set", "workers=2");
	clock_bend(true);
	sigprocmask(SIG_BLOCK, &term, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	while (sigtimedwait(&term, NULL, &none) > 0)
		;
	*what = "wsc serve has another exit code than 0, 1 and 2";
	return code == 0 || (!final && (code == 1 || code == 2));
}

/* ---- two workers ---------------------------------------------------------------------------------------------------------- */

static const char *rig_wrong;

/* The fixture's checks. */
bool test_check(bool ok, const char *file, int line, const char *what)
{
	(void)file, (void)line;
	if (!ok)
		rig_wrong = what;
	return ok;
}

bool test_check_eq(int64_t a, int64_t b, const char *file, int line, const char *what_a, const char *what_b)
{
	(void)what_b;
	return test_check(a == b, file, line, what_a);
}

struct rig_peer {
	int fd;
	size_t len;
	bool end;
	char in[16384];
};

static void rig_come(struct rig *r, struct rig_peer *p, unsigned worker, const char *text)
{
	struct ip ip = { .len = 4, .at = { 127, 0, 0, 1 } };
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	descriptor_given(fd[1]);
	atomic_fetch_add(&r->set.shared.connections, 1);
	(void)http_accept(&r->w[worker]->shard, fd[1], &ip, false);
	*p = (struct rig_peer){ .fd = fd[0] };
	(void)!REAL(send)(p->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void rig_say(struct rig_peer *p, const char *json)
{
	char frame[128] = { (char)0x81, (char)(0x80 | strlen(json)) };

	memcpy(frame + 6, json, strlen(json));
	(void)!REAL(send)(p->fd, frame, 6 + strlen(json), MSG_NOSIGNAL);
}

static void rig_read(struct rig_peer *p)
{
	ssize_t n = REAL(recv)(p->fd, p->in + p->len, sizeof p->in - p->len, 0);

	p->end |= n == 0 || (n < 0 && errno != EAGAIN);
	p->len += n > 0 ? (size_t)n : 0;
}

static bool rig_got(const struct rig_peer *p, const char *part)
{
	return memmem(p->in, p->len, part, strlen(part));
}

#define RIG_PEERS 6
static struct rig_peer rig_peers[RIG_PEERS];

static void rig_settle(struct rig *r, unsigned peers)
{
	for (int i = 0; i < 12; i++) {
		rig_turn(r, 1);
		for (unsigned p = 0; p < peers; p++)
			rig_read(&rig_peers[p]);
	}
}

/* All traffic that crosses from one worker to the other. */
static void rig_talk(struct rig *r)
{
	char head[256];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(
			head, sizeof head,
			"GET /ws?user_id=u%u&ticket_id=t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
			i);
		rig_come(r, &rig_peers[i], i % 2, head);
	}
	rig_settle(r, 4);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(head, sizeof head, "{\"to\":\"u%u\",\"content\":\"to %u\"}", (i + 1) % 4, (i + 1) % 4);
		rig_say(&rig_peers[i], head);
	}
	rig_say(&rig_peers[0], "{\"ticket_id\":\"t\",\"content\":\"to the ticket\"}");
	rig_say(&rig_peers[1], "{\"to\":\"nobody\",\"content\":\"x\"}");
	rig_come(
		r, &rig_peers[4], 0,
		"POST /send HTTP/1.1\r\nHost: x\r\nX-User-ID: p\r\nContent-Length: 28\r\n\r\n{\"to\":\"u1\",\"content\":\"post\"}");
	rig_come(r, &rig_peers[5], 1, "GET /online?limit=2 HTTP/1.1\r\nHost: x\r\n\r\n");
	rig_settle(r, 6);
	clock_pass(6000); /* an outcome that a peer does not answer is reported as timed_out */
	rig_settle(r, 6);
}

static const char *rig_whole(void)
{
	if (!rig_got(&rig_peers[0], "\"content\":\"to 0\"") || !rig_got(&rig_peers[1], "\"content\":\"to 1\"") ||
	    !rig_got(&rig_peers[2], "\"content\":\"to 2\"") || !rig_got(&rig_peers[3], "\"content\":\"to 3\""))
		return "a message to another worker does not arrive";
	if (!rig_got(&rig_peers[1], "to the ticket") || !rig_got(&rig_peers[3], "to the ticket"))
		return "a ticket message does not reach the other worker";
	if (!rig_got(&rig_peers[1], "user_offline"))
		return "an outcome does not come back from the other worker";
	if (!rig_got(&rig_peers[4], "\"delivered_count\":1") || !rig_got(&rig_peers[5], "\"total\":4"))
		return "a question to the other worker has no answer";
	return NULL;
}

static unsigned rig_problems;

static void rig_problem(void *user, const struct wsc_problem *p)
{
	(void)user, (void)p;
	rig_problems++;
}

/* Each client has its answer or its end; nothing is lost in silence. */
static const char *rig_judge(void)
{
	bool told = rig_problems > 0;

	for (unsigned i = 0; i < RIG_PEERS; i++) {
		if (!rig_peers[i].end && !rig_got(&rig_peers[i], "HTTP/1.1 "))
			return "a client has neither an answer nor an end";
		told |= rig_peers[i].end || rig_got(&rig_peers[i], "\"type\":\"error\"") ||
			rig_got(&rig_peers[i], "HTTP/1.1 5");
	}
	return told || !rig_whole() ? NULL : rig_whole();
}

static bool relay(bool final, const char **what)
{
	struct rig r;

	rig_wrong = NULL;
	rig_problems = 0;
	fault_pause(true);
	rig_init(&r, 2);
	r.set.hooks.on_error = rig_problem;
	rig_start(&r);
	fault_pause(false);
	rig_talk(&r);
	*what = final ? rig_whole() : rig_judge();
	for (unsigned i = 0; i < RIG_PEERS; i++)
		REAL(close)(rig_peers[i].fd);
	rig_turn(&r, 4);
	fault_disarm();
	rig_end(&r);
	if (rig_wrong)
		*what = rig_wrong;
	return !*what;
}

/* The moves alone, with the fault in the start of the workers. */
static bool start_workers(bool final, const char **what)
{
	struct rig r;
	bool ok = true;

	rig_wrong = NULL;
	fault_pause(true);
	rig_init(&r, 2);
	fault_pause(false);
	r.set.nshards = r.n;
	r.set.shards = calloc(r.n, sizeof *r.set.shards);
	for (unsigned i = 0; i < r.n; i++) {
		r.w[i] = aligned_alloc(64, sizeof *r.w[i]);
		if (!r.w[i])
			break;
		ok &= worker_init(r.w[i], &r.set, i, r.w, r.n, &r.hub, NULL, 0, false) == 0;
		worker_deinit(r.w[i]);
		free(r.w[i]);
	}
	fault_pause(true);
	free(r.set.shards);
	routes_deinit(&r.set.routes);
	reasons_free(r.set.reasons);
	*what = "a worker does not start";
	return ok || !final;
}

const struct story stories_alone[] = {
	{ "a configuration from a file, variables and --set", .alone = read_yaml },
	{ "a configuration with faults", .alone = read_bad_yaml },
	{ "the reference of all keys", .alone = print_reference },
	{ "wsc check", .alone = check_command },
	{ "wsc serve, from start to stop", .alone = serve_command },
	{ "the start of two workers", .alone = start_workers },
	{ "messages between two workers", .alone = relay },
};
const size_t nstories_alone = sizeof stories_alone / sizeof stories_alone[0];
