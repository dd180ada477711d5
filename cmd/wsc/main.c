/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wsc: the server. It handles arguments and signals; libwsc does everything else. The server is the library's first
 * user and includes only <wsc/...>.
 *
 * Exit codes: 0 success, 1 a system error (port in use, unreadable file, no descriptors), 2 a fault in the
 * configuration or the arguments.
 */
#include <wsc/wsc.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_SYSTEM 1
#define EXIT_USAGE 2
#define SETS_MAX 128

static const char help[] =
	"wsc is a real-time messaging gateway: WebSocket, Server-Sent Events and an HTTP API.\n"
	"\n"
	"Usage:\n"
	"  wsc serve [config.yaml] [--set key=value]...   start the gateway\n"
	"  wsc check [config.yaml] [--set key=value]...   check the configuration without starting the gateway\n"
	"  wsc config --defaults                          print a configuration file with every key and its default\n"
	"  wsc config --markdown | --man                  print the reference of all keys (Markdown or man page)\n"
	"  wsc version                                    print the version\n"
	"  wsc help                                       print this help\n"
	"\n"
	"Configuration:\n"
	"  If no file is named, wsc reads ./config.yaml. If that file does not exist, wsc uses the defaults\n"
	"  and listens on 127.0.0.1:8080 only.\n"
	"  Environment variables override the file, --set overrides both. These two lines do the same:\n"
	"    WSC_NODE_PORT=9000 wsc serve\n"
	"    wsc serve --set node_port=9000\n"
	"\n"
	"Signals:\n"
	"  SIGTERM, SIGINT   close all connections and stop; a second signal stops at once\n"
	"  SIGHUP            read the TLS certificates again\n"
	"\n"
	"Manual: wsc(1), wsc.yaml(5), docs/guide.md\n";

struct args {
	const char *file;
	const char *set[SETS_MAX];
	int sets;
};

static int usage(const char *what, const char *arg)
{
	fprintf(stderr, "wsc: %s%s%s; see wsc help\n", what, arg ? ": " : "", arg ? arg : "");
	return EXIT_USAGE;
}

static bool is_set(const char *arg)
{
	return strcmp(arg, "--set") == 0 || strncmp(arg, "--set=", 6) == 0;
}

static int parse_args(int argc, char **argv, struct args *a)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--set") == 0 && i + 1 < argc && a->sets < SETS_MAX)
			a->set[a->sets++] = argv[++i];
		else if (strncmp(argv[i], "--set=", 6) == 0 && a->sets < SETS_MAX)
			a->set[a->sets++] = argv[i] + 6;
		else if (argv[i][0] == '-')
			return usage(is_set(argv[i]) ? "--set needs key=value" : "unknown option", argv[i]);
		else if (a->file)
			return usage("give only one configuration file", argv[i]);
		else
			a->file = argv[i];
	}
	if (!a->file && access("config.yaml", F_OK) == 0)
		a->file = "config.yaml";
	return 0;
}

static int apply_sets(struct wsc_config *config, const struct args *a)
{
	for (int i = 0; i < a->sets; i++) {
		const char *eq = strchr(a->set[i], '=');
		char key[128];

		if (!eq || eq == a->set[i] || (size_t)(eq - a->set[i]) >= sizeof key)
			return usage("--set needs key=value", a->set[i]);
		snprintf(key, sizeof key, "%.*s", (int)(eq - a->set[i]), a->set[i]);
		(void)wsc_config_set(config, key, eq + 1); /* faults are stored and printed with the others */
	}
	return 0;
}

static void print_problems(const struct wsc_config *config)
{
	const char *line;
	bool warning;

	for (size_t i = 0; (line = wsc_config_problem(config, i, &warning)); i++)
		fprintf(stderr, "%s%s\n", warning ? "warning: " : "", line);
}

/* 0, or the exit code; all problems are printed. */
static int read_config(struct wsc_config *config, const struct args *a)
{
	int r = wsc_config_load(config, a->file), sets = apply_sets(config, a), checked;

	if (sets)
		return sets;
	checked = wsc_config_check(config, WSC_CONFIG_NO_MESSAGE_HOOK);
	print_problems(config);
	if (r == -WSC_ESYSTEM)
		return EXIT_SYSTEM;
	if (r < 0 || checked < 0)
		return EXIT_USAGE;
	if (wsc_config_enabled(config))
		return 0;
	fprintf(stderr, "wsc: the gateway is not enabled and does not start\n");
	return EXIT_USAGE;
}

static void raise_descriptors(void)
{
	struct rlimit fds;

	if (getrlimit(RLIMIT_NOFILE, &fds) == 0 && fds.rlim_cur < fds.rlim_max) {
		fds.rlim_cur = fds.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &fds);
	}
}

