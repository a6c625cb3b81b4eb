/*
 * journald.h - lines for systemd's journal, by its native protocol.
 *
 * Decides how a line, or an event, becomes fields. A datagram to the journal's socket, or where it
 * is too large for one a sealed file in memory whose descriptor is sent. It must not know who
 * writes a line. Never waits. Tested in tests/unit/test_journald.c.
 */
#ifndef PH_IO_JOURNALD_H
#define PH_IO_JOURNALD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PH_JOURNALD_SOCKET "/run/systemd/journal/socket"

struct ph_journald {
	int fd; /* -1: not open */
	char path[108];
};

struct ph_journald_line {
	const char *text;
	size_t n;
	const char *child, *node;
	uint32_t instance;
	bool cut; /* PROCHUB_LINE_BREAK=max: the line goes on in the next one */
};

/* Errors: -errno of socket; -ENAMETOOLONG. */
PH_MUST_CHECK int ph_journald_open(struct ph_journald *journal, const char *path);
void ph_journald_close(struct ph_journald *journal);
/* Is somebody there? 0, or -ENOENT, -ECONNREFUSED, -EACCES ... */
PH_MUST_CHECK int ph_journald_there(const char *path);
/* 0; -EAGAIN later; -ENOENT, -ECONNREFUSED nobody is there; others: it was not taken. */
PH_MUST_CHECK int ph_journald_send(
	struct ph_journald *journal, const struct ph_journald_line *line);

/* What has happened; `child` and `migration` may be NULL. */
struct ph_journald_event {
	const char *text, *event, *node, *child, *migration;
	bool has_instance; /* of the child */
	uint32_t instance;
	int priority;
};

/* As MESSAGE, PRIORITY, SYSLOG_IDENTIFIER=prochubd, PROCHUB_EVENT, PROCHUB_NODE, PROCHUB_CHILD and
 * PROCHUB_INSTANCE, PROCHUB_MIGRATION. Errors as ph_journald_send(). */
PH_MUST_CHECK int ph_journald_send_event(
	struct ph_journald *journal, const struct ph_journald_event *event);

/*
 * The bytes of a line: MESSAGE (without "<N>"), PRIORITY (N, else 6), SYSLOG_IDENTIFIER and
 * PROCHUB_CHILD, PROCHUB_INSTANCE, PROCHUB_NODE. The caller's, NULL without memory.
 */
char *ph_journald_encode(const struct ph_journald_line *line, size_t *ret_n);

#endif
