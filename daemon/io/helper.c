#include "io/helper.h"

#include "io/kin.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int spawn(const char *program, char *const argv[], int fd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	int rc = posix_spawn_file_actions_init(&actions);
	if (rc)
		return -rc;
	rc = posix_spawnattr_init(&attr);
	if (rc) {
		posix_spawn_file_actions_destroy(&actions);
		return -rc;
	}
	rc = posix_spawn_file_actions_adddup2(&actions, fd, PH_HELPER_FD);
	if (!rc)
		rc = posix_spawn_file_actions_addclosefrom_np(&actions, PH_HELPER_FD + 1);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	if (!rc)
		rc = posix_spawn(ret_pid, program, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

int ph_helper_start(const char *program, const char *name, const char *arg, int fd, pid_t *ret_pid,
	int *ret_pidfd)
{
	char number[] = {'0' + PH_HELPER_FD, 0};
	union {
		const char *in;
		char *out;
	} first = {name}, last = {arg}; /* posix_spawn() writes to none of them */
	char *argv[] = {first.out, number, last.out, NULL};
	pid_t pid = 0;

	int rc = spawn(program, argv, fd, &pid);
	if (rc < 0)
		return rc;
	ph_kin_own(pid);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		rc = -errno;
		(void)kill(pid, SIGKILL);
		(void)ph_helper_reap(pid);
		return rc;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}

int ph_helper_reap(pid_t pid)
{
	int status = 0;

	ph_kin_disown(pid);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return status;
}
