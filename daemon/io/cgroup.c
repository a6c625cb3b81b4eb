#include "io/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define MARK_SIZE 32	  /* "prochub-0123456789abcdef-" */
#define MARK_BYTES 25	  /* of these */
#define DEPTH_MAX 8	  /* of what a worker has made below its own */
#define FORGOTTEN_S 60	  /* an empty cgroup of somebody else is nobody's after it */
#define PERIOD_US 100000u /* of cpu.max: the kernel's own default */

struct ph_cgroups {
	char dir[PATH_MAX];
	char path[PATH_MAX]; /* of that, as the kernel names it; "/" at the top; empty: unknown */
	char mark[MARK_SIZE];
	bool enabled[PH_CGROUP_LIMIT_COUNT];
};

static const struct {
	const char *controller, *file;
} limits[] = {
#define X(name, controller, file) {controller, file},
	PH_CGROUP_LIMITS(X)
#undef X
};

/* ---- files */

static int join(char ret[PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
	return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	int error = join(path, dir, name);
	int fd = error ? -1 : open(path, O_WRONLY | O_CLOEXEC);
	if (error || fd < 0)
		return error ? error : -errno;
	size_t n = strlen(text);
	ssize_t w = write(fd, text, n);
	error = w == (ssize_t)n ? 0 : w < 0 ? -errno : -EIO;
	close(fd);
	return error;
}

/* At most n - 1 bytes, ended by a NUL. Negative errno. */
static int read_file(const char *path, char *ret, size_t n)
{
	size_t got = 0;
	ssize_t r = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (got < n - 1 && r > 0) {
		r = read(fd, ret + got, n - 1 - got);
		got += r > 0 ? (size_t)r : 0;
	}
	int error = r < 0 ? -errno : 0;
	close(fd);
	ret[got] = '\0';
	return error;
}

static int read_in(const char *dir, const char *name, char *ret, size_t n)
{
	char path[PATH_MAX];
	int error = join(path, dir, name);
	return error ? error : read_file(path, ret, n);
}

/* The number behind a word at the beginning of a line. */
static uint64_t number_in(const char *dir, const char *name, const char *word)
{
	char text[1024];
	size_t n = strlen(word);
	if (read_in(dir, name, text, sizeof text))
		return 0;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, word, n) == 0 && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 10);
	}
	return 0;
}

/* Is the word one of those in that file? */
static bool lists(const char *dir, const char *name, const char *word)
{
	char text[1024], *save = NULL;
	if (read_in(dir, name, text, sizeof text))
		return false;
	for (char *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
		if (strcmp(w, word) == 0)
			return true;
	return false;
}

/* ---- where it is */

/* Of a process in the v2 tree, as the kernel names it: "/system.slice/prochub.service". */
static int own_path(pid_t pid, char ret[PATH_MAX])
{
	char file[64], text[8192], *save = NULL;
	(void)snprintf(file, sizeof file, "/proc/%d/cgroup", (int)pid);
	int error = read_file(file, text, sizeof text);
	if (error)
		return error;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "0::/", 4) == 0 && strlen(line + 3) < PATH_MAX) {
			memcpy(ret, line + 3, strlen(line + 3) + 1);
			return 0;
		}
	return -ENOENT;
}

/* The rest of `path` below `top`, or NULL. */
static const char *below(const char *path, const char *top)
{
	size_t n = strlen(top);
	if (strcmp(top, "/") == 0)
		return path;
	return strncmp(path, top, n) == 0 && (path[n] == '/' || !path[n]) ? path + n : NULL;
}

/* The folder of that path, in the first mount of the tree that has it. */
static int folder_of(const char *path, char ret[PATH_MAX])
{
	char *line = NULL, top[PATH_MAX], mount[PATH_MAX];
	size_t room = 0;
	int error = -ENOENT;
	FILE *in = fopen("/proc/self/mountinfo", "re");
	_Static_assert(PATH_MAX == 4096, "the widths below");
	while (in && error && getline(&line, &room, in) > 0) {
		if (!strstr(line, " - cgroup2 ") ||
			sscanf(line, "%*d %*d %*s %4095s %4095s", top, mount) != 2)
			continue;
		const char *rest = below(path, top);
		if (rest)
			error = join(ret, mount, rest + strspn(rest, "/"));
	}
	free(line);
	if (in)
		(void)fclose(in);
	size_t n = error ? 0 : strlen(ret);
	while (n > 1 && ret[n - 1] == '/')
		ret[--n] = '\0';
	return error;
}

static bool has_xattr(const char *dir, const char *name)
{
	char value[8];
	ssize_t n = getxattr(dir, name, value, sizeof value);
	return n == 1 && value[0] == '1';
}

/* systemd is the only writer of what it has not given away. */
static bool is_delegated(const char *dir)
{
	return access("/run/systemd/system", F_OK) != 0 || has_xattr(dir, "user.delegate") ||
	       has_xattr(dir, "trusted.delegate");
}

