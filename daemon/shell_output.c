/*
 * The output of workers: FIFOs in run_dir/fifo, one for standard output and error together, so that
 * the order of what is written stays; two where the daemon's own are two different files and get
 * it.
 *
 * Their names come from the worker's token, so that the next daemon finds them by what it knows
 * anyway. A worker holds both ends, the daemon reads: a worker that writes while no daemon is there
 * gets no SIGPIPE, and what it wrote is read by the next one.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "io/child.h"
#include "io/journald.h"
#include "io/launch.h"
#include "io/logfile.h"
#include "io/output_thread.h"
#include "io/spawn.h"
#include "io/user.h"
#include "shell_logs.h"
#include "shell_parts.h"

#define FOLDER "fifo"
#define FIFO_BYTES (128 * 1024) /* then a line of 64 KiB fits, however it is written */
#define KILLED_MS 500		/* for the end of one that was killed */
#define ANSWER_MS 500		/* for the thread to look up from what it does */
#define PATIENCE_MS 2000	/* at the end, for a disk that is full, say */

/* An old file that is being compressed. */
struct job {
	struct ph_shell *shell;
	struct ph_launch *launch; /* it is being started, and has no child yet */
	struct ph_child *child;
	char *file, *made;
	struct job *prev, *next;
};

struct ph_shell_outputs {
	struct ph_output_thread *thread;
	char *folder;
	const char *journal;
	bool two; /* the daemon's output and error are two files */
	bool journal_told, gzip_told;
	bool ending; /* nothing more is begun */
	struct job *jobs;
};

/* ---- the thread's news */

static void compress(struct ph_shell *shell, const struct ph_output_news *news);

static char *made_of(const char *file)
{
	size_t n = strlen(file) + sizeof PH_LOGFILE_MADE;
	char *made = ph_shell_alloc(n);
	(void)snprintf(made, n, "%s" PH_LOGFILE_MADE, file);
	return made;
}

/* The next daemon compresses it, with the next rotation. */
static void leave(const char *file)
{
	char *made = made_of(file);
	(void)unlink(made);
	free(made);
}

static void on_news(void *arg, const struct ph_output_news *news)
{
	struct ph_shell *shell = arg;
	switch (news->kind) {
	case PH_OUTPUT_NOTE:
		ph_shell_log(shell, news->bad ? PH_LOG_WARNING : PH_LOG_INFO, "%s",
			news->text ? news->text : "out of memory");
		break;
	case PH_OUTPUT_LINES:
		ph_shell_logs_lines(shell, news);
		break;
	case PH_OUTPUT_COMPRESS:
		if (news->text && !shell->outputs->ending)
			compress(shell, news);
		else if (news->text)
			leave(news->text);
		break;
	}
}

void ph_shell_output_order(struct ph_shell *shell, struct ph_output_order *order)
{
	ph_output_thread_put(shell->outputs->thread, order);
}

struct ph_output_order *ph_shell_output_order_new(enum ph_output_order_kind kind)
{
	struct ph_output_order *order = ph_output_order_new(kind);
	if (!order)
		abort();
	return order;
}

/* ---- compression, by another process */

static void job_free(struct job *job)
{
	DL_DELETE(job->shell->outputs->jobs, job);
	ph_child_free(job->child);
	free(job->file);
	free(job->made);
	free(job);
}

/* Takes `made` (may be NULL). */
static void tell_compressed(struct ph_shell *shell, const char *file, char *made, bool ok)
{
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_COMPRESSED);
	order->file = ph_shell_strdup(file);
	order->made = made ? made : ph_shell_strdup("");
	order->ok = ok;
	ph_shell_output_order(shell, order);
}

