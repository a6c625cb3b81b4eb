/*
 * What a daemon that executes itself anew (SIGUSR2) leaves open for itself: locks, so that no other
 * one slips in between; listeners, so that nobody who connects is refused; sockets with what waits
 * in them; the FIFOs of workers that end just then; and hooks that wait, as texts. They are listed
 * in a file in memory, a line each, whose number stands in the environment beside the pid, as in
 * LISTEN_FDS. Processes are not listed: they are children as before, and the state file names those
 * that are workers.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/child.h"
#include "io/proc.h"
#include "io/spawn.h"
#include "shell_ctl.h"
#include "shell_hook.h"
#include "shell_parts.h"

#define VARIABLE "PROCHUB_KEPT" /* PID FD */

static const char *const words[PH_KEPT_COUNT] = {
	[PH_KEPT_LOCK] = "lock",
	[PH_KEPT_STATE_LOCK] = "state_lock",
	[PH_KEPT_WORKERS] = "workers",
	[PH_KEPT_NOTICES] = "notices",
	[PH_KEPT_CONTROL] = "control",
};

/* A process that the daemon before has started for itself: a hook, a probe. */
struct stray {
	struct stray *next;
	pid_t pid;
	struct ph_child *child;
};

struct listener {
	struct listener *next;
	int fd;
	char id[];
};

/* A hook that was not run yet: its name, and what it is to be told. */
struct waiting {
	struct waiting *next;
	char text[];
};

struct ph_shell_kept {
	int fds[PH_KEPT_COUNT];
	uint64_t nofile;
	struct listener *listeners;
	struct waiting *hooks, **hooks_end;
	int *holds;
	size_t n_holds;
	struct stray *strays;
};

/* ---- reading */

