/* Every step of a start, with real processes: what the program finds, and what is said where it
 * fails. */
#include "io/spawn.h"

#include "io/child.h"
#include "io/proc.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define NOBODY 65534

static const char *const env_plain[] = {"PATH=/usr/bin:/bin", NULL};

static struct ph_spawn_spec shell_spec(const char *const *argv)
{
	return (struct ph_spawn_spec){.path = "/bin/sh", .argv = argv, .env = env_plain};
}

static int wait_for(struct ph_spawned *spawned)
{
	int status;
	ck_assert_int_eq(waitpid(spawned->pid, &status, 0), spawned->pid);
	close(spawned->pidfd);
	return status;
}

/* Runs `script` with `spec` and brings its output. */
static int run_script(
	struct ph_spawn_spec *spec, const char *script, char *output, size_t output_size)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	int ends[2], fds[PH_SPAWN_FDS_MAX];
	struct ph_spawned spawned;
	struct ph_err err = {""};
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	for (size_t i = 0; i < spec->n_fds; i++)
		fds[i] = spec->fds[i];
	fds[0] = -1;
	fds[1] = fds[2] = ends[1];
	if (spec->n_fds < 3)
		spec->n_fds = 3;
	spec->fds = fds;
	spec->path = "/bin/sh";
	spec->argv = argv;
	if (!spec->env)
		spec->env = env_plain;
	int r = ph_spawn_start(spec, &spawned, &err);
	ck_assert_msg(r == 0, "%s", err.text);
	close(ends[1]);
	help_read_all(ends[0], output, output_size);
	close(ends[0]);
	return wait_for(&spawned);
}