/* With a private key in memory, forbid core files and debuggers; without one they are useful. */
static void protect_keys(const struct wsc_config *config)
{
	char key[2] = "";

	(void)wsc_config_get(config, "tls.key", key, sizeof key);
	if (key[0])
		(void)prctl(PR_SET_DUMPABLE, 0);
}

static void exit_at_once(int sig)
{
	_exit(128 + sig);
}

/* Waits for a signal to stop, then stops; a second signal ends the program at once. */
static int run_until_signal(struct wsc_gateway *gateway, const sigset_t *stop, unsigned timeout_ms)
{
	struct sigaction at_once = { .sa_handler = exit_at_once };
	int sig = 0;

	while (sigwait(stop, &sig) != 0 || sig == SIGHUP)
		if (sig == SIGHUP)
			(void)wsc_reload(gateway); /* it logs the result */
	sigaction(SIGTERM, &at_once, NULL);
	sigaction(SIGINT, &at_once, NULL);
	signal(SIGHUP, SIG_IGN); /* SIGHUP, for example of a closed terminal, must not interrupt the stop */
	sigprocmask(SIG_UNBLOCK, stop, NULL);
	wsc_stop(gateway, timeout_ms);
	(void)wsc_wait(gateway);
	return 0;
}

static unsigned shutdown_timeout_ms(const struct wsc_config *config)
{
	char text[32] = "";
	char *unit;
	double n;

	(void)wsc_config_get(config, "shutdown_timeout", text, sizeof text);
	n = strtod(text, &unit);
	if (strcmp(unit, "ms") == 0)
		return (unsigned)n;
	return (unsigned)(n * (strcmp(unit, "m") == 0 ? 60000 : strcmp(unit, "h") == 0 ? 3600000 : 1000));
}

static int serve(struct wsc_config *config)
{
	struct wsc_gateway *gateway = wsc_new(config, NULL);
	sigset_t stop;
	int r;

	if (!gateway) {
		fprintf(stderr, "wsc: out of memory\n");
		return EXIT_SYSTEM;
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	protect_keys(config);
	wsc_log_to(gateway, STDERR_FILENO, NULL, NULL);
	if ((r = wsc_register_routes(gateway)) == 0 && (r = wsc_register_api(gateway, NULL)) == 0 &&
	    (r = wsc_register_pages(gateway)) == 0)
		r = wsc_start(gateway);
	if (r < 0) {
		fprintf(stderr, "wsc: %s\n", wsc_error_text(gateway));
		r = r == -WSC_ECONFIG || r == -WSC_EDISABLED || r == -WSC_ESTATE ? EXIT_USAGE : EXIT_SYSTEM;
	} else {
		r = run_until_signal(gateway, &stop, shutdown_timeout_ms(config));
	}
	wsc_free(gateway);
	return r;
}

/* Checks the files that the configuration names. */
static int check_files(const struct wsc_config *config)
{
	struct wsc_gateway *gateway = wsc_new(config, NULL);
	int r = gateway ? wsc_check(gateway) : -WSC_ENOMEM;

	if (r < 0)
		fprintf(stderr, "wsc: %s\n", gateway ? wsc_error_text(gateway) : "out of memory");
	wsc_free(gateway);
	return r < 0 ? EXIT_SYSTEM : 0;
}

static int with_config(int argc, char **argv, bool start)
{
	struct wsc_config *config = wsc_config_new();
	struct args a = { 0 };
	int r;

	if (!config) {
		fprintf(stderr, "wsc: out of memory\n");
		return EXIT_SYSTEM;
	}
	r = parse_args(argc, argv, &a);
	if (r == 0)
		r = read_config(config, &a);
	if (r == 0 && start)
		r = serve(config);
	else if (r == 0 && (r = check_files(config)) == 0)
		printf("%s: no faults\n", a.file ? a.file : "defaults");
	wsc_config_free(config);
	return r;
}

static int print_config(int argc, char **argv)
{
	const char *form = argc == 1 ? argv[0] : "";
	int r;

	if (strcmp(form, "--defaults") == 0)
		r = wsc_config_reference(stdout, WSC_CONFIG_YAML);
	else if (strcmp(form, "--markdown") == 0)
		r = wsc_config_reference(stdout, WSC_CONFIG_MARKDOWN);
	else if (strcmp(form, "--man") == 0)
		r = wsc_config_reference(stdout, WSC_CONFIG_MAN);
	else
		return usage("wsc config needs one of --defaults, --markdown and --man", NULL);
	return r < 0 || fflush(stdout) ? EXIT_SYSTEM : 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "help";

	if (argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
		command = "help";
	if (strcmp(command, "serve") == 0 || strcmp(command, "check") == 0)
		return with_config(argc - 2, argv + 2, command[0] == 's');
	if (strcmp(command, "config") == 0)
		return print_config(argc - 2, argv + 2);
	if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
		printf("wsc %s\n", wsc_version());
		return 0;
	}
	if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0) {
		fputs(help, stdout);
		return 0;
	}
	return usage("unknown command", command);
}
