/* hook.c - see hook.h. */
#include "io/hook.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/kin.h"
#include "io/launch.h"

#define CHUNK_BYTES (64u * 1024)
#define REST_CHUNKS 16 /* of what is in the pipe when it has ended: a pipe has at most 1 MiB */
#define SLOWLY_MS 20   /* between two chunks of what is only counted */
#define POLL_MS 10
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

struct ph_hook {
	struct event_base *base;
	const struct ph_hook_ops *ops;
	void *arg;
	struct ph_launch *launch; /* it is being started, and has no child yet */
	struct ph_child *child;
	struct ph_child_exit status;
	int output; /* the end that is read; -1: closed */
	struct event *readable, *timer;
	bool ended, unheard;  /* unheard: nobody has it any more, it is only to be reaped */
	uint64_t patience_ms; /* ENDED: until then for what it has left of its group */
	char line[PH_HOOK_LINE_BYTES + 1];
	size_t n_line;
	bool cut; /* the rest of this line is left out */
	unsigned lines;
	unsigned long untold;
};

/* ---- its output ---- */

static void end_line(struct ph_hook *hook)
{
	hook->line[hook->n_line] = '\0';
	if (hook->lines < PH_HOOK_LINES) {
		hook->lines++;
		hook->ops->line(hook->arg, hook->line);
	} else {
		hook->untold++;
	}
	hook->n_line = 0;
	hook->cut = false;
}

static void take(struct ph_hook *hook, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			end_line(hook);
		} else if (hook->n_line < PH_HOOK_LINE_BYTES) {
			hook->line[hook->n_line++] = bytes[i] ? bytes[i] : '?';
		} else {
			hook->cut = true;
		}
	}
}

static void close_output(struct ph_hook *hook)
{
	if (hook->n_line)
		end_line(hook);
	if (hook->readable)
		event_free(hook->readable);
	hook->readable = NULL;
	if (hook->output >= 0)
		close(hook->output);
	hook->output = -1;
}

/* Is there more? */
static bool read_some(struct ph_hook *hook)
{
	char bytes[CHUNK_BYTES];
	errno = 0; /* as it stays at the end of file */
	ssize_t n = read(hook->output, bytes, sizeof bytes);
	if (n > 0)
		take(hook, bytes, (size_t)n);
	return n > 0 || (n < 0 && errno == EINTR);
}

static void after(struct ph_hook *hook, int ms)
{
	const struct timeval tv = {0, ms * 1000};
	evtimer_add(hook->timer, &tv);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ph_hook *hook = arg;
	(void)fd;
	(void)what;
	if (!read_some(hook) && errno != EAGAIN)
		close_output(hook); /* it has closed it, and may go on */
	else if (hook->lines < PH_HOOK_LINES && !hook->cut)
		event_add(hook->readable, NULL);
	else
		after(hook, SLOWLY_MS);
}

/* ---- its end ---- */

static void finish(struct ph_hook *hook, bool left)
{
	hook->ops->ended(hook->arg, &hook->status, left, hook->untold);
}

static void release(struct ph_hook *hook)
{
	if (hook->timer)
		event_free(hook->timer);
	ph_child_free(hook->child);
	free(hook);
}