START_TEST(result_names_the_process)
{
	const char *const argv[] = {"sh", "-c", "exit 7", NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_proc_stat stat_line;
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	ck_assert_int_eq(ph_proc_stat(spawned.pid, &stat_line), 0);
	ck_assert_uint_eq(stat_line.start_time, spawned.start_time);
	ck_assert_int_eq(stat_line.parent, getpid());
	ck_assert_int_eq(stat_line.session, spawned.pid);
	ck_assert_int_eq(stat_line.group, spawned.pid);
	ck_assert_int_ne(fcntl(spawned.pidfd, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_eq(WEXITSTATUS(wait_for(&spawned)), 7);
}
END_TEST

/* Also where it is not asked for: the two ways to learn it may not differ, wherever in a tick a
 * process is made. */
START_TEST(start_times_are_those_of_proc)
{
	const char *const argv[] = {"true", NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	spec.path = "/bin/true";
	for (int i = 0; i < 300; i++) {
		struct ph_spawned spawned;
		struct ph_proc_stat stat_line;
		struct ph_err err;
		ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
		ck_assert_int_eq(ph_proc_stat(spawned.pid, &stat_line), 0);
		ck_assert_uint_eq(stat_line.start_time, spawned.start_time);
		(void)wait_for(&spawned);
	}
}
END_TEST

START_TEST(environment_and_pids)
{
	const char *const env[] = {"A=b c", "LISTEN_PID=", "WATCHDOG_PID=", "LISTEN_PID=x", NULL};
	struct ph_spawn_spec spec = {.env = env};
	char output[256], expected[256];
	run_script(
		&spec, "echo $$ \"$A\"; tr '\\0' '\\n' </proc/$$/environ", output, sizeof output);
	int pid = atoi(output);
	(void)snprintf(expected, sizeof expected,
		"%d b c\nA=b c\nLISTEN_PID=%d\nWATCHDOG_PID=%d\nLISTEN_PID=x\n", pid, pid, pid);
	ck_assert_str_eq(output, expected);
	ck_assert_str_eq(env[1], "LISTEN_PID=");
}
END_TEST

START_TEST(signals_are_reset)
{
	struct ph_spawn_spec spec = {0};
	char output[512];
	sigset_t some;
	(void)sigemptyset(&some);
	(void)sigaddset(&some, SIGTERM);
	(void)sigaddset(&some, SIGRTMIN + 3);
	(void)sigprocmask(SIG_BLOCK, &some, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGRTMIN + 4, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	/* exec keeps what is ignored and blocked, so that grep sees what the child had */
	run_script(&spec, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status", output, sizeof output);
	ck_assert_str_eq(output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	/* and ours are what they were */
	sigset_t now;
	(void)sigprocmask(SIG_SETMASK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&now, SIGUSR1), 0);
	(void)sigprocmask(SIG_UNBLOCK, &some, NULL);
}
END_TEST

static void ignore_signal(int signo)
{
	(void)signo;
}

START_TEST(a_storm_of_signals_does_no_harm)
{
	const char *const argv[] = {"true", NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
	struct ph_err err;
	spec.path = "/bin/true";
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	(void)ualarm(200, 200);
	for (int i = 0; i < 50; i++) {
		struct ph_spawned spawned;
		ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
		ck_assert_int_eq(wait_for(&spawned), 0);
	}
	(void)ualarm(0, 0);
}
END_TEST

START_TEST(only_named_descriptors_arrive)
{
	char output[1024];
	int null_fd = open("/dev/null", O_RDONLY), zero_fd = open("/dev/zero", O_RDONLY);
	int stray = open("/dev/full", O_RDONLY); /* not close-on-exec, on purpose */
	/* sources that are each other's targets */
	ck_assert_int_eq(dup2(zero_fd, 40), 40);
	ck_assert_int_eq(dup2(null_fd, 41), 41);
	int fds[42];
	for (int i = 0; i < 42; i++)
		fds[i] = i < 3 ? -1 : null_fd;
	fds[40] = 41;
	fds[41] = 40;
	fds[5] = stray;
	struct ph_spawn_spec spec = {.fds = fds, .n_fds = 42};
	run_script(&spec, "cd /proc/$$/fd; readlink 0 3 5 39 40 41", output, sizeof output);
	ck_assert_str_eq(
		output, "/dev/null\n/dev/null\n/dev/full\n/dev/null\n/dev/null\n/dev/zero\n");
	close(40);
	close(41);
	run_script(&(struct ph_spawn_spec){0}, "exec ls /proc/self/fd", output, sizeof output);
	ck_assert_str_eq(output, "0\n1\n2\n3\n"); /* 3 is ls's own */
	close(null_fd);
	close(zero_fd);
	close(stray);
}
END_TEST

/* A FIFO is at its end once its only writer has ended: nothing of it stays with the daemon. */
START_TEST(what_is_passed_is_not_kept)
{
	struct ph_spawn_spec spec = {.path = "/bin/true"};
	const char *const argv[] = {"true", NULL}, *const env[] = {NULL};
	struct ph_spawned spawned;
	struct ph_err err;
	char byte;
	int ends[2];
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	const int fds[] = {-1, ends[1], ends[1]};
	spec.argv = argv;
	spec.env = env;
	spec.fds = fds;
	spec.n_fds = 3;
	ck_assert_msg(ph_spawn_start(&spec, &spawned, &err) == 0, "%s", err.text);
	close(ends[1]);
	ck_assert_int_eq(wait_for(&spawned), 0);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}
END_TEST

START_TEST(directory_and_umask)
{
	struct ph_spawn_spec spec = {.dir = "/usr/lib", .set_umask = true, .umask = 027};
	char output[256];
	run_script(&spec, "pwd; umask", output, sizeof output);
	ck_assert_str_eq(output, "/usr/lib\n0027\n");
	mode_t before = umask(077);
	run_script(&(struct ph_spawn_spec){0}, "umask", output, sizeof output);
	(void)umask(before);
	ck_assert_str_eq(output, "0022\n");
}
END_TEST

START_TEST(new_privileges)
{
	struct ph_spawn_spec spec = {.no_new_privileges = true};
	char output[256];
	run_script(&spec, "grep NoNewPrivs /proc/self/status", output, sizeof output);
	ck_assert_str_eq(output, "NoNewPrivs:\t1\n");
	run_script(&(struct ph_spawn_spec){0}, "grep NoNewPrivs /proc/self/status", output,
		sizeof output);
	ck_assert_str_eq(output, "NoNewPrivs:\t0\n");
}
END_TEST

/* A folder that looks like a cgroup and cannot be entered: its cgroup.procs opens, and is full. */
static void make_full(char dir[])
{
	char procs[64];
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(procs, sizeof procs, "%s/cgroup.procs", dir);
	ck_assert_int_eq(symlink("/dev/full", procs), 0);
}

static void remove_full(const char *dir)
{
	char procs[64];
	(void)snprintf(procs, sizeof procs, "%s/cgroup.procs", dir);
	ck_assert_int_eq(unlink(procs), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* One that can be done without keeps nobody from being started; one that cannot does. */
START_TEST(cgroup_that_is_not_there)
{
	char full[] = "/tmp/ph-full-XXXXXX", sentence[128];
	const char *const argv[] = {"true", NULL}, *const env[] = {NULL};
	struct ph_spawn_spec spec = {.path = "/bin/true",
		.argv = argv,
		.env = env,
		.cgroup = "/no/such",
		.cgroup_optional = true};
	struct ph_spawned spawned;
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	ck_assert_int_eq(spawned.cgroup_error, ENOENT);
	ck_assert_int_eq(waitpid(spawned.pid, NULL, 0), spawned.pid);
	close(spawned.pidfd);
	make_full(full);
	spec.cgroup = full;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	ck_assert_int_eq(spawned.cgroup_error, ENOSPC);
	ck_assert_int_eq(waitpid(spawned.pid, NULL, 0), spawned.pid);
	close(spawned.pidfd);
	spec.cgroup_optional = false;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -ENOSPC);
	(void)snprintf(sentence, sizeof sentence,
		"cannot enter cgroup '%s': No space left on device", full);
	ck_assert_str_eq(err.text, sentence);
	remove_full(full);
}
END_TEST

START_TEST(limits_are_set)
{
	const struct ph_spawn_limit limits[] = {
		{RLIMIT_NOFILE, 20, 40}, {RLIMIT_CORE, 0, 0}, {RLIMIT_FSIZE, 1024, RLIM_INFINITY}};
	struct ph_spawn_spec spec = {.limits = limits, .n_limits = 3};
	char output[256];
	run_script(
		&spec, "ulimit -S -n; ulimit -H -n; ulimit -c; ulimit -f", output, sizeof output);
	ck_assert_str_eq(output, "20\n40\n0\n2\n");
}
END_TEST

START_TEST(user_and_groups)
{
	const gid_t groups[] = {NOBODY, 4};
	struct ph_spawn_spec spec = {
		.set_user = true, .uid = NOBODY, .gid = NOBODY, .groups = groups, .n_groups = 2};
	char output[256];
	ck_assert_msg(geteuid() == 0, "this test wants root");
	int dumpable = prctl(PR_GET_DUMPABLE);
	run_script(&spec, "id -u; id -g; id -G; grep -c . /etc/shadow 2>&1 | grep -o denied",
		output, sizeof output);
	ck_assert_str_eq(output, "65534\n65534\n65534 4\ndenied\n");
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), dumpable);
	ck_assert_int_eq(geteuid(), 0);
}
END_TEST

START_TEST(enters_a_cgroup)
{
	char dir[] = "/sys/fs/cgroup/unified/ph-test-XXXXXX";
	char output[512];
	if (!mkdtemp(dir)) {
		memcpy(dir, "/sys/fs/cgroup/ph-test-XXXXXX",
			sizeof "/sys/fs/cgroup/ph-test-XXXXXX");
		if (!mkdtemp(dir))
			return; /* no writable cgroup tree here */
	}
	struct ph_spawn_spec spec = {.cgroup = dir};
	run_script(&spec, "cat /proc/self/cgroup", output, sizeof output);
	for (int i = 0; i < 100 && rmdir(dir) < 0; i++)
		usleep(10000);
	ck_assert_ptr_nonnull(strstr(output, strrchr(dir, '/')));
}
END_TEST

/* ---- what fails */

static struct ph_spawn_limit too_high[] = {{RLIMIT_NOFILE, 40, 20}};

static const struct {
	struct ph_spawn_spec spec;
	int code;
	const char *text;
} failing[] = {
	{{.dir = "/x"}, ENOENT, "cannot change to directory '/x': No such file or directory"},
	{{.dir = "/etc/passwd"}, ENOTDIR,
		"cannot change to directory '/etc/passwd': Not a directory"},
	{{.path = "/no/such"}, ENOENT, "cannot execute '/no/such': No such file or directory"},
	{{.path = "/etc/passwd"}, EACCES, "cannot execute '/etc/passwd': Permission denied"},
	{{.path = "/tmp"}, EACCES, "cannot execute '/tmp': Permission denied"},
	{{.path = "nosuch", .search = "/usr/bin:/bin"}, ENOENT,
		"'nosuch' is not in PATH (/usr/bin:/bin)"},
	{{.path = "sh", .search = ".:bin::"}, ENOENT, "'sh' is not in PATH (.:bin::)"},
	{{.path = "sh", .search = ""}, ENOENT, "'sh' is not in PATH ()"},
	{{.path = "passwd", .search = "/nowhere:/etc"}, EACCES,
		"'passwd' is in PATH but not an executable file"},
	{{.path = "ssl", .search = "/etc:/"}, EACCES,
		"'ssl' is in PATH but not an executable file"},
	{{.path = ""}, EINVAL, "the command is empty"},
	{{.file = "/no/such", .file_option = "log.path"}, ENOENT,
		"log.path: cannot open '/no/such': No such file or directory"},
	{{.file = "/dev/null", .file_option = "log.path"}, EINVAL,
		"log.path: cannot open '/dev/null': it is not a regular file"},
	{{.file = "/proc/self/exe", .file_option = "log.path"}, ELOOP,
		"log.path: cannot open '/proc/self/exe': it is a symbolic link"},
	{{.limits = too_high, .n_limits = 1}, EINVAL,
		"cannot set the limits (open files): Invalid argument"},
	{{.set_user = true, .uid = (uid_t)-2, .gid = 1, .groups = NULL, .n_groups = 1}, EFAULT,
		"cannot set the supplementary groups: Bad address"},
};

/* Who was killed may take a moment to end: it is found by a later start. */
static void until_nobody_is_left(void)
{
	static const char *const argv[] = {"true", NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_err err;
	siginfo_t info;
	spec.path = "/bin/true";
	for (int i = 0; i < 2000 && !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT); i++) {
		usleep(5000);
		ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
		ck_assert_int_eq(wait_for(&spawned), 0);
	}
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(each_failing_step_has_its_sentence)
{
	static const char *const argv[] = {"true", NULL};
	int before = help_count_fds();
	struct ph_spawn_spec spec = failing[_i].spec;
	struct ph_spawned spawned = {.pid = -7};
	struct ph_err err = {""};
	if (!spec.path)
		spec.path = "/bin/true";
	spec.argv = argv;
	spec.env = env_plain;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -failing[_i].code);
	ck_assert_str_eq(err.text, failing[_i].text);
	ck_assert_int_eq(spawned.pid, -7);
	err.text[0] = '\0';
	ck_assert_int_eq(ph_spawn_check(&spec, &err), -failing[_i].code);
	ck_assert_str_eq(err.text, failing[_i].text);
	until_nobody_is_left();
	ck_assert_int_eq(help_count_fds(), before);
}
END_TEST

/* As ph_spawn_resolve() finds it; and the file is made, and what is in it stays. */
START_TEST(search_and_file)
{
	static const char *const argv[] = {"test", "-s", "/etc/passwd", NULL};
	char *dir = help_dir(), path[128];
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_err err = {""};
	struct stat st;
	(void)snprintf(path, sizeof path, "%s/log", dir);
	spec.path = "test";
	spec.search = "/nowhere:/etc::/usr/bin";
	spec.file = path;
	for (off_t n = 0; n < 2; n++) {
		ck_assert_msg(ph_spawn_start(&spec, &spawned, &err) == 0, "%s", err.text);
		ck_assert_int_eq(wait_for(&spawned), 0);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
		ck_assert_int_eq(st.st_size, n);
		help_write_file(path, "x", 0640);
	}
	spec.search = NULL;
	ck_assert_msg(ph_spawn_start(&spec, &spawned, &err) == 0, "%s", err.text);
	ck_assert_int_eq(wait_for(&spawned), 0);
	help_remove(dir);
}
END_TEST

static const struct {
	const char *path;
	size_t max;
	int code;
	const char *text;
} unreadable[] = {
	{"/no/such", 10, ENOENT, "env_file: cannot open '/no/such': No such file or directory"},
	{"/dev/zero", 10, EINVAL, "env_file: '/dev/zero' is not a regular file"},
	{"/etc", 10, EINVAL, "env_file: '/etc' is not a regular file"},
	{"/etc/localtime", 10, EFBIG, NULL},
};

START_TEST(what_cannot_be_read)
{
	const struct ph_spawn_spec spec = {.path = unreadable[_i].path,
		.read_max = unreadable[_i].max,
		.file_option = "env_file"};
	struct ph_spawned spawned = {.pid = -7};
	struct ph_err err = {""};
	int before = help_count_fds();
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -unreadable[_i].code);
	if (unreadable[_i].text)
		ck_assert_str_eq(err.text, unreadable[_i].text);
	else
		ck_assert_ptr_nonnull(strstr(err.text, "bytes, at most 10 are read"));
	ck_assert_int_eq(spawned.pid, -7);
	ck_assert_int_eq(help_count_fds(), before);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(reading)
{
	char *dir = help_dir(), path[128], text[2000];
	const struct ph_spawn_spec spec = {.path = path, .read_max = 1000};
	struct ph_spawned spawned;
	struct ph_err err = {""};
	int before = help_count_fds();
	(void)snprintf(path, sizeof path, "%s/file", dir);
	for (size_t n = 0; n <= 1000; n += 250) {
		memset(text, 'x', sizeof text);
		text[n] = '\0';
		help_write_file(path, text, 0600);
		ck_assert_msg(ph_spawn_start(&spec, &spawned, &err) == 0, "%s", err.text);
		ck_assert_uint_eq(spawned.n_bytes, n);
		ck_assert_str_eq(spawned.bytes, text);
		free(spawned.bytes);
	}
	ck_assert_int_eq(help_count_fds(), before);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	help_remove(dir);
}
END_TEST

START_TEST(descriptors_and_cgroup_that_are_none)
{
	static const char *const argv[] = {"true", NULL};
	int fds[] = {-1, -1, 999}, ends[2];
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_err err;
	char byte;
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[1] = ends[1];
	spec.fds = fds;
	spec.n_fds = 3;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -EBADF);
	ck_assert_str_eq(err.text, "cannot pass the descriptors: Bad file descriptor");
	close(ends[1]); /* the last one: what could be passed was not kept */
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	spec.fds = NULL;
	spec.n_fds = 0;
	spec.cgroup = "/no";
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -ENOENT);
	ck_assert_str_eq(err.text, "cannot open '/no/cgroup.procs': No such file or directory");
}
END_TEST

START_TEST(a_spec_out_of_bounds_is_refused)
{
	static const char *const argv[] = {"true", NULL}, *const none[] = {NULL};
	int fds[] = {-1, -1, -1, -1};
	struct ph_spawned spawned;
	struct ph_err err;
	struct ph_spawn_spec spec = shell_spec(none);
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -EINVAL);
	spec = shell_spec(argv);
	spec.n_fds = PH_SPAWN_FDS_MAX + 1;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -EINVAL);
	spec.fds = fds;
	spec.n_fds = 4;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -EINVAL);
	ck_assert_str_eq(err.text, "descriptor 3 to pass is not open");
	spec = shell_spec(argv);
	spec.n_limits = PH_SPAWN_LIMITS_MAX + 1;
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -EINVAL);
}
END_TEST

