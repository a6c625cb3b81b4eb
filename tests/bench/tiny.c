/* The smallest child: notes when its main() began, in a file that others append to too, and waits
 * for a signal. Linked statically, so that it costs little beside what is measured. */
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t note[2] = {
		(uint64_t)getpid(), (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
	int fd = argc > 1 ? open(argv[1], O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	if (fd < 0 || write(fd, note, sizeof note) != sizeof note)
		return 1;
	close(fd);
	for (;;)
		pause();
}