static void on_compressed(void *arg, struct ph_child *child, const struct ph_child_exit *status)
{
	struct job *job = arg;
	bool ok = !status->unknown && !status->signal && !status->code;
	(void)child;
	if (!ok)
		ph_shell_log(job->shell, PH_LOG_WARNING,
			"an old file of '%s' stays as it is: gzip failed", job->file);
	tell_compressed(job->shell, job->file, job->made, ok);
	job->made = NULL;
	job_free(job);
}

static void not_compressed(struct job *job, const char *why)
{
	struct ph_shell_outputs *outputs = job->shell->outputs;
	if (!outputs->gzip_told)
		ph_shell_log(job->shell, PH_LOG_WARNING,
			"old files of output stay uncompressed: %s", why);
	outputs->gzip_told = true;
	tell_compressed(job->shell, job->file, job->made, false);
	job->made = NULL;
	job_free(job);
}

static int watch_gzip(struct job *job, const struct ph_spawned *spawned, struct ph_err *err)
{
	int error = ph_child_new(job->shell->base, spawned->pid, spawned->pidfd,
		spawned->start_time, on_compressed, job, &job->child);
	return error ? ph_err_set(err, -error, "cannot watch the process: %s", strerror(-error))
		     : 0;
}

static void on_launched(
	void *arg, int error, const struct ph_spawned *spawned, const struct ph_err *err)
{
	struct job *job = arg;
	struct ph_err why = *err;
	job->launch = NULL;
	if (!error)
		error = watch_gzip(job, spawned, &why);
	if (error)
		not_compressed(job, why.text);
}

static int run_gzip(struct ph_shell *shell, struct job *job, const struct ph_output_news *news,
	struct ph_err *err)
{
	const char *const argv[] = {"gzip", "-c", NULL};
	const char *const env[] = {NULL};
	struct ph_spawned spawned;
	const int fds[3] = {news->fd, news->made_fd, -1};
	struct ph_spawn_spec spec = {.path = argv[0],
		.search = getenv("PATH"),
		.argv = argv,
		.env = env,
		.fds = fds,
		.n_fds = 3};
	int error =
		ph_launch_new(shell->base, &spec, on_launched, job, &job->launch, &spawned, err);
	if (error || job->launch)
		return error;
	return watch_gzip(job, &spawned, err);
}

static void compress(struct ph_shell *shell, const struct ph_output_news *news)
{
	struct ph_err err = {{0}};
	struct job *job = ph_shell_alloc(sizeof *job);
	job->shell = shell;
	job->file = ph_shell_strdup(news->text);
	job->made = made_of(news->text);
	DL_APPEND(shell->outputs->jobs, job);
	if (run_gzip(shell, job, news, &err))
		not_compressed(job, err.text);
}

/* ---- names */

/* run_dir/fifo/web.3.0-0123456789abcdef and, for standard error alone, the same with .err */
static char *fifo_path(
	const struct ph_shell *shell, const struct ph_key *key, const char *token, const char *end)
{
	char name[PH_NAME_SIZE + 64];
	uint64_t mark = ph_mix64(ph_hash_bytes(PH_HASH_SEED, token, strlen(token)));
	(void)snprintf(name, sizeof name, "%s.%u.%u-%016llx%s", key->child.s, key->instance,
		key->replica, (unsigned long long)mark, end);
	return ph_shell_path(shell->outputs->folder, name);
}

/* ---- what its options say */

static void log_options(struct ph_shell *shell, const struct ph_conf_child *child,
	struct ph_output_order *order, const char *file)
{
	struct ph_shell_outputs *outputs = shell->outputs;
	int error = 0;
	order->to = PH_OUTPUT_RELAY;
	if (child && child->log.to == PH_CONF_LOG_FILE && file) {
		order->to = PH_OUTPUT_FILE;
		order->file = ph_shell_strdup(file);
		order->size = child->log.size_bytes;
		order->keep = child->log.keep;
	} else if (child && child->log.to == PH_CONF_LOG_JOURNAL) {
		order->to = PH_OUTPUT_JOURNAL;
		error = ph_journald_there(outputs->journal);
	}
	if (error && !outputs->journal_told)
		ph_shell_log(shell, PH_LOG_WARNING,
			"%s/%u: log.to: no journal at %s (%s): its output goes to that of the "
			"daemon as long as there is none",
			order->key.child.s, order->key.instance, outputs->journal,
			strerror(-error));
	outputs->journal_told = outputs->journal_told || error;
}