/* Nothing of its group is to outlive it. */
static void clear(struct ph_hook *hook)
{
	if (!ph_child_group_alive(hook->child)) {
		finish(hook, false);
	} else if (ph_clock_now_ms() >= hook->patience_ms) {
		finish(hook, true);
	} else {
		(void)ph_child_kill_group(hook->child, SIGKILL);
		after(hook, POLL_MS);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ph_hook *hook = arg;
	(void)fd;
	(void)what;
	if (hook->ended)
		clear(hook);
	else if (hook->readable)
		event_add(hook->readable, NULL);
}

static void on_exit_of(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	struct ph_hook *hook = arg;
	hook->status = *status;
	hook->ended = true;
	hook->patience_ms = ph_clock_now_ms() + PH_HOOK_PATIENCE_MS;
	(void)ph_child_kill_group(child, SIGKILL); /* its number is still ours */
	ph_child_reap(child);
	if (hook->unheard) {
		release(hook);
		return;
	}
	for (int i = 0; hook->output >= 0 && i < REST_CHUNKS && read_some(hook); i++)
		;
	close_output(hook);
	evtimer_del(hook->timer);
	clear(hook);
}

/* ---- its beginning ---- */

static int put_input(int fd, const char *input, size_t n)
{
	while (n) {
		ssize_t w = write(fd, input, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -errno;
		input += w;
		n -= (size_t)w;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

/* A file in memory with the text. Negative errno. */
static int open_input(const char *input, size_t n)
{
	int fd = memfd_create("hook", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("hook", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int error = put_input(fd, input, n);
	if (!error)
		return fd;
	close(fd);
	return error;
}

/* The end that is written to is as the program wants it: it waits there. */
static int open_output(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	int error = -errno;
	close(ends[0]);
	close(ends[1]);
	return error;
}

/* Takes what runs. */
static int watch(struct ph_hook *hook, const struct ph_spawned *spawned, struct ph_err *err)
{
	int error = ph_child_new(hook->base, spawned->pid, spawned->pidfd, spawned->start_time,
		on_exit_of, hook, &hook->child);
	if (!error)
		return 0;
	(void)kill(-spawned->pid, SIGKILL);
	while (waitpid(spawned->pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ph_err_set(err, -error, "cannot watch the process: %s", strerror(-error));
}

/* One that was set aside runs at last, or never will. */
static void on_launched(
	void *arg, int error, const struct ph_spawned *spawned, const struct ph_err *err)
{
	struct ph_hook *hook = arg;
	struct ph_err why = *err;
	hook->launch = NULL;
	if (!error)
		error = watch(hook, spawned, &why);
	if (error)
		hook->ops->failed(hook->arg, error, why.text);
}

static int spawn(
	struct ph_hook *hook, const struct ph_spawn_spec *spec, int input, struct ph_err *err)
{
	struct ph_spawn_spec full = *spec;
	struct ph_spawned spawned;
	int ends[2];
	int error = open_output(ends);
	if (error)
		return ph_err_set(err, -error, "cannot read its output: %s", strerror(-error));
	const int fds[3] = {input, ends[1], ends[1]};
	full.fds = fds;
	full.n_fds = 3;
	error = ph_launch_new(hook->base, &full, on_launched, hook, &hook->launch, &spawned, err);
	close(ends[1]);
	hook->output = ends[0];
	if (error || hook->launch)
		return error;
	return watch(hook, &spawned, err);
}

static int watch_output(struct ph_hook *hook)
{
	hook->readable = event_new(hook->base, hook->output, EV_READ, on_readable, hook);
	return !hook->readable || event_add(hook->readable, NULL) < 0 ? -ENOMEM : 0;
}

int ph_hook_start(struct event_base *base, const struct ph_spawn_spec *spec, const char *input,
	size_t n, const struct ph_hook_ops *ops, void *arg, struct ph_hook **ret,
	struct ph_err *err)
{
	struct ph_hook *hook = calloc(1, sizeof *hook);
	if (!hook)
		return ph_err_set(err, ENOMEM, "out of memory");
	*hook = (struct ph_hook){.base = base, .ops = ops, .arg = arg, .output = -1};
	hook->timer = evtimer_new(base, on_timer, hook);
	int text = hook->timer ? open_input(input, n) : -ENOMEM;
	int error = text < 0 ? ph_err_set(err, -text, "cannot make its input: %s", strerror(-text))
			     : spawn(hook, spec, text, err);
	if (text >= 0)
		close(text);
	if (!error && watch_output(hook))
		error = ph_err_set(err, ENOMEM, "out of memory");
	if (error)
		ph_hook_free(hook);
	else
		*ret = hook;
	return error;
}

bool ph_hook_runs(const struct ph_hook *hook)
{
	return hook->child;
}

void ph_hook_signal(struct ph_hook *hook, int signo)
{
	if (hook->launch)
		ph_launch_hurry(hook->launch);
	else
		(void)ph_child_kill_group(hook->child, signo);
}

bool ph_hook_give_up(struct ph_hook *hook)
{
	struct ph_spawned spawned;
	struct ph_err err;
	if (hook->launch && !ph_launch_give_up(hook->launch, &spawned, &err))
		(void)watch(hook, &spawned, &err);
	hook->launch = NULL;
	return !hook->child;
}

void ph_hook_free(struct ph_hook *hook)
{
	if (!hook)
		return;
	(void)ph_hook_give_up(hook);
	hook->n_line = 0;
	close_output(hook);
	if (!hook->child || hook->ended) {
		release(hook);
		return;
	}
	/* It ends a moment later, and nobody but its parent can reap it. */
	const struct ph_kin kin = {ph_child_pid(hook->child), ph_child_start_time(hook->child)};
	(void)ph_kin_kill(&kin, NULL);
	(void)ph_child_kill_group(hook->child, SIGKILL);
	evtimer_del(hook->timer);
	hook->unheard = true;
}