static void set_mark(struct ph_cgroups *groups, const char *run_dir)
{
	char *real = realpath(run_dir, NULL);
	const char *text = real ? real : run_dir;
	(void)snprintf(groups->mark, sizeof groups->mark, "prochub-%016llx-",
		(unsigned long long)XXH3_64bits(text, strlen(text)));
	free(real);
}

/* A cgroup is made and removed where nothing else needs one: may the daemon do so? */
static int try_out(const struct ph_cgroups *groups)
{
	char *path = ph_cgroup_path(groups, "try");
	if (!path)
		return -ENOMEM;
	int error = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
	(void)rmdir(path);
	free(path);
	return error;
}

static int enter_leaf(const char *dir)
{
	char leaf[PATH_MAX];
	int error = join(leaf, dir, PH_CGROUP_LEAF);
	if (!error && mkdir(leaf, 0755) < 0 && errno != EEXIST)
		error = -errno;
	return error ? error : write_file(leaf, "cgroup.procs", "0");
}

int ph_cgroups_open_at(const char *dir, bool root, const char *run_dir, struct ph_cgroups **ret,
	struct ph_err *err)
{
	struct ph_cgroups *groups = calloc(1, sizeof *groups);
	if (!groups)
		return ph_err_set(err, ENOMEM, "out of memory");
	(void)snprintf(groups->dir, sizeof groups->dir, "%s", dir);
	set_mark(groups, run_dir);
	int error = try_out(groups);
	if (!error && !root)
		error = enter_leaf(groups->dir);
	if (error) {
		(void)ph_err_set(err, -error, "no cgroup can be made in %s: %s", groups->dir,
			strerror(-error));
		free(groups);
		return error;
	}
	*ret = groups;
	return 0;
}

int ph_cgroups_open(const char *run_dir, struct ph_cgroups **ret, struct ph_err *err)
{
	char path[PATH_MAX], dir[PATH_MAX], type[PATH_MAX];
	int error = own_path(getpid(), path);
	if (!error)
		error = folder_of(path, dir);
	if (error)
		return ph_err_set(err, -error, "this process is in no cgroup v2 that is mounted");
	char *last = strrchr(dir, '/');
	if (last && strcmp(last + 1, PH_CGROUP_LEAF) == 0)
		*last = '\0';
	if (!is_delegated(dir))
		return ph_err_set(err, EPERM,
			"systemd has not delegated the cgroup %s (Delegate=yes in the unit)", dir);
	error = join(type, dir, "cgroup.type");
	if (error)
		return ph_err_set(err, -error, "the path of the daemon's cgroup is too long");
	error = ph_cgroups_open_at(dir, access(type, F_OK) != 0, run_dir, ret, err);
	if (error)
		return error;
	size_t cut = last && !*last ? strlen(path) - strlen("/" PH_CGROUP_LEAF) : strlen(path);
	(void)snprintf((*ret)->path, PATH_MAX, "%.*s", cut ? (int)cut : 1, path);
	return 0;
}

int ph_cgroups_release(struct ph_err *err)
{
	char path[PATH_MAX], dir[PATH_MAX];
	int error = own_path(getpid(), path);
	if (!error)
		error = folder_of(path, dir);
	char *last = error ? NULL : strrchr(dir, '/');
	if (last && (strcmp(last + 1, ".control") == 0 || strcmp(last + 1, PH_CGROUP_LEAF) == 0))
		*last = '\0';
	else
		return 0; /* nobody has handed anything on */
	for (size_t i = 0; i < PH_CGROUP_LIMIT_COUNT; i++) {
		char text[32];
		(void)snprintf(text, sizeof text, "-%s", limits[i].controller);
		if (!lists(dir, "cgroup.subtree_control", limits[i].controller))
			continue;
		error = write_file(dir, "cgroup.subtree_control", text);
		if (error)
			return ph_err_set(err, -error, "the controller '%s' stays in use in %s: %s",
				limits[i].controller, dir, strerror(-error));
	}
	return 0;
}

void ph_cgroups_close(struct ph_cgroups *groups)
{
	free(groups);
}

/* ---- one of them */

const char *ph_cgroups_dir(const struct ph_cgroups *groups)
{
	return groups->dir;
}

char *ph_cgroup_path(const struct ph_cgroups *groups, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s%s", groups->dir, groups->mark, name) < 0 ? NULL : path;
}

int ph_cgroup_make(const char *path, struct ph_err *err)
{
	if (mkdir(path, 0755) < 0)
		return ph_err_set(
			err, errno, "cannot make the cgroup %s: %s", path, strerror(errno));
	return 0;
}