static int expand_file(struct ph_shell *shell, const struct ph_key *key,
	const struct ph_conf_child *child, char **ret, struct ph_err *err)
{
	const struct ph_conf_vars vars = {.child = key->child.s,
		.node = shell->node,
		.instance = key->instance,
		.replica = key->replica};
	int error = ph_conf_expand(child->log.path, &vars, ret);
	return error ? ph_err_set(err, -error, "log.path: bad template '%.200s'", child->log.path)
		     : 0;
}

/* ---- a new worker */

static int make_fifo(
	const char *path, uid_t uid, gid_t gid, struct ph_output_order *order, struct ph_err *err)
{
	int end = -1, error = mkfifo(path, 0600) < 0 ? -errno : 0;
	if (error == -EEXIST && !unlink(path))
		error = mkfifo(path, 0600) < 0 ? -errno : 0;
	bool other = uid != geteuid() || gid != getegid();
	if (!error && !geteuid() && other && chown(path, uid, gid) < 0) /* for /dev/stdout */
		error = -errno;
	if (!error) {
		order->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		end = order->fd < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (end < 0)
			error = -errno;
	}
	if (error) {
		(void)unlink(path);
		return ph_err_set(err, -error, "cannot make '%s': %s", path, strerror(-error));
	}
	(void)fcntl(end, F_SETPIPE_SZ, FIFO_BYTES);
	return end;
}

static int make_one(struct ph_shell *shell, const struct ph_shell_output_want *want,
	const char *file, struct ph_shell_output *output, struct ph_err *err)
{
	bool second = output->n == 1;
	char *path = fifo_path(shell, &want->key, want->token, second ? ".err" : "");
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_OPEN);
	order->key = want->key;
	order->stream = !output->two ? PH_OUTPUT_BOTH
			: second     ? PH_OUTPUT_STDERR
				     : PH_OUTPUT_STDOUT;
	order->fifo = path;
	int end = make_fifo(path, want->uid, want->gid, order, err);
	if (end < 0) {
		ph_output_order_free(order);
		return end;
	}
	log_options(shell, want->child, order, file);
	output->ends[output->n] = end;
	output->orders[output->n++] = order;
	return 0;
}

static int make_all(struct ph_shell *shell, const struct ph_shell_output_want *want,
	struct ph_shell_output *output, struct ph_err *err)
{
	enum ph_conf_log_to to = want->child->log.to;
	int error = 0;
	output->two = to == PH_CONF_LOG_INHERIT && shell->outputs->two;
	if (to == PH_CONF_LOG_FILE)
		error = expand_file(shell, &want->key, want->child, &output->file, err);
	if (!error)
		error = make_one(shell, want, output->file, output, err);
	if (!error && output->two)
		error = make_one(shell, want, output->file, output, err);
	return error;
}

int ph_shell_output_prepare(struct ph_shell *shell, const struct ph_shell_output_want *want,
	struct ph_shell_output *output, int ret_fds[2], struct ph_err *err)
{
	*output = (struct ph_shell_output){.n = 0};
	ret_fds[0] = ret_fds[1] = -1;
	if (want->child->log.to == PH_CONF_LOG_NULL)
		return 0;
	int error = make_all(shell, want, output, err);
	if (error) {
		ph_shell_output_abandon(output);
		if (want->child->log.to != PH_CONF_LOG_INHERIT)
			return error;
		/* then it writes there itself, and nobody else sees it */
		ph_shell_log(shell, PH_LOG_WARNING, "%s/%u: %s: it writes to the daemon's output",
			want->key.child.s, want->key.instance, err->text);
		ret_fds[0] = STDOUT_FILENO;
		ret_fds[1] = STDERR_FILENO;
		return 0;
	}
	ret_fds[0] = output->ends[0];
	ret_fds[1] = output->ends[output->n - 1];
	return 0;
}

