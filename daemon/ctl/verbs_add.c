/* verbs_add.c - add, remove, signal: children that are in no file, and signals. */
#include "ctl/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/view.h"
#include "proto/line.h"

/* How long the daemon may be late with its own time-out: what it takes back is stopped first. */
enum {
	ADD_GRACE_MS = 120000
};

/* ---- add */

/* All of it, with a NUL behind, the caller's. -EFBIG: it is too large; else what read() said. */
static int read_all(int fd, char **ret, size_t *ret_n)
{
	char *text = ph_ctl_made(malloc(PH_LINE_MAX_ADD + 2));
	size_t n = 0;
	ssize_t got;

	do {
		got = read(fd, text + n, PH_LINE_MAX_ADD + 1 - n);
		if (got > 0)
			n += (size_t)got;
	} while (n <= PH_LINE_MAX_ADD && (got > 0 || (got < 0 && errno == EINTR)));
	if (n > PH_LINE_MAX_ADD || got < 0) {
		int error = got < 0 ? errno : EFBIG;

		free(text);
		return -error;
	}
	text[n] = '\0';
	*ret = text;
	*ret_n = n;
	return 0;
}

/* The fields of the request, or NULL where the file is none to be added: it is told. */
static json_t *read_file(const char *path)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	const char *name = fd == STDIN_FILENO ? "standard input" : path;
	json_t *fields = NULL, *text_field;
	char *text = NULL;
	size_t n = 0;
	int r = fd < 0 ? -errno : read_all(fd, &text, &n);

	if (fd > STDIN_FILENO)
		(void)close(fd);
	if (r == -EFBIG)
		(void)ph_ctl_fail(PH_EXIT_USAGE, "add: %s: larger than 1 MiB", name);
	else if (r < 0)
		(void)ph_ctl_fail(PH_EXIT_USAGE, "add: %s: %s", name, strerror(-r));
	if (r < 0)
		return NULL;
	text_field = strlen(text) == n ? json_stringn(text, n) : NULL;
	free(text);
	if (!text_field) {
		(void)ph_ctl_fail(PH_EXIT_USAGE, "add: %s: not UTF-8 text", name);
		return NULL;
	}
	fields = ph_ctl_made(json_pack("{s:o}", "config", text_field));
	/* so that errors name it; a name that is no UTF-8 is left out */
	(void)json_object_set_new(fields, "file", json_string(fd == STDIN_FILENO ? "-" : path));
	return fields;
}

/* Each child with what became of it, where some were added and some were not. */
static bool on_refused(void *user, const json_t *answer, enum ph_exit status)
{
	const struct ph_ctl *ctl = user;

	if (ctl->json || status != PH_EXIT_PARTLY)
		return false;
	(void)ph_verb_children_told(ctl, json_object_get(answer, "children"));
	return true;
}

enum ph_exit ph_verb_add(const struct ph_ctl *ctl)
{
	union {
		const struct ph_ctl *in;
		void *out;
	} borrowed = {ctl};
	struct ph_ask ask = {.long_request = true,
		.detachable = true,
		.on_refused = on_refused,
		.user = borrowed.out};
	json_t *fields = read_file(ctl->args[0]), *answer = NULL;
	enum ph_exit status;

	if (!fields)
		return PH_EXIT_USAGE;
	if (ctl->no_wait)
		(void)json_object_set_new(fields, "no_wait", json_true());
	if (ctl->keep_going)
		(void)json_object_set_new(fields, "keep_going", json_true());
	if (ctl->timeout_ms)
		(void)json_object_set_new(
			fields, "timeout_ms", json_integer((json_int_t)ctl->timeout_ms));
	if (ctl->timeout_ms)
		ask.patience_ms = ctl->timeout_ms + ADD_GRACE_MS;
	status = ph_client_ask(ctl, fields, &ask, &answer);
	return status == PH_EXIT_DONE ? ph_verb_children_end(ctl, answer) : status;
}

/* ---- remove, signal */

enum ph_exit ph_verb_signal(const struct ph_ctl *ctl)
{
	return ph_verb_children_ask(ctl, json_pack("{s:s}", "signal", ctl->args[0]), 1);
}
