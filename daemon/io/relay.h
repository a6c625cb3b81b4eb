/*
 * relay.h - bytes of a pipe to the daemon's own standard output or error, without waiting.
 *
 * Decides nothing. Whatever the descriptor is (a pipe, a terminal, a file, a socket of the
 * journal), a reader that does not read keeps nobody waiting; and as the description is shared with
 * others, its flags are left alone: a pipe or terminal is opened once more.
 * Tested in tests/unit/test_output.c.
 */
#ifndef PH_IO_RELAY_H
#define PH_IO_RELAY_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct ph_relay {
	int fd;		       /* to write to */
	bool own;	       /* `fd` is a description of our own */
	bool socket, may_wait; /* may_wait: could not be opened anew */
	bool plain;	       /* splice() does not work here */
};

void ph_relay_init(struct ph_relay *relay, int fd);
void ph_relay_fini(struct ph_relay *relay);
/* Moves up to `n` bytes, `bytes`, from the head of `pipe`. How many, or -EAGAIN: later; others:
 * nobody will read them any more. */
PH_MUST_CHECK ssize_t ph_relay_take(struct ph_relay *relay, int pipe, const char *bytes, size_t n);
/* Writes text that is in no pipe: how much of it, or as above. */
PH_MUST_CHECK ssize_t ph_relay_put(struct ph_relay *relay, const char *text, size_t n);

/* Drops `n` bytes that are in the pipe. */
void ph_pipe_discard(int pipe, size_t n);

#endif