void ph_shell_output_abandon(struct ph_shell_output *output)
{
	for (unsigned i = 0; i < output->n; i++) {
		close(output->ends[i]);
		if (!output->orders[i])
			continue;
		(void)unlink(output->orders[i]->fifo);
		ph_output_order_free(output->orders[i]);
	}
	free(output->file);
	output->file = NULL;
	output->n = 0;
}

void ph_shell_output_started(struct ph_shell *shell, struct ph_shell_output *output)
{
	for (unsigned i = 0; i < output->n; i++) {
		close(output->ends[i]);
		ph_output_thread_add(shell->outputs->thread, output->orders[i]);
	}
	free(output->file);
	output->file = NULL;
	output->n = 0;
}

void ph_shell_outputs_started(struct ph_shell *shell)
{
	ph_output_thread_wake(shell->outputs->thread);
}

/* ---- a worker of an earlier daemon */

static bool adopt_one(struct ph_shell *shell, const struct ph_shell_worker *worker,
	const struct ph_conf_child *child, const char *end, enum ph_output_stream stream)
{
	char *path = fifo_path(shell, &worker->key, worker->token, end), *file = NULL;
	struct stat st;
	struct ph_err err;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		free(path);
		return false;
	}
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_OPEN);
	order->key = worker->key;
	order->stream = stream;
	order->fifo = path;
	order->fd = fd;
	if (child && child->log.path && expand_file(shell, &worker->key, child, &file, &err))
		ph_shell_log(shell, PH_LOG_WARNING, "%s/%u: %s", worker->key.child.s,
			worker->key.instance, err.text);
	log_options(shell, child, order, file);
	free(file);
	ph_shell_output_order(shell, order);
	return true;
}

void ph_shell_output_adopt(struct ph_shell *shell, const struct ph_shell_worker *worker,
	const struct ph_conf_child *child)
{
	bool two = adopt_one(shell, worker, child, ".err", PH_OUTPUT_STDERR);
	(void)adopt_one(shell, worker, child, "", two ? PH_OUTPUT_STDOUT : PH_OUTPUT_BOTH);
}

/* ---- other options */

struct changed {
	const struct ph_name *name;
	const struct ph_conf_child *child;
};

static void change_one(void *arg, struct ph_shell_worker *worker)
{
	const struct changed *changed = arg;
	char *file = NULL;
	struct ph_err err;
	if (!ph_name_equal(&worker->key.child, changed->name))
		return;
	if (expand_file(worker->shell, &worker->key, changed->child, &file, &err)) {
		ph_shell_log(worker->shell, PH_LOG_WARNING, "%s/%u: %s", worker->key.child.s,
			worker->key.instance, err.text);
		return;
	}
	struct ph_output_order *order = ph_shell_output_order_new(PH_OUTPUT_OPTIONS);
	order->key = worker->key;
	log_options(worker->shell, changed->child, order, file);
	free(file);
	ph_shell_output_order(worker->shell, order);
}

void ph_shell_outputs_changed(struct ph_shell *shell, const struct ph_name *child)
{
	const struct ph_spec *spec = ph_hub_spec(shell->hub, child);
	struct ph_err err;
	struct changed changed = {
		.name = child, .child = spec ? ph_shell_specs_find(shell, spec, &err) : NULL};
	/* where it is to go elsewhere a new worker is needed, and comes */
	if (changed.child && changed.child->log.to == PH_CONF_LOG_FILE)
		ph_shell_workers_each(shell, change_one, &changed);
}

