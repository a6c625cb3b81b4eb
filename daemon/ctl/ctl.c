/* ctl.c - messages and the end of the program. */
#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl/text.h"

enum ph_exit ph_ctl_fail(enum ph_exit status, const char *format, ...)
{
	struct ph_text text = {0};
	char *message = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&message, format, args);
	va_end(args);
	if (n < 0)
		ph_ctl_out_of_memory();
	ph_text_add_escaped(&text, message, true);
	/* what was printed before stays before it where both go to one file */
	(void)fflush(stdout);
	(void)fprintf(stderr, "prochubctl: %s\n", ph_text_string(&text));
	ph_text_fini(&text);
	free(message);
	return status;
}

void ph_ctl_out_of_memory(void)
{
	static const char message[] = "prochubctl: out of memory\n";

	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(PH_EXIT_FAILED);
	_exit(PH_EXIT_FAILED);
}

void *ph_ctl_made(void *made)
{
	if (!made)
		ph_ctl_out_of_memory();
	return made;
}
