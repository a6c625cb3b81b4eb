/*
 * Users and groups of children by their names, looked up beside the loop.
 *
 * A directory of users (LDAP) may not answer. Each pair of user and group is asked for once after
 * each load; who starts a process waits for the answer, who checks a worker goes by the last one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/spawn.h"
#include "io/userask.h"
#include "shell_parts.h"

#define PATIENCE_MS 1000 /* of a load, for all users together */

struct who {
	char *key; /* USER:GROUP */
	struct ph_user user;
	bool has, stale; /* stale: it was loaded anew since */
	struct ph_user_ask *ask;
	UT_hash_handle hh;
};

struct ph_shell_users {
	struct who *all;
	unsigned asked;	      /* for so many */
	uint64_t patience_ms; /* that a load has left */
};

int ph_shell_users_new(struct ph_shell *shell)
{
	shell->users = ph_shell_alloc(sizeof *shell->users);
	return 0;
}

static void drop_ask(struct ph_shell_users *users, struct who *who)
{
	users->asked -= who->ask != NULL;
	ph_user_ask_free(who->ask);
	who->ask = NULL;
}

static void forget(struct ph_shell_users *users, struct who *who)
{
	HASH_DEL(users->all, who);
	drop_ask(users, who);
	if (who->has)
		ph_user_fini(&who->user);
	free(who->key);
	free(who);
}

void ph_shell_users_free(struct ph_shell *shell)
{
	struct who *who, *next;
	if (!shell->users)
		return;
	HASH_ITER (hh, shell->users->all, who, next)
		forget(shell->users, who);
	free(shell->users);
	shell->users = NULL;
}

/* Who was not asked for since the last time is forgotten. */
void ph_shell_users_again(struct ph_shell *shell)
{
	struct who *who, *next;
	shell->users->patience_ms = PATIENCE_MS;
	HASH_ITER (hh, shell->users->all, who, next) {
		if (who->stale && !who->ask)
			forget(shell->users, who);
		else
			who->stale = true;
	}
}

/* NULL and "" are not the same: a name has at least one character. */
static struct who *get(struct ph_shell_users *users, const char *user, const char *group)
{
	struct who *who;
	size_t n = (user ? strlen(user) : 0) + (group ? strlen(group) : 0) + 2;
	char *key = ph_shell_alloc(n);
	(void)snprintf(key, n, "%s:%s", user ? user : "", group ? group : "");
	HASH_FIND_STR(users->all, key, who);
	if (who) {
		free(key);
		return who;
	}
	who = ph_shell_alloc(sizeof *who);
	who->key = key;
	who->stale = true;
	HASH_ADD_KEYPTR(hh, users->all, key, strlen(key), who);
	return who;
}

static int take(struct ph_shell_users *users, struct who *who, struct ph_err *err)
{
	struct ph_user found;
	int error = ph_user_ask_take(who->ask, &found, err);
	who->ask = NULL;
	users->asked--;
	who->stale = error;
	if (error && error != -ENOENT)
		return error; /* nothing was said of him: what was known last is kept */
	if (who->has)
		ph_user_fini(&who->user);
	who->has = !error;
	if (!error)
		who->user = found;
	return error;
}

/* One that hangs is not asked for once more: that would hang as well. */
static int wait_for(struct ph_shell_users *users, struct who *who, unsigned ms, struct ph_err *err)
{
	if (ph_user_ask_wait(who->ask, ms))
		return take(users, who, err);
	return ph_err_set(err, EINPROGRESS,
		"user '%.*s' cannot be looked up: not done in time, as where a directory of users "
		"does not answer",
		(int)strcspn(who->key, ":"), who->key);
}

int ph_shell_user(struct ph_shell *shell, const char *user, const char *group, bool last,
	const struct ph_user **ret, struct ph_err *err)
{
	struct ph_shell_users *users = shell->users;
	struct who *who = get(users, user, group);
	int error = 0;
	if (who->stale && who->ask) {
		error = wait_for(users, who, 0, err);
	} else if (who->stale) {
		error = ph_user_ask_new(user, group, &who->ask, err);
		if (!error) {
			unsigned ms = users->asked++ ? PH_SPAWN_LOOK_MS : PH_SPAWN_MOMENT_MS;
			error = wait_for(users, who, ms, err);
		}
	}
	*ret = &who->user;
	return last && who->has ? 0 : error;
}

bool ph_shell_user_may_be(struct ph_shell *shell, const char *user, const char *group)
{
	const struct ph_user *found;
	struct ph_err err;
	struct ph_shell_users *users = shell->users;
	uint64_t from_ms = ph_clock_now_ms();
	int error = ph_shell_user(shell, user, group, false, &found, &err);
	if (error == -EINPROGRESS) {
		(void)ph_user_ask_wait(get(users, user, group)->ask, (unsigned)users->patience_ms);
		error = ph_shell_user(shell, user, group, false, &found, &err);
	}
	uint64_t took_ms = ph_clock_now_ms() - from_ms;
	users->patience_ms -= took_ms < users->patience_ms ? took_ms : users->patience_ms;
	return error != -ENOENT;
}
