/* Starts of which one is begun before another is finished: they share the daemon's memory. */
#include "io/spawn.h"

#include "io/clock.h"
#include "io/kin.h"
#include "run_tests.h"
#include "tests/unit/io_help.h"

#include <errno.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NOBODY 65534
#define LATE "not done in time, as where a file system does not answer"

static const char *const env_plain[] = {"PATH=/usr/bin:/bin", NULL};
static const char *const true_argv[] = {"true", NULL};
static const struct ph_spawn_spec true_spec = {
	.path = "/bin/true", .argv = true_argv, .env = env_plain};

/* A shell that writes a word, as a start of its own: what the spec points to must last. */
struct talk {
	char script[64];
	const char *argv[4];
	int ends[2], fds[3];
	struct ph_spawn_spec spec;
	struct ph_spawning *spawning;
};

/* cgroup: NULL, or a folder with what the child writes itself into */
static void talk_begin_in(struct talk *talk, int word, const char *cgroup)
{
	struct ph_err err = {""};
	(void)snprintf(talk->script, sizeof talk->script, "echo word %d; ls /proc/$$/fd", word);
	talk->argv[0] = "sh";
	talk->argv[1] = "-c";
	talk->argv[2] = talk->script;
	talk->argv[3] = NULL;
	ck_assert_int_eq(pipe2(talk->ends, O_CLOEXEC), 0);
	talk->fds[0] = -1;
	talk->fds[1] = talk->fds[2] = talk->ends[1];
	talk->spec = (struct ph_spawn_spec){.path = "/bin/sh",
		.argv = talk->argv,
		.env = env_plain,
		.fds = talk->fds,
		.n_fds = 3,
		.cgroup = cgroup};
	int r = ph_spawn_begin(&talk->spec, &talk->spawning, &err);
	ck_assert_msg(r == 0, "%s", err.text);
	close(talk->ends[1]); /* ours again at once */
}

static void talk_begin(struct talk *talk, int word)
{
	talk_begin_in(talk, word, NULL);
}

static void wait_for(const struct ph_spawned *spawned, int code)
{
	int status;
	ck_assert_int_eq(waitpid(spawned->pid, &status, 0), spawned->pid);
	ck_assert_int_eq(status, code << 8);
	close(spawned->pidfd);
}

/* Who was killed may take a moment to end: it is found by a later start. */
static void until_nobody_is_left(void)
{
	siginfo_t info;
	struct ph_spawned spawned;
	struct ph_err err;
	for (int i = 0; i < 2000 && !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT); i++) {
		usleep(5000);
		ck_assert_int_eq(ph_spawn_start(&true_spec, &spawned, &err), 0);
		wait_for(&spawned, 0);
	}
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
	ck_assert_int_eq(errno, ECHILD);
}

static void talk_finish(struct talk *talk, int word)
{
	char output[128], expected[128];
	struct ph_spawned spawned;
	struct ph_err err = {""};
	int r = ph_spawn_finish(talk->spawning, &spawned, &err);
	ck_assert_msg(r == 0, "%s", err.text);
	help_read_all(talk->ends[0], output, sizeof output);
	(void)snprintf(expected, sizeof expected, "word %d\n0\n1\n2\n", word);
	ck_assert_str_eq(output, expected);
	close(talk->ends[0]);
	wait_for(&spawned, 0);
}

START_TEST(each_has_its_own)
{
	struct talk talks[PH_SPAWN_BEGUN_MAX];
	int before = help_count_fds();
	for (int i = 0; i < 50; i++) {
		talk_begin(&talks[0], i);
		talk_begin(&talks[1], i + 1000);
		/* in any order */
		talk_finish(&talks[i % 2], i + i % 2 * 1000);
		talk_finish(&talks[1 - i % 2], i + (1 - i % 2) * 1000);
	}
	ck_assert_int_eq(help_count_fds(), before);
}
END_TEST

/* A FIFO that is full stops a child at its first step with a file, before it has descriptors of its
 * own: what others are passed meanwhile must not become its. */
