#include "io/spawn_clone.h"

#include "io/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)128 << 10) /* of which the lowest page is a guard */
#define GUARD_BYTES ((size_t)4096)

/* One for all children: each has left it before the next one is made. */
static char *get_stack(void)
{
	static char *kept;
	if (kept)
		return kept;
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (stack == MAP_FAILED)
		return NULL;
	if (mprotect(stack, GUARD_BYTES, PROT_NONE) < 0)
		(void)munmap(stack, STACK_BYTES);
	else
		kept = stack;
	return kept;
}

static unsigned flags_of(const struct ph_spawn_task *task)
{
	unsigned flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
	return task->first_unwanted ? flags | CLONE_FILES : flags;
}

#if defined(__x86_64__) && defined(SYS_clone3)

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

static long clone_into(struct ph_spawn_task *task, int cgroup_fd, char *stack, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = flags_of(task) | CLONE_INTO_CGROUP,
		.pidfd = (uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = STACK_BYTES,
		.cgroup = (unsigned)cgroup_fd,
	};
	return call_clone3(&args, task);
}

#else

static long clone_into(struct ph_spawn_task *task, int cgroup_fd, char *stack, int *ret_pidfd)
{
	(void)task, (void)cgroup_fd, (void)stack, (void)ret_pidfd;
	return -ENOSYS;
}

#endif

int ph_spawn_clone(struct ph_spawn_task *task, const char *cgroup, pid_t *ret_pid, int *ret_pidfd)
{
	char *stack = get_stack();
	int pidfd = -1;
	if (!stack)
		return -ENOMEM;
	long pid;
	if (cgroup) {
		int fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return -EOPNOTSUPP;
		pid = clone_into(task, fd, stack, &pidfd);
		close(fd);
	} else {
		pid = clone(ph_spawn_child, stack + STACK_BYTES, (int)flags_of(task) | SIGCHLD,
			task, &pidfd);
		pid = pid < 0 ? -errno : pid;
	}
	if (pid < 0)
		return cgroup ? -EOPNOTSUPP : (int)pid;
	*ret_pid = (pid_t)pid;
	*ret_pidfd = pidfd;
	return 0;
}
