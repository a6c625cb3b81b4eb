#include "io/notify.h"

#include "io/sockpath.h"
#include "io/unixsock.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#define FDS_MAX 253 /* SCM_MAX_FD of the kernel: no message brings more */

struct ph_notify {
	int fd;
	char path[PH_UNIXSOCK_PATH_MAX + 1];
	ph_notify_fn *fn;
	void *arg;
	struct event *event;
	bool *freed;			     /* set where a callback closes us */
	char bytes[PH_NOTIFY_BYTES_MAX + 1]; /* with a NUL */
};

/* ---- parsing */

/* The length of the UTF-8 character at `s`, or 0: none (overlong, surrogate, cut off, too large).
 */
static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = {
		{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
	for (size_t n = 0; n < sizeof forms / sizeof *forms; n++) {
		if ((s[0] & forms[n].mask) != forms[n].lead)
			continue;
		uint32_t c = s[0] & (unsigned)~forms[n].mask;
		for (size_t i = 1; i <= n; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[i] & 0x3fu);
		}
		bool legal = c >= forms[n].least && c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
		return legal ? n + 1 : 0;
	}
	return 0;
}

/* Replaces in place what a line for people cannot hold. */
static void clean_text(char *text)
{
	for (char *p = text; *p;) {
		size_t n = utf8_length((const unsigned char *)p);
		if (!n || (unsigned char)*p < 0x20 || *p == 0x7f) {
			*p = *p == '\t' ? ' ' : '?';
			n = 1;
		}
		p += n;
	}
}

static bool parse_number(const char *text, uint64_t *ret)
{
	uint64_t v = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*text - '0');
	}
	*ret = v;
	return true;
}

static void set_ready(struct ph_notify_message *m, char *value)
{
	m->ready = m->ready || strcmp(value, "1") == 0;
}

static void set_stopping(struct ph_notify_message *m, char *value)
{
	m->stopping = m->stopping || strcmp(value, "1") == 0;
}

static void set_reloading(struct ph_notify_message *m, char *value)
{
	m->reloading = m->reloading || strcmp(value, "1") == 0;
}

static void set_watchdog(struct ph_notify_message *m, char *value)
{
	m->watchdog = m->watchdog || strcmp(value, "1") == 0;
	m->trigger = m->trigger || strcmp(value, "trigger") == 0;
}

static void set_status(struct ph_notify_message *m, char *value)
{
	clean_text(value);
	m->status = value;
}

static void set_main_pid(struct ph_notify_message *m, char *value)
{
	uint64_t pid;
	if (parse_number(value, &pid) && pid > 0 && pid <= INT_MAX)
		m->main_pid = (pid_t)pid;
}

static void set_extend(struct ph_notify_message *m, char *value)
{
	uint64_t usec;
	if (parse_number(value, &usec))
		m->extend_ms = usec / 1000 + (usec % 1000 != 0);
}

static const struct {
	const char *name;
	void (*set)(struct ph_notify_message *m, char *value);
} variables[] = {
	{"READY", set_ready},
	{"STOPPING", set_stopping},
	{"RELOADING", set_reloading},
	{"WATCHDOG", set_watchdog},
	{"STATUS", set_status},
	{"MAINPID", set_main_pid},
	{"EXTEND_TIMEOUT_USEC", set_extend},
};

static void parse_line(char *line, struct ph_notify_message *ret)
{
	char *equals = strchr(line, '=');
	if (!equals)
		return;
	size_t n = (size_t)(equals - line);
	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
		if (strlen(variables[i].name) == n && memcmp(line, variables[i].name, n) == 0)
			variables[i].set(ret, equals + 1);
	}
}

void ph_notify_parse(char *bytes, size_t n, struct ph_notify_message *ret)
{
	*ret = (struct ph_notify_message){.pid = ret->pid, .uid = ret->uid, .gid = ret->gid};
	bytes[n] = '\0';
	/* some programs send the NUL of their string along: it ends the text */
	n = strlen(bytes);
	for (char *line = bytes; line < bytes + n;) {
		char *end = strchr(line, '\n');
		if (end)
			*end = '\0';
		parse_line(line, ret);
		line = end ? end + 1 : bytes + n;
	}
}

