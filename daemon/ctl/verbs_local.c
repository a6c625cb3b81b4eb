/* verbs_local.c - check, keygen: no daemon needed. */
#include "ctl/verbs.h"

#include <jansson.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/view.h"

enum {
	KEY_BYTES = 32,
	KEY_LINE = 2 * KEY_BYTES + 1
}; /* of a cluster key; hex and newline */

/* prochubd beside this program, so that a build checks with its own daemon; false: not there */
static bool find_daemon(char path[PATH_MAX])
{
	static const char name[] = "prochubd";
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(name));
	char *slash;

	if (n <= 0)
		return false;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return false;
	memcpy(slash + 1, name, sizeof(name));
	return access(path, X_OK) == 0;
}

/* Names of files need not be UTF-8; JSON must. */
static json_t *string_of(const char *s)
{
	struct ph_text text = {0};
	json_t *string = json_string(s);

	if (!string) {
		ph_text_add_escaped(&text, s, true);
		string = ph_ctl_made(json_string(ph_text_string(&text)));
		ph_text_fini(&text);
	}
	return string;
}

/* {"ok","file"} and, where `wrong` is not NULL, "code" and "text"; the caller frees it. */
static json_t *result_new(const struct ph_ctl *ctl, const char *wrong)
{
	json_t *result = ph_ctl_made(json_pack("{s:b,s:o}", "ok", wrong == NULL, "file",
		ctl->n_args > 0 ? string_of(ctl->args[0]) : json_null()));

	if (wrong) {
		(void)json_object_set_new(result, "code", json_string("failed"));
		(void)json_object_set_new(result, "text", string_of(wrong));
	}
	return result;
}

static void result_print(json_t *takes)
{
	ph_view_print_json(takes);
	json_decref(takes);
}

/* Becomes prochubd. Returns where it cannot. */
static enum ph_exit run_daemon(const struct ph_ctl *ctl)
{
	char name[] = "prochubd", test[] = "-t", option[] = "-c", path[PATH_MAX], file[PATH_MAX];
	char *plain[] = {name, test, NULL}, *with_file[] = {name, test, option, file, NULL};
	char **argv = ctl->n_args > 0 ? with_file : plain;

	if (ctl->n_args > 0) {
		if (strlen(ctl->args[0]) >= sizeof(file))
			return ph_ctl_fail(PH_EXIT_USAGE, "check: the path is too long");
		(void)strcpy(file, ctl->args[0]);
	}
	(void)signal(SIGPIPE, SIG_DFL);
	if (find_daemon(path))
		(void)execv(path, argv);
	(void)execvp(name, argv);
	return ph_ctl_fail(PH_EXIT_FAILED,
		"check: cannot run prochubd, looked for beside prochubctl and in PATH: %s",
		strerror(errno));
}

/* Its standard error, or NULL; its standard output says nothing that the exit status does not. */
static FILE *start_daemon(const struct ph_ctl *ctl, pid_t *ret_pid)
{
	int ends[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	FILE *errors = NULL;

	if (null < 0 || pipe2(ends, O_CLOEXEC) < 0) {
		if (null >= 0)
			(void)close(null);
		return NULL;
	}
	*ret_pid = fork();
	if (*ret_pid == 0) {
		if (dup2(null, STDOUT_FILENO) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
			_exit(PH_EXIT_FAILED);
		_exit((int)run_daemon(ctl));
	}
	(void)close(ends[1]);
	(void)close(null);
	if (*ret_pid > 0)
		errors = fdopen(ends[0], "r");
	return errors;
}

/* Its lines without the name of the program; people see them as ever. */
static json_t *read_errors(FILE *from)
{
	json_t *list = ph_ctl_made(json_array());
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, from)) > 0) {
		const char *text = line;

		(void)fputs(line, stderr);
		line[n - (line[n - 1] == '\n')] = '\0';
		if (!strncmp(line, "prochub", 7) && strstr(line, ": "))
			text = strstr(line, ": ") + 2;
		(void)json_array_append_new(list, string_of(text));
	}
	free(line);
	return list;
}

static enum ph_exit check_json(const struct ph_ctl *ctl)
{
	pid_t pid = -1;
	int status = 0;
	const char *first;
	FILE *from;
	json_t *errors, *result;
	bool good;

	(void)fflush(stdout);
	from = start_daemon(ctl, &pid);
	if (!from)
		return ph_ctl_fail(PH_EXIT_FAILED, "check: %s", strerror(errno));
	errors = read_errors(from);
	(void)fclose(from);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	first = json_string_value(json_array_get(errors, 0));
	result = result_new(ctl, good ? NULL : first ? first : "prochubd was killed");
	if (!good)
		(void)json_object_set(result, "errors", errors);
	json_decref(errors);
	result_print(result);
	return WIFEXITED(status) ? (enum ph_exit)WEXITSTATUS(status) : PH_EXIT_FAILED;
}

enum ph_exit ph_verb_check(const struct ph_ctl *ctl)
{
	return ctl->json ? check_json(ctl) : run_daemon(ctl);
}

static int key_make(char ret_line[KEY_LINE + 1])
{
	unsigned char key[KEY_BYTES];
	size_t have = 0;

	while (have < sizeof(key)) {
		ssize_t n = getrandom(key + have, sizeof(key) - have, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			have += (size_t)n;
	}
	for (size_t i = 0; i < sizeof(key); i++)
		(void)snprintf(ret_line + 2 * i, 3, "%02x", key[i]);
	(void)strcpy(ret_line + KEY_LINE - 1, "\n");
	explicit_bzero(key, sizeof(key));
	return 0;
}

/* A key that is not on the disk whole is removed: half a key is worse than none. */
static int key_store(const char *path, const char line[KEY_LINE + 1])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	n = write(fd, line, KEY_LINE);
	if (n != KEY_LINE)
		r = n < 0 ? -errno : -ENOSPC;
	else if (fchmod(fd, 0600) < 0 || fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlink(path);
	return r;
}

/* The exit status; with --json an object on standard output too. */
static enum ph_exit keygen_told(const struct ph_ctl *ctl, int r, const char *text)
{
	if (ctl->json)
		result_print(result_new(ctl, r < 0 ? text : NULL));
	return r < 0 ? ph_ctl_fail(PH_EXIT_FAILED, "%s", text) : PH_EXIT_DONE;
}

enum ph_exit ph_verb_keygen(const struct ph_ctl *ctl)
{
	char line[KEY_LINE + 1], text[PATH_MAX + 100] = "";
	int r = key_make(line);

	if (r < 0) {
		(void)snprintf(text, sizeof(text), "keygen: no random bytes: %s", strerror(-r));
	} else if (ctl->n_args == 0) {
		printf(ctl->json ? "{\"ok\":true,\"key\":\"%.*s\"}\n" : "%.*s\n", KEY_LINE - 1,
			line);
		explicit_bzero(line, sizeof(line));
		return PH_EXIT_DONE;
	} else {
		r = key_store(ctl->args[0], line);
		(void)snprintf(text, sizeof(text), "keygen: %s%s%s", ctl->args[0],
			r == -EEXIST ? " exists and is left as it is" : ": ",
			r == -EEXIST ? "" : strerror(-r));
	}
	explicit_bzero(line, sizeof(line));
	return keygen_told(ctl, r, text);
}
