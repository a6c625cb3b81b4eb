#include "io/launch.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"

struct ph_launch {
	struct ph_spawn_spec spec;
	char *memory; /* what it points to */
	struct ph_spawning *spawning;
	struct event *look;
	uint64_t until_ms;
	ph_launch_fn *fn;
	void *arg;
};

static unsigned under_way;

/* ---- a copy of a spec, in one piece of memory */

/* First without memory, to know how much is needed. */
struct copy {
	char *memory;
	size_t n;
};

static void *put(struct copy *copy, const void *from, size_t n)
{
	char *at = copy->memory ? copy->memory + copy->n : NULL;
	copy->n += (n + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
	if (at && n)
		memcpy(at, from, n);
	return at;
}

static const char *put_text(struct copy *copy, const char *text)
{
	return text ? put(copy, text, strlen(text) + 1) : NULL;
}

static const char *const *put_list(struct copy *copy, const char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	const char **ret = put(copy, list, list ? (n + 1) * sizeof *list : 0);
	for (size_t i = 0; i < n; i++) {
		const char *text = put_text(copy, list[i]);
		if (ret)
			ret[i] = text;
	}
	return list ? ret : NULL;
}

/* All but the descriptors, which nobody looks at once it has begun. */
static void put_spec(struct copy *copy, const struct ph_spawn_spec *from, struct ph_spawn_spec *ret)
{
	*ret = *from;
	ret->path = put_text(copy, from->path);
	ret->search = put_text(copy, from->search);
	ret->file = put_text(copy, from->file);
	ret->file_option = put_text(copy, from->file_option);
	ret->argv = put_list(copy, from->argv);
	ret->env = put_list(copy, from->env);
	ret->dir = put_text(copy, from->dir);
	ret->cgroup = put_text(copy, from->cgroup);
	ret->groups = put(copy, from->groups, from->n_groups * sizeof *from->groups);
	ret->limits = put(copy, from->limits, from->n_limits * sizeof *from->limits);
}

static int copy_spec(struct ph_launch *launch, const struct ph_spawn_spec *from)
{
	struct copy copy = {NULL, 0};
	put_spec(&copy, from, &launch->spec);
	launch->memory = copy.memory = malloc(copy.n + 1);
	if (!copy.memory)
		return -ENOMEM;
	copy.n = 0;
	put_spec(&copy, from, &launch->spec);
	return 0;
}

/* ---- */

static void release(struct ph_launch *launch)
{
	if (launch->look)
		event_free(launch->look);
	free(launch->memory);
	free(launch);
	under_way--;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval pause = {0, PH_SPAWN_LOOK_MS * 1000};
	struct ph_launch *launch = arg;
	struct ph_spawned spawned;
	struct ph_err err = {{0}};
	(void)fd, (void)what;
	if (!ph_spawn_wait(launch->spawning, 0) && ph_clock_now_ms() < launch->until_ms) {
		evtimer_add(launch->look, &pause);
		return;
	}
	ph_launch_fn *fn = launch->fn;
	void *its = launch->arg;
	int error = ph_launch_give_up(launch, &spawned, &err);
	fn(its, error, &spawned, &err);
}

int ph_launch_give_up(struct ph_launch *launch, struct ph_spawned *ret, struct ph_err *err)
{
	int error = ph_spawn_give_up(launch->spawning, ret, err);
	release(launch);
	return error;
}

void ph_launch_hurry(struct ph_launch *launch)
{
	launch->until_ms = 0;
	event_active(launch->look, EV_TIMEOUT, 0);
}

static int begin(struct ph_launch *launch, struct event_base *base,
	const struct ph_spawn_spec *spec, struct ph_err *err)
{
	if (under_way > PH_LAUNCH_MAX)
		return ph_err_set(err, EAGAIN, "%d starts are under way, no more are possible",
			PH_LAUNCH_MAX);
	launch->look = evtimer_new(base, on_look, launch);
	if (!launch->look || copy_spec(launch, spec))
		return ph_err_set(err, ENOMEM, "cannot prepare a process: out of memory");
	launch->until_ms = ph_clock_now_ms() + PH_SPAWN_ASIDE_MS;
	return ph_spawn_begin(&launch->spec, &launch->spawning, err);
}

int ph_launch_new(struct event_base *base, const struct ph_spawn_spec *spec, ph_launch_fn *fn,
	void *arg, struct ph_launch **ret, struct ph_spawned *ret_spawned, struct ph_err *err)
{
	struct ph_launch *launch = calloc(1, sizeof *launch);
	if (!launch)
		return ph_err_set(err, ENOMEM, "cannot prepare a process: out of memory");
	under_way++;
	launch->fn = fn;
	launch->arg = arg;
	int error = begin(launch, base, spec, err);
	if (error) {
		release(launch);
		return error;
	}
	*ret = NULL;
	if (ph_spawn_moment(launch->spawning))
		return ph_launch_give_up(launch, ret_spawned, err);
	event_active(launch->look, EV_TIMEOUT, 0);
	*ret = launch;
	return 0;
}
