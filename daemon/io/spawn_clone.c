#include "io/spawn_clone.h"

#include "io/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)128 << 10) /* of which the lowest page is a guard */
#define GUARD_BYTES ((size_t)4096)
#define LOOK_NS 10000000 /* between two looks whether it has ended without a word */

static char *make_stack(void)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (stack == MAP_FAILED)
		return NULL;
	if (mprotect(stack, GUARD_BYTES, PROT_NONE) == 0)
		return stack;
	(void)munmap(stack, STACK_BYTES);
	return NULL;
}

struct ph_spawn_lent *ph_spawn_lent_new(void)
{
	struct ph_spawn_lent *lent = calloc(1, sizeof *lent);
	if (!lent)
		return NULL;
	lent->stack = make_stack();
	if (lent->stack)
		return lent;
	free(lent);
	return NULL;
}

void ph_spawn_lent_free(struct ph_spawn_lent *lent)
{
	if (!lent)
		return;
	(void)munmap(lent->stack, STACK_BYTES);
	free(lent);
}

static unsigned flags_of(const struct ph_spawn_task *task)
{
	unsigned flags = CLONE_VM | CLONE_PIDFD;
	uint64_t memory = task->spec->memory;
	if (memory && memory < PH_SPAWN_SCARCE_BYTES)
		flags |= CLONE_VFORK;
	return task->first_unwanted ? flags | CLONE_FILES : flags;
}

#ifdef PH_SPAWN_AHEAD

/* The C library has no function for it: the child goes on at once on the stack of `args`, on which
 * there is nothing to return to. */
static long call_clone3(struct clone_args *args, struct ph_spawn_task *task)
{
	long result = SYS_clone3;
	register struct ph_spawn_task *child_task __asm__("r8") = task;
	register int (*child)(void *) __asm__("r9") = ph_spawn_child;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t" /* the end of a backtrace */
			 "mov %[task], %%rdi\n\t"
			 "call *%[child]\n\t"
			 "hlt\n"
			 "1:"
			 : "+a"(result)
			 : "D"(args), "S"(sizeof *args), [task] "r"(child_task), [child] "r"(child)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

/* Of what a thread has, the child has only the clearing of a word: mm_release() of the kernel does
 * it where vfork() would go on, in execve() and at the end. cgroup_fd -1: the daemon's own. */
static long clone_ahead(
	struct ph_spawn_task *task, int cgroup_fd, struct ph_spawn_lent *lent, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = flags_of(task) | CLONE_CHILD_CLEARTID,
		.pidfd = (uintptr_t)ret_pidfd,
		.child_tid = (uintptr_t)&lent->held,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)lent->stack,
		.stack_size = STACK_BYTES,
	};
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (unsigned)cgroup_fd;
	}
	return call_clone3(&args, task);
}

#else

static long clone_ahead(
	struct ph_spawn_task *task, int cgroup_fd, struct ph_spawn_lent *lent, int *ret_pidfd)
{
	(void)task, (void)cgroup_fd, (void)lent, (void)ret_pidfd;
	return -ENOSYS;
}

#endif

/* Where the other one is not there, or is forbidden: returns when the child has let go. */
static long clone_wait(struct ph_spawn_task *task, struct ph_spawn_lent *lent, int *ret_pidfd)
{
	long pid = clone(ph_spawn_child, lent->stack + STACK_BYTES,
		(int)flags_of(task) | CLONE_VFORK | SIGCHLD, task, ret_pidfd);
	lent->held = 0;
	return pid < 0 ? -errno : pid;
}

int ph_spawn_clone(struct ph_spawn_task *task, const char *cgroup, struct ph_spawn_lent *lent,
	pid_t *ret_pid, int *ret_pidfd)
{
	int pidfd = -1, cgroup_fd = -1;
	if (cgroup)
		cgroup_fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cgroup && cgroup_fd < 0)
		return -EOPNOTSUPP;
	lent->held = 1;
	long pid = clone_ahead(task, cgroup_fd, lent, &pidfd);
	if (cgroup_fd >= 0)
		close(cgroup_fd);
	if ((pid == -ENOSYS || pid == -EPERM) && !cgroup)
		pid = clone_wait(task, lent, &pidfd);
	if (pid < 0) {
		lent->held = 0;
		return cgroup ? -EOPNOTSUPP : (int)pid;
	}
	*ret_pid = (pid_t)pid;
	*ret_pidfd = pidfd;
	return 0;
}

bool ph_spawn_clone_has_ended(int pidfd, int ms)
{
	struct pollfd one = {.fd = pidfd, .events = POLLIN};
	return poll(&one, 1, ms) == 1;
}

static uint64_t now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool ph_spawn_clone_wait(struct ph_spawn_lent *lent, int pidfd, uint64_t ms)
{
	static const struct timespec look = {0, LOOK_NS};
	uint64_t passed = 0, before = now_ns();
	uint32_t held;
	while ((held = __atomic_load_n(&lent->held, __ATOMIC_ACQUIRE)) != 0) {
		/* one that a signal ends with a core file does not clear the word */
		if (ph_spawn_clone_has_ended(pidfd, 0))
			break;
		if (passed >= ms * 1000000u)
			return false;
		(void)syscall(SYS_futex, &lent->held, FUTEX_WAIT, held, &look, NULL, 0);
		uint64_t now = now_ns();
		uint64_t step = now - before;
		passed += step < LOOK_NS * 2 ? step : LOOK_NS * 2;
		before = now;
	}
	lent->held = 0;
	return true;
}