START_TEST(scripts_without_interpreter)
{
	char *dir = help_dir(), path[128], expected[256];
	const char *const argv[] = {path, NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_err err;
	(void)snprintf(path, sizeof path, "%s/script", dir);
	spec.path = path;
	help_write_file(path, "#!/no/interpreter\n", 0755);
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -ENOENT);
	(void)snprintf(expected, sizeof expected,
		"cannot execute '%s': its interpreter (after #!) or program loader does not exist",
		path);
	ck_assert_str_eq(err.text, expected);
	help_write_file(path, "just text\n", 0755);
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -ENOEXEC);
	ck_assert_int_eq(ph_spawn_check(&spec, &err), 0); /* as its header says */
	help_remove(dir);
}
END_TEST

START_TEST(a_user_without_permission)
{
	char *dir = help_dir(), path[128];
	const char *const argv[] = {path, NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_err err;
	(void)snprintf(path, sizeof path, "%s/program", dir);
	help_write_file(path, "#!/bin/sh\nexit 0\n", 0700);
	spec.path = path;
	ck_assert_int_eq(ph_spawn_check(&spec, &err), 0);
	spec.set_user = true;
	spec.uid = spec.gid = NOBODY;
	ck_assert_int_eq(ph_spawn_check(&spec, &err), -EACCES);
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -EACCES);
	ck_assert_int_eq(chmod(path, 0711), 0);
	ck_assert_int_eq(ph_spawn_check(&spec, &err), 0);
	help_remove(dir);
}
END_TEST