/* A FIFO that nobody has open is left from a worker that ended while no daemon was there. */
void ph_shell_outputs_settled(struct ph_shell *shell)
{
	DIR *dir = opendir(shell->outputs->folder);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		char *path = ph_shell_path(shell->outputs->folder, entry->d_name);
		int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
		else if (errno == ENXIO)
			(void)unlink(path);
		free(path);
	}
	if (dir)
		(void)closedir(dir);
}

/* ---- life */

void ph_shell_outputs_reopen(struct ph_shell *shell)
{
	ph_shell_output_order(shell, ph_shell_output_order_new(PH_OUTPUT_REOPEN));
}

int ph_shell_outputs_new(struct ph_shell *shell, struct ph_err *err)
{
	struct ph_shell_outputs *outputs = ph_shell_alloc(sizeof *outputs);
	struct stat out, error_out;
	outputs->folder = ph_shell_path(shell->run_dir, FOLDER);
	outputs->journal = ph_shell_journal_path();
	outputs->two = fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &error_out) == 0 &&
		       (out.st_dev != error_out.st_dev || out.st_ino != error_out.st_ino);
	shell->outputs = outputs;
	if (mkdir(outputs->folder, 0700) < 0 && errno != EEXIST)
		return ph_err_set(err, errno, "cannot make folder '%s': %s", outputs->folder,
			strerror(errno));
	const struct ph_output_settings settings = {.node = ph_name_of(shell->node),
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
		.journal = outputs->journal};
	int error = ph_output_thread_new(shell->base, &settings, on_news, shell, &outputs->thread);
	return error ? ph_err_set(err, -error, "cannot read the output of children: %s",
			       strerror(-error))
		     : 0;
}

void ph_shell_outputs_save(const struct ph_shell *shell, FILE *to)
{
	DIR *folder = opendir(shell->outputs->folder);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		if (entry->d_type != DT_FIFO)
			continue;
		int fd = openat(dirfd(folder), entry->d_name,
			O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			fprintf(to, "hold %d\n", fd);
	}
	if (folder)
		closedir(folder);
}

/* Who cannot be killed, as where its file system does not answer, is left to init. */
static void job_end(struct job *job)
{
	struct ph_spawned spawned;
	struct ph_err err;
	if (job->launch && !ph_launch_give_up(job->launch, &spawned, &err))
		(void)watch_gzip(job, &spawned, &err);
	if (job->child) {
		struct pollfd end = {.fd = ph_child_pidfd(job->child), .events = POLLIN};
		(void)ph_child_signal(job->child, SIGKILL);
		if (poll(&end, 1, KILLED_MS) == 1)
			(void)waitpid(ph_child_pid(job->child), NULL, WNOHANG);
	}
	tell_compressed(job->shell, job->file, job->made, false);
	job->made = NULL;
	job_free(job);
}

bool ph_shell_outputs_answer(struct ph_shell *shell)
{
	return ph_output_thread_answers(shell->outputs->thread, ANSWER_MS);
}

void ph_shell_outputs_free(struct ph_shell *shell, bool orderly)
{
	struct ph_shell_outputs *outputs = shell->outputs;
	if (!outputs)
		return;
	outputs->ending = true;
	while (outputs->jobs)
		job_end(outputs->jobs);
	size_t left = outputs->thread
			      ? ph_output_thread_free(outputs->thread, orderly ? PATIENCE_MS : 0)
			      : 0;
	if (left == PH_OUTPUT_STUCK)
		ph_shell_log(shell, PH_LOG_WARNING,
			"the last output of workers may be lost: it is not written in time, as "
			"where a file system does not answer");
	else if (left && orderly)
		ph_shell_log(shell, PH_LOG_WARNING,
			"the last output of %zu workers could not be written, and is lost", left);
	if (orderly)
		ph_shell_outputs_settled(shell);
	(void)rmdir(outputs->folder);
	free(outputs->folder);
	free(outputs);
	shell->outputs = NULL;
}