static int enable(struct ph_cgroups *groups, enum ph_cgroup_limit limit, struct ph_err *err)
{
	char text[32];
	const char *controller = limits[limit].controller;
	if (groups->enabled[limit])
		return 0;
	if (!lists(groups->dir, "cgroup.controllers", controller))
		return ph_err_set(err, EOPNOTSUPP, "there is no cgroup v2 controller '%s' in %s",
			controller, groups->dir);
	(void)snprintf(text, sizeof text, "+%s", controller);
	int error = write_file(groups->dir, "cgroup.subtree_control", text);
	if (error == -EBUSY)
		return ph_err_set(
			err, EBUSY, "other processes than the daemon's are in %s", groups->dir);
	if (error)
		return ph_err_set(err, -error, "the controller '%s' cannot be handed on in %s: %s",
			controller, groups->dir, strerror(-error));
	groups->enabled[limit] = true;
	return 0;
}

int ph_cgroup_set(struct ph_cgroups *groups, const char *path, enum ph_cgroup_limit limit,
	uint64_t value, struct ph_err *err)
{
	char text[64];
	int error = enable(groups, limit, err);
	if (error)
		return error;
	if (limit == PH_CGROUP_CPU)
		(void)snprintf(text, sizeof text, "%llu %u",
			(unsigned long long)(value * PERIOD_US / 100), PERIOD_US);
	else
		(void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	error = write_file(path, limits[limit].file, text);
	if (error)
		return ph_err_set(err, -error, "%s cannot be written in %s: %s", limits[limit].file,
			path, strerror(-error));
	if (limit == PH_CGROUP_MEMORY) /* half of a child is no use */
		(void)write_file(path, "memory.oom.group", "1");
	return 0;
}

int ph_cgroup_kill(const char *path)
{
	return write_file(path, "cgroup.kill", "1");
}

void ph_cgroup_pids(const char *path, char *ret, size_t size)
{
	*ret = '\0';
	if (read_in(path, "cgroup.procs", ret, size))
		return;
	for (char *p = ret; *p; p++)
		if (*p == '\n')
			*p = p[1] ? ' ' : '\0';
}

bool ph_cgroup_is_populated(const char *path)
{
	return number_in(path, "cgroup.events", "populated") != 0;
}

uint64_t ph_cgroup_oom_kills(const char *path)
{
	return number_in(path, "memory.events", "oom_kill");
}

static int remove_tree(const char *path, int depth)
{
	char inner[PATH_MAX];
	struct dirent *entry;
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY || depth == DEPTH_MAX)
		return -errno;
	DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL)
		if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0 && !join(inner, path, entry->d_name))
			(void)remove_tree(inner, depth + 1);
	if (dir)
		closedir(dir);
	return rmdir(path) == 0 || errno == ENOENT ? 0 : -errno;
}

int ph_cgroup_remove(const char *path)
{
	return remove_tree(path, 0);
}

char *ph_cgroup_of(const struct ph_cgroups *groups, pid_t pid, const char *name)
{
	char path[PATH_MAX], dir[PATH_MAX], part[NAME_MAX + 1];
	if (own_path(pid, path))
		return NULL;
	int n = snprintf(part, sizeof part, "/%s%s", groups->mark, name);
	char *at = n > 0 && n < (int)sizeof part ? strstr(path, part) : NULL;
	if (!at || (at[n] != '/' && at[n]))
		return NULL;
	at[n] = '\0'; /* it may have gone on to one that it has made itself */
	size_t length = strcmp(groups->path, "/") ? strlen(groups->path) : 0;
	if (groups->path[0] && path + length == at && !strncmp(path, groups->path, length))
		return ph_cgroup_path(groups, name); /* no need to look where it is mounted */
	return folder_of(path, dir) ? NULL : strdup(dir);
}

/* ---- what others have left */

/* "prochub-0123456789abcdef-NAME" */
static bool is_marked(const char *name)
{
	return strncmp(name, "prochub-", 8) == 0 && strspn(name + 8, "0123456789abcdef") == 16 &&
	       name[MARK_BYTES - 1] == '-';
}

static bool is_old(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && time(NULL) > st.st_ctime + FORGOTTEN_S;
}

size_t ph_cgroups_sweep(
	struct ph_cgroups *groups, bool (*kept)(void *arg, const char *path), void *arg)
{
	char path[PATH_MAX];
	struct dirent *entry;
	size_t left = 0;
	DIR *dir = opendir(groups->dir);
	while (dir && (entry = readdir(dir)) != NULL) {
		if (!is_marked(entry->d_name) || join(path, groups->dir, entry->d_name))
			continue;
		if (strncmp(entry->d_name, groups->mark, MARK_BYTES) != 0) {
			if (is_old(path))
				(void)rmdir(path); /* not where something lives */
			continue;
		}
		if (kept(arg, path))
			continue;
		(void)ph_cgroup_kill(path);
		left += ph_cgroup_remove(path) != 0;
	}
	if (dir)
		closedir(dir);
	return left;
}

/* ---- before anything is started */

bool ph_cgroup_is_there(enum ph_cgroup_limit limit)
{
	char dir[PATH_MAX];
	return folder_of("/", dir) == 0 &&
	       lists(dir, "cgroup.controllers", limits[limit].controller);
}

const char *ph_cgroup_controller(enum ph_cgroup_limit limit)
{
	return limits[limit].controller;
}