START_TEST(a_slow_one_gets_its_own)
{
	char *dir = help_dir(), path[128], bytes[4096] = {0};
	struct talk slow, other;
	(void)snprintf(path, sizeof path, "%s/cgroup.procs", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	int fifo = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	while (write(fifo, bytes, sizeof bytes) > 0)
		;
	talk_begin_in(&slow, 1, dir);
	for (int i = 2; i < 6; i++) {
		talk_begin(&other, i);
		talk_finish(&other, i);
	}
	ck_assert_int_eq(read(fifo, bytes, sizeof bytes), sizeof bytes);
	talk_finish(&slow, 1);
	close(fifo);
	help_remove(dir);
}
END_TEST

/* Numbers that are open already are left alone. */
static void reserve_around(void)
{
	if (fcntl(12, F_GETFD) >= 0)
		return; /* they are kept already: this is the process of another case */
	ck_assert_int_eq(dup2(STDERR_FILENO, 12), 12);
	ph_spawn_reserve();
	int next = dup(STDERR_FILENO), flags = fcntl(12, F_GETFD);
	close(next);
	ck_assert_int_lt(next, 12); /* what was too short is free again */
	ck_assert_int_eq(flags, 0);
	ck_assert_int_ge(fcntl(13, F_GETFD), 0);
	close(12);
}

START_TEST(one_more_at_once_but_not_begun)
{
	struct ph_spawning *none = NULL;
	struct ph_spawned spawned;
	struct ph_err err = {""};
	struct talk talks[PH_SPAWN_BEGUN_MAX];
	int before = help_count_fds();
	for (int i = 0; i < PH_SPAWN_BEGUN_MAX; i++)
		talk_begin(&talks[i], i);
	ck_assert_int_eq(ph_spawn_begin(&true_spec, &none, &err), -EBUSY);
	ck_assert_str_eq(err.text, "80 starts are under way, no more are possible");
	ck_assert_int_eq(ph_spawn_start(&true_spec, &spawned, &err), 0);
	wait_for(&spawned, 0);
	ck_assert_int_eq(ph_spawn_check(&true_spec, &err), 0);
	for (int i = 0; i < PH_SPAWN_BEGUN_MAX; i++)
		talk_finish(&talks[i], i);
	ck_assert_int_eq(help_count_fds(), before);
	ck_assert_int_eq(ph_spawn_begin(&true_spec, &none, &err), 0);
	ck_assert_int_eq(ph_spawn_finish(none, &spawned, &err), 0);
	wait_for(&spawned, 0);
}
END_TEST

START_TEST(one_that_fails_leaves_the_other_alone)
{
	struct ph_spawn_spec bad = true_spec;
	struct ph_spawning *failing;
	struct ph_spawned spawned;
	struct ph_err err = {""};
	struct talk talk;
	int before = help_count_fds();
	for (int i = 0; i < 50; i++) {
		bad.path = "/no/such/file";
		talk_begin(&talk, i);
		ck_assert_int_eq(ph_spawn_begin(&bad, &failing, &err), 0);
		ck_assert_int_eq(ph_spawn_finish(failing, &spawned, &err), -ENOENT);
		ck_assert_str_eq(
			err.text, "cannot execute '/no/such/file': No such file or directory");
		bad.n_fds = PH_SPAWN_FDS_MAX + 1; /* nothing to finish */
		ck_assert_int_eq(ph_spawn_begin(&bad, &failing, &err), -EINVAL);
		bad.n_fds = 0;
		talk_finish(&talk, i);
	}
	until_nobody_is_left();
	ck_assert_int_eq(help_count_fds(), before);
}
END_TEST

/* What ends before it is finished waits for who has started it: its status is his. */
START_TEST(no_orphan_is_reaped_before_its_finish)
{
	siginfo_t info;
	struct ph_spawning *spawning;
	struct ph_spawned spawned;
	struct ph_err err = {""};
	ck_assert_int_eq(ph_spawn_begin(&true_spec, &spawning, &err), 0);
	ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0); /* it has ended */
	ck_assert(!ph_kin_has_orphans());
	ck_assert_uint_eq(ph_kin_reap_orphans(), 0);
	ck_assert_int_eq(ph_spawn_finish(spawning, &spawned, &err), 0);
	ck_assert(ph_kin_has_orphans()); /* nobody has said that he waits for it */
	wait_for(&spawned, 0);
	ck_assert_int_eq(ph_spawn_check(&true_spec, &err), 0);
	ck_assert(!ph_kin_has_orphans());
}
END_TEST