START_TEST(no_process_left)
{
	/* in a process of its own: the limit counts for its user and stays */
	pid_t pid = fork();
	if (!pid) {
		static const char *const argv[] = {"true", NULL};
		struct ph_spawn_spec spec = shell_spec(argv);
		struct ph_spawned spawned;
		struct ph_err err = {""};
		const struct rlimit none = {0, 0};
		if (setresgid(64999, 64999, 64999) || setresuid(64999, 64999, 64999) ||
			setrlimit(RLIMIT_NPROC, &none))
			_exit(2);
		int r = ph_spawn_start(&spec, &spawned, &err);
		bool fits = !strcmp(
			err.text, "cannot create a process: Resource temporarily unavailable");
		_exit(r == -EAGAIN && fits ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(no_descriptor_left)
{
	static const char *const argv[] = {"true", NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_spawned spawned;
	struct ph_err err;
	struct rlimit before, few;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	int next = dup(0);
	close(next);
	few.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	int r = ph_spawn_start(&spec, &spawned, &err);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(r, -EMFILE);
}
END_TEST

START_TEST(two_hundred_leave_nothing)
{
	const char *const argv[] = {"true", NULL};
	struct ph_spawn_spec spec = shell_spec(argv);
	struct ph_err err;
	spec.path = "/bin/true";
	int before = help_count_fds();
	for (int i = 0; i < 200; i++) {
		struct ph_spawned spawned;
		ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
		ck_assert_int_eq(wait_for(&spawned), 0);
	}
	ck_assert_int_eq(help_count_fds(), before);
}
END_TEST

/* ---- resolve */

START_TEST(resolving)
{
	char path[PATH_MAX] = "untouched";
	struct ph_err err;
	ck_assert_int_eq(ph_spawn_resolve("nosuch", "/usr/bin:/bin", path, &err), -ENOENT);
	ck_assert_str_eq(err.text, "'nosuch' is not in PATH (/usr/bin:/bin)");
	ck_assert_int_eq(ph_spawn_resolve("passwd", "/etc", path, &err), -EACCES);
	ck_assert_int_eq(ph_spawn_resolve("ssl", "/etc:/", path, &err), -EACCES);
	ck_assert_int_eq(ph_spawn_resolve("", NULL, path, &err), -EINVAL);
	ck_assert_int_eq(ph_spawn_resolve("sh", "", path, &err), -ENOENT);
	ck_assert_int_eq(ph_spawn_resolve("sh", ".:bin::", path, &err), -ENOENT);
	ck_assert_str_eq(path, "untouched");
	ck_assert_int_eq(ph_spawn_resolve("sh", "/nowhere:/etc::/bin", path, &err), 0);
	ck_assert_str_eq(path, "/bin/sh");
	ck_assert_int_eq(ph_spawn_resolve("sh", NULL, path, &err), 0);
	ck_assert_int_eq(ph_spawn_resolve("./x y", "/bin", path, &err), 0);
	ck_assert_str_eq(path, "./x y");
	char *large = malloc(PATH_MAX + 10);
	memset(large, 'a', PATH_MAX + 9);
	large[PATH_MAX + 9] = '\0';
	ck_assert_int_eq(ph_spawn_resolve(large, "/bin", path, &err), -ENAMETOOLONG);
	free(large);
}
END_TEST

static void reserve_without_clone3(void)
{
	ph_spawn_reserve();
	help_forbid(SYS_clone3);
}

/* Each case as it is where nothing was kept, and as it is in the daemon. */
static void add_all(Suite *suite, const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, result_names_the_process);
	tcase_add_test(tc, start_times_are_those_of_proc);
	tcase_add_test(tc, environment_and_pids);
	tcase_add_test(tc, signals_are_reset);
	tcase_add_test(tc, a_storm_of_signals_does_no_harm);
	tcase_add_test(tc, only_named_descriptors_arrive);
	tcase_add_test(tc, what_is_passed_is_not_kept);
	tcase_add_test(tc, directory_and_umask);
	tcase_add_test(tc, new_privileges);
	tcase_add_test(tc, cgroup_that_is_not_there);
	tcase_add_test(tc, limits_are_set);
	tcase_add_test(tc, user_and_groups);
	tcase_add_test(tc, enters_a_cgroup);
	tcase_add_loop_test(
		tc, each_failing_step_has_its_sentence, 0, sizeof failing / sizeof *failing);
	tcase_add_test(tc, search_and_file);
	tcase_add_test(tc, reading);
	tcase_add_loop_test(tc, what_cannot_be_read, 0, sizeof unreadable / sizeof unreadable[0]);
	tcase_add_test(tc, descriptors_and_cgroup_that_are_none);
	tcase_add_test(tc, a_spec_out_of_bounds_is_refused);
	tcase_add_test(tc, scripts_without_interpreter);
	tcase_add_test(tc, a_user_without_permission);
	tcase_add_test(tc, no_process_left);
	tcase_add_test(tc, no_descriptor_left);
	tcase_add_test(tc, two_hundred_leave_nothing);
	tcase_add_test(tc, resolving);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("spawn");
	add_all(suite, "all", NULL);
	add_all(suite, "reserved", ph_spawn_reserve);
	add_all(suite, "without clone3", reserve_without_clone3);
	return run_tests(suite);
}
