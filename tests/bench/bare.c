/*
 * The limit: what a supervisor must do at least. Starts N children with posix_spawn, watches each
 * by its pidfd, starts another when one ends, and at SIGTERM ends all and waits for them. No
 * configuration, no environment, no state, no log, no policy.
 * usage: bare N PROGRAM [ARGUMENT]
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	pid_t pid;
	int pidfd;
};

static struct child *children;
static char **command;
static int loop;

static void start(size_t i)
{
	posix_spawnattr_t attr;
	sigset_t none;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
	if (posix_spawn(&children[i].pid, command[0], NULL, &attr, command, environ))
		exit(1);
	posix_spawnattr_destroy(&attr);
	children[i].pidfd = (int)syscall(SYS_pidfd_open, children[i].pid, 0);
	struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = i + 1}};
	if (children[i].pidfd < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, children[i].pidfd, &event) < 0)
		exit(1);
}

static void reap(size_t i)
{
	siginfo_t info;
	waitid(P_PIDFD, (id_t)children[i].pidfd, &info, WEXITED);
	close(children[i].pidfd);
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	struct epoll_event event = {.events = EPOLLIN};
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	loop = epoll_create1(EPOLL_CLOEXEC);
	children = calloc(n + 1, sizeof *children);
	command = argv + 2;
	int signals = signalfd(-1, &term, SFD_CLOEXEC);
	if (!n || !children || epoll_ctl(loop, EPOLL_CTL_ADD, signals, &event) < 0)
		return 2;
	for (size_t i = 0; i < n; i++)
		start(i);
	for (;;) {
		if (epoll_wait(loop, &event, 1, -1) < 1)
			continue;
		if (!event.data.u64)
			break;
		reap((size_t)event.data.u64 - 1);
		start((size_t)event.data.u64 - 1);
	}
	for (size_t i = 0; i < n; i++)
		kill(children[i].pid, SIGTERM);
	for (size_t i = 0; i < n; i++)
		reap(i);
	return 0;
}