/* Most of a child's steps fail here, and each time the kernel's word must stay the child's: the
 * thread that goes on has the same errno. */
START_TEST(errno_stays)
{
	struct ph_spawn_spec bad = true_spec;
	struct ph_spawned spawned;
	struct ph_err err;
	bad.path = "/no/such/file";
	for (int i = 0; i < 300; i++) {
		struct ph_spawning *spawning;
		ck_assert_int_eq(ph_spawn_begin(&bad, &spawning, &err), 0);
		errno = 12345;
		for (int k = 0; k < 20; k++) {
			siginfo_t info = {.si_pid = 0};
			/* until the child has ended: by then all of its steps were made */
			(void)usleep(50);
			ck_assert_int_eq(errno, 12345);
			if (!waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid)
				break;
		}
		ck_assert_int_eq(errno, 12345);
		ck_assert_int_eq(ph_spawn_finish(spawning, &spawned, &err), -ENOENT);
	}
}
END_TEST

/* A child of another user that has not executed has our memory: that user may not trace it. */
START_TEST(undumpable_while_another_user_has_the_memory)
{
	struct ph_spawn_spec spec = true_spec;
	struct ph_spawning *first, *second;
	struct ph_spawned spawned;
	struct ph_err err;
	spec.set_user = true;
	spec.uid = spec.gid = NOBODY;
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	ck_assert_int_eq(ph_spawn_begin(&spec, &first, &err), 0);
	ck_assert_int_eq(ph_spawn_begin(&spec, &second, &err), 0);
	ck_assert_int_eq(ph_spawn_finish(first, &spawned, &err), 0);
	wait_for(&spawned, 0);
	ck_assert_int_ne(prctl(PR_GET_DUMPABLE), 1);
	ck_assert_int_eq(ph_spawn_start(&true_spec, &spawned, &err), 0);
	wait_for(&spawned, 0);
	ck_assert_int_ne(prctl(PR_GET_DUMPABLE), 1);
	ck_assert_int_eq(ph_spawn_finish(second, &spawned, &err), 0);
	wait_for(&spawned, 0);
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);
	/* who did not want to be dumped does not become so */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 0), 0);
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), 0);
	wait_for(&spawned, 0);
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 0);
}
END_TEST