/* ---- the socket */

/* Closes what came along; true where the kernel vouches for the sender. */
static bool take_control(struct msghdr *header, struct ucred *ret_sender)
{
	bool known = false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS &&
			c->cmsg_len == CMSG_LEN(sizeof *ret_sender)) {
			memcpy(ret_sender, CMSG_DATA(c), sizeof *ret_sender);
			known = true;
		}
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			close(fd);
		}
	}
	return known;
}

/* One datagram; false when there is none. */
static bool receive_one(struct ph_notify *notify)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {notify->bytes, PH_NOTIFY_BYTES_MAX};
	struct msghdr header = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	ssize_t n = recvmsg(notify->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EINTR;
	struct ucred sender;
	bool known = take_control(&header, &sender);
	if (!known || sender.pid <= 0 || (header.msg_flags & MSG_TRUNC))
		return true;
	struct ph_notify_message message = {
		.pid = sender.pid, .uid = sender.uid, .gid = sender.gid};
	ph_notify_parse(notify->bytes, (size_t)n, &message);
	notify->fn(notify->arg, &message);
	return true;
}

static void receive(void *arg, int max)
{
	struct ph_notify *notify = arg;
	bool freed = false;
	notify->freed = &freed;
	for (int i = 0; i < max; i++) {
		bool more = receive_one(notify);
		if (freed)
			return;
		if (!more)
			break;
	}
	notify->freed = NULL;
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	receive(arg, PH_NOTIFY_TURN);
}

void ph_notify_drain(struct ph_notify *notify)
{
	receive(notify, PH_NOTIFY_DRAIN);
}

/* Takes `fd`, which is bound to `path`. */
static int receive_with(struct event_base *base, int fd, const char *path, ph_notify_fn *fn,
	void *arg, struct ph_notify **ret, struct ph_err *err)
{
	int on = 1, r = 0;
	struct ph_notify *notify = calloc(1, sizeof *notify);
	if (!notify) {
		ph_sockpath_close(fd, path);
		return ph_err_set(err, ENOMEM, "out of memory for '%s'", path);
	}
	notify->fd = fd;
	notify->fn = fn;
	notify->arg = arg;
	memcpy(notify->path, path, strlen(path) + 1);
	notify->event = event_new(base, fd, EV_READ | EV_PERSIST, readable, notify);
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
		r = ph_err_set(err, errno, "cannot use '%s': %s", path, strerror(errno));
	else if (!notify->event || event_add(notify->event, NULL) < 0)
		r = ph_err_set(err, ENOMEM, "out of memory for '%s'", path);
	if (r) {
		ph_notify_close(notify);
		return r;
	}
	*ret = notify;
	return 0;
}

int ph_notify_open(struct event_base *base, const char *path, mode_t mode, ph_notify_fn *fn,
	void *arg, struct ph_notify **ret, struct ph_err *err)
{
	int fd;
	int r = ph_sockpath_bind(path, SOCK_DGRAM, mode, (gid_t)-1, &fd, err);
	return r ? r : receive_with(base, fd, path, fn, arg, ret, err);
}

int ph_notify_take(struct event_base *base, int fd, const char *path, mode_t mode, ph_notify_fn *fn,
	void *arg, struct ph_notify **ret, struct ph_err *err)
{
	if (ph_sockpath_take(fd, path, SOCK_DGRAM, mode, (gid_t)-1) == 0)
		return receive_with(base, fd, path, fn, arg, ret, err);
	close(fd);
	return ph_notify_open(base, path, mode, fn, arg, ret, err);
}

int ph_notify_fd(const struct ph_notify *notify)
{
	return notify->fd;
}

void ph_notify_close(struct ph_notify *notify)
{
	if (!notify)
		return;
	if (notify->freed)
		*notify->freed = true;
	if (notify->event)
		event_free(notify->event);
	ph_sockpath_close(notify->fd, notify->path);
	free(notify);
}