static void take_line(struct ph_shell_kept *kept, const char *line)
{
	char word[32];
	int n = 0;
	unsigned long long number;
	if (sscanf(line, "%31s %llu %n", word, &number, &n) < 2 || !n)
		return;
	if (!strcmp(word, "nofile")) {
		kept->nofile = number;
		return;
	}
	if (!strcmp(word, "hook")) { /* number 0, so that an older daemon takes it for nothing */
		size_t size = strlen(line + n) + 1;
		struct waiting *w = ph_shell_alloc(sizeof *w + size);
		memcpy(w->text, line + n, size);
		*kept->hooks_end = w;
		kept->hooks_end = &w->next;
		return;
	}
	int fd = number <= INT32_MAX ? (int)number : -1;
	if (fd <= STDERR_FILENO || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return;
	for (size_t i = 0; i < PH_KEPT_COUNT; i++) {
		if (!strcmp(word, words[i]) && kept->fds[i] < 0) {
			kept->fds[i] = fd;
			return;
		}
	}
	if (!strcmp(word, "listen")) {
		size_t size = strlen(line + n) + 1;
		struct listener *l = ph_shell_alloc(sizeof *l + size);
		memcpy(l->id, line + n, size);
		l->fd = fd;
		l->next = kept->listeners;
		kept->listeners = l;
	} else if (!strcmp(word, "hold")) {
		kept->holds[kept->n_holds++] = fd;
	} else { /* of a newer daemon, which this one replaces: it knows what it is for */
		close(fd);
	}
}

static void take_lines(struct ph_shell_kept *kept, FILE *from)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	while ((n = getline(&line, &size, from)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		kept->holds = realloc(kept->holds, (kept->n_holds + 1) * sizeof *kept->holds);
		if (!kept->holds)
			abort();
		take_line(kept, line);
	}
	free(line);
}

static int take_stray(void *arg, pid_t pid)
{
	struct ph_shell_kept *kept = arg;
	struct ph_proc_stat stat;
	if (ph_proc_stat(pid, &stat) || stat.parent != getpid())
		return 0;
	struct stray *stray = ph_shell_alloc(sizeof *stray);
	stray->pid = pid;
	stray->next = kept->strays;
	kept->strays = stray;
	return 0;
}

void ph_shell_kept_new(struct ph_shell *shell)
{
	const char *text = getenv(VARIABLE);
	long pid = 0;
	int fd = -1;
	bool ours = text && sscanf(text, "%ld %d", &pid, &fd) == 2 && pid == getpid() &&
		    fd > STDERR_FILENO;
	(void)unsetenv(VARIABLE);
	FILE *from = ours ? fdopen(fd, "r") : NULL;
	if (!from)
		return;
	rewind(from);
	shell->kept = ph_shell_alloc(sizeof *shell->kept);
	for (size_t i = 0; i < PH_KEPT_COUNT; i++)
		shell->kept->fds[i] = -1;
	shell->kept->hooks_end = &shell->kept->hooks;
	take_lines(shell->kept, from);
	fclose(from);
	(void)ph_proc_each(take_stray, shell->kept);
}

/* ---- giving away */

int ph_shell_kept_take(struct ph_shell *shell, enum ph_kept which)
{
	int fd = shell->kept ? shell->kept->fds[which] : -1;
	if (fd >= 0)
		shell->kept->fds[which] = -1;
	return fd;
}

uint64_t ph_shell_kept_nofile(const struct ph_shell *shell)
{
	return shell->kept ? shell->kept->nofile : 0;
}

void ph_shell_kept_listeners(struct ph_shell *shell)
{
	struct listener *l;
	while (shell->kept && (l = shell->kept->listeners)) {
		shell->kept->listeners = l->next;
		ph_shell_listeners_restore(shell, l->fd, l->id);
		free(l);
	}
}

void ph_shell_kept_hooks(struct ph_shell *shell)
{
	struct waiting *w;
	while (shell->kept && (w = shell->kept->hooks)) {
		shell->kept->hooks = w->next;
		ph_shell_hooks_restore(shell, w->text);
		free(w);
	}
}

/* ---- what else is left */

static void let_go(struct ph_shell_kept *kept)
{
	for (size_t i = 0; i < kept->n_holds; i++)
		close(kept->holds[i]);
	kept->n_holds = 0;
}

/* It is reaped with the ph_child, which goes when the daemon does. */
static void on_stray(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	(void)arg;
	(void)status;
	ph_child_reap(child);
}

static void watch(struct ph_shell *shell, struct stray *stray)
{
	struct ph_proc_stat stat;
	struct ph_err err;
	if (ph_shell_worker_by_pid(shell, stray->pid) || ph_proc_stat(stray->pid, &stat) ||
		stat.parent != getpid())
		return;
	if (ph_child_adopt(
		    shell->base, stray->pid, stat.start_time, on_stray, NULL, &stray->child, &err))
		ph_shell_log(shell, PH_LOG_WARNING, "%s", err.text);
}

void ph_shell_kept_settled(struct ph_shell *shell)
{
	if (!shell->kept)
		return;
	let_go(shell->kept);
	for (struct stray *s = shell->kept->strays; s; s = s->next)
		watch(shell, s);
}

void ph_shell_kept_free(struct ph_shell *shell)
{
	struct ph_shell_kept *kept = shell->kept;
	struct stray *s;
	struct listener *l;
	struct waiting *w;
	if (!kept)
		return;
	let_go(kept);
	while ((w = kept->hooks)) {
		kept->hooks = w->next;
		free(w);
	}
	while ((s = kept->strays)) {
		kept->strays = s->next;
		ph_child_free(s->child);
		free(s);
	}
	while ((l = kept->listeners)) {
		kept->listeners = l->next;
		close(l->fd);
		free(l);
	}
	for (size_t i = 0; i < PH_KEPT_COUNT; i++)
		if (kept->fds[i] >= 0)
			close(kept->fds[i]);
	free(kept->holds);
	free(kept);
	shell->kept = NULL;
}

/* ---- writing */

static void list(struct ph_shell *shell, FILE *to)
{
	struct ph_spawn_limit limit;
	const int fds[PH_KEPT_COUNT] = {
		[PH_KEPT_LOCK] = shell->lock_fd,
		[PH_KEPT_STATE_LOCK] = shell->state_lock_fd,
		[PH_KEPT_WORKERS] = ph_shell_conns_fd(shell),
		[PH_KEPT_NOTICES] = ph_shell_notices_fd(shell),
		[PH_KEPT_CONTROL] = ph_shell_ctl_fd(shell),
	};
	if (ph_shell_nofile(shell, &limit))
		fprintf(to, "nofile %llu\n", (unsigned long long)limit.soft);
	for (size_t i = 0; i < PH_KEPT_COUNT; i++)
		fprintf(to, "%s %d\n", words[i], fds[i]);
	ph_shell_listeners_save(shell, to);
	ph_shell_outputs_save(shell, to);
	ph_shell_hooks_save(shell, to);
}

/* Each line names one, as its second word, but those of other things. */
static void open_for_next(const char *text)
{
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		int fd = -1;
		line += *line == '\n';
		if (sscanf(line, "%*s %d", &fd) == 1 && strncmp(line, "nofile", 6) != 0 &&
			strncmp(line, "hook", 4) != 0)
			(void)fcntl(fd, F_SETFD, 0);
	}
}

static int write_all(int fd, const char *text, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = write(fd, text + done, n - done);
		if (r < 0 && errno != EINTR)
			return -errno;
		done += r > 0 ? (size_t)r : 0;
	}
	return 0;
}

int ph_shell_kept_save(struct ph_shell *shell)
{
	char *text = NULL, value[64];
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);
	if (!to)
		return -errno;
	list(shell, to);
	int error = fclose(to) ? -errno : 0;
	int fd = error ? -1 : memfd_create("prochub-kept", 0);
	if (!error)
		error = fd < 0 ? -errno : write_all(fd, text, n);
	if (!error) {
		open_for_next(text);
		(void)snprintf(value, sizeof value, "%d %d", (int)getpid(), fd);
		error = setenv(VARIABLE, value, 1) ? -errno : 0;
	}
	free(text);
	return error;
}