/* A page that is never there: who reads it waits, as in a file of a server that is gone. */
static char *page_that_never_comes(int *ret_fd)
{
	struct uffdio_api api = {.api = UFFD_API};
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	struct uffdio_register all = {
		.range = {(unsigned long)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	*ret_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	ck_assert_msg(*ret_fd >= 0, "userfaultfd: %s", strerror(errno));
	ck_assert_int_eq(ioctl(*ret_fd, UFFDIO_API, &api), 0);
	ck_assert_int_eq(ioctl(*ret_fd, UFFDIO_REGISTER, &all), 0);
	return page;
}

START_TEST(what_is_never_executed_is_given_up)
{
	static bool again;
	int fd;
	char *never = page_that_never_comes(&fd);
	const char *const argv[] = {"true", never, NULL};
	struct ph_spawn_spec spec = true_spec;
	struct ph_spawning *stuck, *other;
	struct ph_spawned spawned;
	struct ph_err err = {""};
	struct talk talk;
	char byte;
	int held[2];
	spec.argv = argv;
	ck_assert_int_eq(pipe2(held, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(ph_spawn_begin(&spec, &stuck, &err), 0);
	close(held[1]);
	talk_begin(&talk, 1);
	talk_finish(&talk, 1);
	ck_assert(!ph_spawn_wait(stuck, 20));
	/* it has nothing of ours but what it was passed */
	ck_assert_int_eq(read(held[0], &byte, 1), 0);
	close(held[0]);
	/* nobody has waited for this one: it says nothing about the next */
	ck_assert_int_eq(ph_spawn_begin(&spec, &other, &err), 0);
	ck_assert_int_eq(ph_spawn_give_up(other, &spawned, &err), -ETIMEDOUT);
	uint64_t from_ms = ph_clock_now_ms();
	ck_assert_int_eq(ph_spawn_finish(stuck, &spawned, &err), -ETIMEDOUT);
	ck_assert_str_eq(err.text, "cannot execute '/bin/true': " LATE);
	ck_assert_uint_ge(ph_clock_now_ms() - from_ms, again ? 0 : PH_SPAWN_PATIENCE_MS - 50);
	again = true; /* in this process */
	/* the step that it was at; and another one is given up sooner */
	spec = true_spec;
	spec.set_user = true;
	memcpy(&spec.groups, &never, sizeof never);
	spec.n_groups = 1;
	from_ms = ph_clock_now_ms();
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -ETIMEDOUT);
	ck_assert_str_eq(err.text, "cannot set the supplementary groups: " LATE);
	ck_assert_uint_lt(ph_clock_now_ms() - from_ms, PH_SPAWN_PATIENCE_MS / 2);
	ck_assert_int_eq(ph_spawn_begin(&spec, &stuck, &err), 0);
	ck_assert_int_eq(ph_spawn_give_up(stuck, &spawned, &err), -ETIMEDOUT);
	close(fd);
	until_nobody_is_left();
	ck_assert_int_eq(ph_spawn_begin(&true_spec, &stuck, &err), 0);
	ck_assert(ph_spawn_wait(stuck, 10000));
	ck_assert_int_eq(ph_spawn_give_up(stuck, &spawned, &err), 0); /* it runs already */
	wait_for(&spawned, 0);
}
END_TEST

static void answer_init(int fd)
{
	struct fuse_out_header head = {.len = sizeof head + sizeof(struct fuse_init_out)};
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
	char bytes[FUSE_MIN_READ_BUFFER * 2];
	struct fuse_in_header in;
	ck_assert_int_gt(read(fd, bytes, sizeof bytes), 0);
	memcpy(&in, bytes, sizeof in);
	ck_assert_uint_eq(in.opcode, FUSE_INIT);
	head.unique = in.unique;
	memcpy(bytes, &head, sizeof head);
	memcpy(bytes + sizeof head, &init, sizeof init);
	ck_assert_int_eq(write(fd, bytes, head.len), head.len);
}

/* A file system whose server takes requests and never answers; who has asked cannot be killed.
 * -1: not on this machine. */
static int mount_silent(const char *dir, pid_t *ret_server)
{
	char options[80], bytes[FUSE_MIN_READ_BUFFER * 2];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	(void)snprintf(options, sizeof options,
		"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("silent", dir, "fuse", 0, options)) {
		close(fd);
		return -1;
	}
	answer_init(fd);
	*ret_server = fork();
	while (!*ret_server)
		if (read(fd, bytes, sizeof bytes) < 0)
			_exit(0);
	return fd;
}

START_TEST(what_cannot_even_be_killed_is_left_behind)
{
	char *dir = help_dir(), path[128];
	struct ph_spawn_spec spec = true_spec;
	struct ph_spawned spawned;
	struct ph_err err = {""};
	pid_t server;
	int before = help_count_fds(), fd = mount_silent(dir, &server);
	if (fd < 0)
		return;
	(void)snprintf(path, sizeof path, "%s/program", dir);
	spec.path = path;
	spec.set_user = true;
	spec.uid = spec.gid = NOBODY; /* nobody else's memory either, as long as it has ours */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	ck_assert_int_eq(ph_spawn_start(&spec, &spawned, &err), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(err.text, LATE));
	ck_assert_int_eq(ph_spawn_start(&true_spec, &spawned, &err), 0);
	wait_for(&spawned, 0);
	ck_assert_int_ne(prctl(PR_GET_DUMPABLE), 1);
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	close(fd);
	(void)umount2(dir, MNT_FORCE); /* all requests fail now, though it is busy */
	for (int i = 0; i < 2000 && help_count_fds() > before; i++) {
		usleep(10000);
		ck_assert_int_eq(ph_spawn_start(&true_spec, &spawned, &err), 0);
		wait_for(&spawned, 0);
	}
	ck_assert_int_eq(help_count_fds(), before);
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);
	(void)umount2(dir, MNT_DETACH);
	help_remove(dir);
}
END_TEST

/* Nothing is begun twice: by who has ended meanwhile, and by who comes after it. */
START_TEST(what_another_has_begun_is_killed)
{
	char own[] = "/tmp/ph-mark-XXXXXX", *dir = help_dir(), path[128], byte = 0;
	struct ph_spawn_spec spec = true_spec;
	struct ph_spawning *stuck;
	struct ph_err err;
	pid_t server;
	int ends[2], fd = mount_silent(dir, &server);
	if (fd < 0)
		return;
	(void)snprintf(path, sizeof path, "%s/program", dir);
	spec.path = path;
	ck_assert_int_eq(ph_spawn_set_mark("/no/such/folder"), -ENOENT);
	ck_assert_ptr_nonnull(mkdtemp(own));
	ck_assert_int_eq(ph_spawn_set_mark(own), 0);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pid_t earlier = fork();
	if (!earlier) {
		if (ph_spawn_begin(&spec, &stuck, &err) || ph_spawn_wait(stuck, 50) ||
			write(ends[1], &byte, 1) != 1)
			_exit(1);
		(void)pause();
	}
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	ck_assert_int_eq(kill(earlier, SIGKILL), 0);
	ck_assert_int_eq(waitpid(earlier, NULL, 0), earlier);
	ck_assert_int_eq(ph_spawn_kill_marked(), 1);
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	close(fd);
	(void)umount2(dir, MNT_FORCE);
	for (int i = 0; i < 2000 && ph_spawn_kill_marked() > 0; i++)
		usleep(10000);
	ck_assert_int_eq(ph_spawn_kill_marked(), 0);
	(void)umount2(dir, MNT_DETACH);
	help_remove(dir);
	ck_assert_int_eq(rmdir(own), 0);
}
END_TEST

/* There a start is over when it has begun. */
static void reserve_without_clone3(void)
{
	ph_spawn_reserve();
	help_forbid(SYS_clone3);
}

/* Each case as it is where nothing was kept, and as it is in the daemon; `ahead`: the caller goes
 * on. */
static void add_all(Suite *suite, const char *name, void (*setup)(void), bool ahead)
{
	TCase *tc = tcase_create(name);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, each_has_its_own);
	tcase_add_test(tc, one_more_at_once_but_not_begun);
	tcase_add_test(tc, one_that_fails_leaves_the_other_alone);
	tcase_add_test(tc, no_orphan_is_reaped_before_its_finish);
	tcase_add_test(tc, errno_stays);
	tcase_add_test(tc, undumpable_while_another_user_has_the_memory);
	if (ahead) {
		tcase_add_test(tc, a_slow_one_gets_its_own);
		tcase_add_test(tc, what_is_never_executed_is_given_up);
		tcase_add_test(tc, what_cannot_even_be_killed_is_left_behind);
		tcase_add_test(tc, what_another_has_begun_is_killed);
	}
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("spawn_ahead");
	add_all(suite, "all", NULL, true);
	add_all(suite, "reserved", ph_spawn_reserve, true);
	add_all(suite, "reserved around", reserve_around, true);
	add_all(suite, "without clone3", reserve_without_clone3, false);
	return run_tests(suite);
}
