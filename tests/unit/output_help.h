/* output_help.h - FIFOs with writers, and what has become of what they wrote. */
#ifndef PH_TESTS_OUTPUT_HELP_H
#define PH_TESTS_OUTPUT_HELP_H

#include "io/clock.h"
#include "io/output.h"
#include "tests/unit/io_help.h"

#include <errno.h>

static char *dir;
static struct ph_output *output;
static int out_file; /* the daemon's output, open to append as a shell's >> */

static inline const char *path_of(const char *name)
{
	static char path[4][256];
	static unsigned next;
	char *at = path[next++ % 4];
	(void)snprintf(at, sizeof path[0], "%s/%s", dir, name);
	return at;
}

static inline void output_begin(int out, const char *journal)
{
	const struct ph_output_settings settings = {
		.node = ph_name_of("a"), .out = out, .err = out, .journal = journal};
	ck_assert_int_eq(ph_output_new(&settings, &output), 0);
}

static inline void output_setup(void)
{
	dir = help_dir();
	out_file = open(path_of("out"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	output_begin(out_file, path_of("nobody"));
}

static inline void output_teardown(void)
{
	ph_output_free(output);
	close(out_file);
	help_remove(dir);
}

static inline struct ph_key key_of(const char *child, uint32_t instance)
{
	struct ph_key key = {.child = ph_name_of(child), .instance = instance};
	return key;
}

/* A FIFO of a child; returns the end that its worker has. */
static inline int fifo_open(const char *child, const char *file, uint64_t size, unsigned keep)
{
	static unsigned number;
	char name[32];
	(void)snprintf(name, sizeof name, "fifo%u", number++);
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_OPEN);
	order->fifo = strdup(path_of(name));
	ck_assert_int_eq(mkfifo(order->fifo, 0600), 0);
	order->fd = open(order->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int end = open(order->fifo, O_RDWR | O_CLOEXEC);
	ck_assert(order->fd >= 0 && end >= 0);
	order->key = key_of(child, 0);
	order->to = file ? PH_OUTPUT_FILE : PH_OUTPUT_RELAY;
	order->file = file ? strdup(file) : NULL;
	order->size = size;
	order->keep = keep;
	ph_output_order(output, order);
	return end;
}

/* Until nothing happens any more. */
static inline void pump(void)
{
	for (int i = 0; i < 50; i++)
		ph_output_pump(output, 0);
}

static inline void write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t w = write(fd, text, n);
		if (w < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			ph_output_pump(output, 10);
			continue;
		}
		text += w;
		n -= (size_t)w;
	}
}

static inline void say(int fd, const char *text)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	write_all(fd, text, strlen(text));
	pump();
}

static inline char *content_of(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 8u << 20);
	*ret_n = f ? fread(text, 1, (8u << 20) - 1, f) : 0;
	if (f)
		(void)fclose(f);
	return text;
}

static inline void expect(const char *path, const char *text)
{
	size_t n;
	char *found = content_of(path, &n);
	ck_assert_str_eq(found, text);
	free(found);
}

#endif
