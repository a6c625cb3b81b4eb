#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/client.h"
#include "proto/worker.h"

/* Where a worker comes from: options and environment. */

static bool copy_word(char to[PH_VERSION_SIZE], const char *from)
{
	if (!from || !*from || strlen(from) >= PH_VERSION_SIZE)
		return false;
	memcpy(to, from, strlen(from) + 1);
	return true;
}

static int describe_state(struct ph_wmsg *hello, const struct prochub_options *o)
{
	hello->caps = o->caps;
	if (!(o->caps & PROCHUB_CAP_HANDOVER))
		return 0;
	hello->has_state = true;
	hello->version = o->version;
	if (!copy_word(hello->format, o->format) || o->n_accepts > PH_ACCEPTS_MAX ||
		o->version > PH_CODEC_WHOLE_MAX)
		return -EINVAL;
	hello->n_accepts = o->n_accepts;
	for (size_t i = 0; i < o->n_accepts; i++) {
		const struct prochub_accepts *a = &o->accepts[i];
		if (!copy_word(hello->accepts[i].format, a->format) || a->min > a->max)
			return -EINVAL;
		hello->accepts[i].min = a->min;
		hello->accepts[i].max = a->max;
	}
	if (!o->n_accepts) {
		hello->n_accepts = 1;
		hello->accepts[0].max = o->version;
		memcpy(hello->accepts[0].format, hello->format, sizeof hello->format);
	}
	return 0;
}

static uint64_t number(const char *name)
{
	const char *s = getenv(name);
	return s ? strtoull(s, NULL, 10) : 0;
}

static struct ph_name name_from(const char *variable)
{
	const char *s = getenv(variable);
	return ph_name_of(s ? s : "");
}

static int take_token(char token[PH_TOKEN_SIZE])
{
	const char *s = getenv("PROCHUB_TOKEN");
	if (!s || strlen(s) != PH_TOKEN_SIZE - 1 ||
		strspn(s, "0123456789abcdef") != PH_TOKEN_SIZE - 1)
		return -EINVAL;
	memcpy(token, s, PH_TOKEN_SIZE);
	(void)unsetenv("PROCHUB_TOKEN");
	return 0;
}

/* Those callbacks that a program knows, by the size of its options: arg comes after them. */
static int copy_callbacks(struct prochub *p, const struct prochub_options *o)
{
	const size_t before = offsetof(struct prochub_options, callbacks);
	const size_t least = before + offsetof(struct prochub_callbacks, estimate);
	if (o->size < least + sizeof o->arg || o->size > sizeof *o)
		return -EINVAL;
	size_t n = o->size - before - sizeof o->arg;
	if (n % sizeof o->callbacks.estimate)
		return -EINVAL;
	memcpy(&p->cb, &o->callbacks, n);
	memcpy(&p->arg, (const char *)&o->callbacks + n, sizeof p->arg);
	return 0;
}

static int open_context(struct prochub *p, const struct prochub_options *o, const char *path)
{
	struct ph_wmsg hello;
	memset(&hello, 0, sizeof hello);
	if (strlen(path) >= sizeof p->socket)
		return -EINVAL;
	int error = copy_callbacks(p, o);
	if (!error)
		error = describe_state(&hello, o);
	if (!error)
		error = take_token(hello.token);
	if (error)
		return error;
	memcpy(p->socket, path, strlen(path) + 1);
	ph_session_init(&p->s, &hello);
	const char *role = getenv("PROCHUB_ROLE");
	p->s.role = role && strcmp(role, "active") == 0 ? PH_ROLE_ACTIVE : PH_ROLE_STANDBY;
	p->s.epoch = number("PROCHUB_EPOCH");
	p->s.child = name_from("PROCHUB_CHILD");
	p->s.node = name_from("PROCHUB_NODE");
	p->s.instance = (uint32_t)number("PROCHUB_INSTANCE");
	p->seed = ph_hash_bytes(PH_HASH_SEED, hello.token, sizeof hello.token);
	p->backoff_ms = 50;
	ph_line_init(&p->in, PH_LINE_MAX);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return p->epoll_fd < 0 ? -errno : 0;
}

struct prochub *prochub_open(const struct prochub_options *options)
{
	const char *path = getenv("PROCHUB_SOCKET");
	if (!path || !*path) {
		errno = ENOENT;
		return NULL;
	}
	struct prochub *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->epoll_fd = p->control_fd = p->data.fd = -1;
	int error = open_context(p, options, path);
	if (error) {
		free(p);
		errno = -error;
		return NULL;
	}
	return p;
}

const char *prochub_child(const struct prochub *p)
{
	return p->s.child.s;
}

const char *prochub_node(const struct prochub *p)
{
	return p->s.node.s;
}

unsigned prochub_instance(const struct prochub *p)
{
	return p->s.instance;
}

uint64_t prochub_epoch(const struct prochub *p)
{
	return p->s.epoch;
}

int prochub_is_active(const struct prochub *p)
{
	return p->s.greeted && p->s.role == PH_ROLE_ACTIVE && !p->s.frozen;
}

int prochub_is_committed(const struct prochub *p)
{
	return p->s.hand == PH_HAND_COMMITTED;
}

int prochub_is_stale(const struct prochub *p)
{
	return p->s.msg.stale;
}

int prochub_is_connected(const struct prochub *p)
{
	return p->s.up;
}
