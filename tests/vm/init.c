/*
 * The first process of the virtual machine of vm.py: loads /modules in the order of their names,
 * mounts the host's tree (read-only), with a /tmp, /run and cgroup v2 of its own, runs the command
 * of the kernel's command line (vm_run=..., '+' for a space) there, and ends the machine.
 */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	perror(what);
	sync();
	(void)reboot(RB_POWER_OFF);
}

static void load(const char *name)
{
	char path[300];
	(void)snprintf(path, sizeof path, "/modules/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd, path);
	check((int)syscall(SYS_finit_module, fd, "", 0), path);
	close(fd);
}

static void load_all(void)
{
	struct dirent **names;
	int n = scandir("/modules", &names, NULL, alphasort);
	check(n, "/modules");
	for (int i = 0; i < n; i++)
		if (names[i]->d_name[0] != '.')
			load(names[i]->d_name);
}

static void mount_all(void)
{
	static const struct {
		const char *type, *place;
	} mounts[] = {{"proc", "/host/proc"}, {"sysfs", "/host/sys"}, {"devtmpfs", "/host/dev"},
		{"tmpfs", "/host/tmp"}, {"tmpfs", "/host/run"}, {"tmpfs", "/host/var/tmp"},
		{"cgroup2", "/host/sys/fs/cgroup"}};
	(void)mkdir("/host", 0755);
	check(mount("host", "/host", "9p", MS_RDONLY,
		      "trans=virtio,version=9p2000.L,cache=loose,msize=262144"),
		"mount the host's tree");
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
		check(mount(mounts[i].type, mounts[i].place, mounts[i].type, 0, ""),
			mounts[i].place);
	check(chroot("/host"), "chroot");
	check(chdir("/"), "chdir");
	check(mkdir("/dev/shm", 01777), "/dev/shm");
}

static void loopback_up(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	check(fd, "socket");
	check(ioctl(fd, SIOCSIFFLAGS, &lo), "lo");
	close(fd);
}

static int run(char *command)
{
	int status = 0;
	for (char *c = command; *c; c++)
		*c = *c == '+' ? ' ' : *c;
	pid_t pid = fork();
	if (pid == 0) {
		(void)setsid();
		(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	while (pid > 0)
		if (wait(&status) == pid)
			break;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(void)
{
	char *command = getenv("vm_run");
	load_all();
	mount_all();
	loopback_up();
	check(sethostname("vm", 2), "sethostname");
	check(setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1), "PATH");
	printf("VM-END %d\n", command ? run(command) : 127);
	(void)fflush(stdout);
	sync();
	(void)reboot(RB_POWER_OFF);
	return 1;
}
