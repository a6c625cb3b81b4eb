/* prochubd: arguments and nothing else. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shell.h"

static const char usage[] =
	"Usage: prochubd [-c FILE] [-t | -T | -R]\n"
	"Supervises the worker processes of this node and hands them over to other nodes.\n"
	"\n"
	"  -c FILE  read only FILE (default: " PH_CONF_ETC "/prochub.yaml and\n"
	"           " PH_CONF_ETC "/conf.d/*.yaml, as far as they exist)\n"
	"  -t       check the configuration and exit\n"
	"  -T       print the effective configuration with the origin of each value and exit\n"
	"  -R       give the controllers of the service's cgroup back and exit, so that systemd "
	"can\n"
	"           start the next daemon in it; for ExecStopPost=\n"
	"  -V       print the version and exit\n"
	"  -h       print this help and exit\n"
	"\n"
	"Exit status: 0 stopped, 1 failed, 2 wrong usage or configuration.\n";

/* Descriptors 0 to 2 must be something: workers inherit 1 and 2, and files must not land there. */
static void open_standard(void)
{
	int fd;
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int wrong(const char *what, const char *which)
{
	fprintf(stderr, "prochubd: %s%s; 'prochubd -h' shows the options\n", what, which);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	const char *file = NULL;
	int (*run)(const char *, char **) = ph_shell_run;
	int option;
	open_standard();
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:c:tTRVh", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case 't':
			run = ph_shell_check;
			break;
		case 'T':
			run = ph_shell_print;
			break;
		case 'R':
			run = ph_shell_release;
			break;
		case 'V':
			printf("prochubd %s\n", PH_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case ':':
			return wrong("a file is missing after ", argv[optind - 1]);
		default:
			return wrong("unknown option ", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return wrong("unexpected argument ", argv[optind]);
	return run(file, argv);
}
