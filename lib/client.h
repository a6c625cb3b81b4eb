/*
 * client.h - the descriptors behind a session. Private to lib/client*.c.
 *
 * One epoll descriptor stands for both connections, so that a worker waits on one. Everything is
 * non-blocking; a turn moves at most TURN_BYTES of state so that the worker's loop goes on.
 * Tests: tests/unit/test_session.c, and with whole processes tests/unit/test_pylib.py.
 */
#ifndef PH_LIB_CLIENT_H
#define PH_LIB_CLIENT_H

#include "lib/session.h"
#include "prochub/worker.h"
#include "proto/line.h"

#define PH_CLIENT_CHUNK_BYTES (256u * 1024)
#define PH_CLIENT_TURN_BYTES (4u * 1024 * 1024)
#define PH_CLIENT_PROGRESS_MS 300

enum ph_data_kind {
	PH_DATA_NONE,
	PH_DATA_SEND,
	PH_DATA_READ
};

/* The data connection of the round that is under way. */
struct ph_data {
	enum ph_data_kind kind;
	int fd; /* -1: to be opened at retry_at_ms */
	uint64_t retry_at_ms;
	uint32_t round;
	uint64_t bytes; /* of the round, through the connection */
	bool saving;	/* inside the callback save */
	bool not_yet, ended;
	char *saved; /* bytes of prochub_send_state */
	size_t saved_n, saved_size, saved_at;
	char *chunk; /* PH_CLIENT_CHUNK_BYTES, or NULL */
	size_t chunk_n, chunk_at;
	uint64_t progress_at_ms;
};

struct prochub {
	struct ph_session s;
	struct prochub_callbacks cb;
	void *arg;
	char socket[108];
	int epoll_fd, control_fd;
	uint32_t control_events;
	uint64_t retry_at_ms; /* of the control connection, while it is down */
	uint32_t backoff_ms;
	uint64_t seed;
	struct ph_line in;
	struct ph_data data;
	uint64_t retry_after_ms; /* prochub_retry_after */
	bool leave;
	int result;
};

uint64_t ph_client_now_ms(void);
/* A non-blocking connection to the worker socket, or -errno. */
int ph_client_connect(const struct prochub *p);
void ph_client_note(struct prochub *p, const char *text);
/* Feeds an input and carries out what is wished, until nothing is left. 0 or -ENOMEM. */
int ph_client_step(struct prochub *p, const struct ph_session_input *in);

/* Begins to send or read the session's round; what was open before is closed. */
void ph_data_begin(struct prochub *p, enum ph_data_kind kind);
/* Closes; returns what it was. */
enum ph_data_kind ph_data_close(struct prochub *p);
/* Moves what can be moved now. 0 or -ENOMEM. */
int ph_data_pump(struct prochub *p);

#endif
