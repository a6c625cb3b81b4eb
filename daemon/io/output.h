/*
 * output.h - what children write: from their FIFOs to files, to the journal, to the daemon's own
 * output, and to whoever asks for the last lines.
 *
 * Decides when bytes leave a FIFO: only once they are where they belong, so that whatever kills
 * the daemon they are in one of the two. A file gets them by splice(): none is lost or doubled. The
 * daemon's own output gets them so where it is a pipe; elsewhere, and in the journal, what was
 * being written at that moment may be there twice. What cannot be written stays in the FIFO, and
 * its writer waits there.
 * It must not know processes, configuration, control connections or other nodes. Not for the loop:
 * it has a thread of its own (output_thread.h), and takes orders and gives news as values.
 * Always: one FIFO gets at most PH_OUTPUT_TURN bytes before the others have had theirs; what is
 * remembered is bounded (PH_OUTPUT_RING a child, PH_OUTPUT_RINGS together), and a reader of lines
 * that is slow misses some, and is told so; writers never wait for readers of lines.
 * Tested in tests/unit/test_output.c.
 */
#ifndef PH_IO_OUTPUT_H
#define PH_IO_OUTPUT_H

#include "base/types.h"
#include "io/outline.h"

#define PH_OUTPUT_TURN (128u << 10)
#define PH_OUTPUT_RING (1u << 20)
#define PH_OUTPUT_RINGS (32u << 20)
#define PH_OUTPUT_TAIL_LINES 10000u	/* of one child, for one who asks */
#define PH_OUTPUT_TAIL_BYTES (1u << 20) /* PH_LOGFILE_PLAIN_BYTES: files have as much */
#define PH_OUTPUT_TAILS (4u << 20)	/* of all children, for one who asks; more are left out */
#define PH_OUTPUT_BATCH (128u << 10)	/* bytes of lines on their way to one who follows */

enum ph_output_to {
	PH_OUTPUT_RELAY, /* standard output or error of the daemon */
	PH_OUTPUT_JOURNAL,
	PH_OUTPUT_FILE
};

/* Whose lines: one instance, or all of a child. */
struct ph_output_filter {
	struct ph_name child;
	bool has_instance;
	uint32_t instance;
};

enum ph_output_order_kind {
	PH_OUTPUT_OPEN,	      /* a FIFO, to be read until nobody can write to it any more */
	PH_OUTPUT_WATCH,      /* the last lines, and with `follow` those that come */
	PH_OUTPUT_CREDIT,     /* `bytes` of that watch were taken */
	PH_OUTPUT_UNWATCH,    /* nobody is interested any more */
	PH_OUTPUT_OPTIONS,    /* `key`, `file`, `size`, `keep`: of what goes to a file already */
	PH_OUTPUT_REOPEN,     /* somebody may have moved files away */
	PH_OUTPUT_COMPRESSED, /* `file`, `ok`, `made` */
};

struct ph_output_order {
	struct ph_output_order *next;
	enum ph_output_order_kind kind;
	/* OPEN */
	struct ph_key key;
	int fd;	    /* that reads, without waiting; taken */
	char *fifo; /* removed at its end; taken */
	enum ph_output_stream stream;
	enum ph_output_to to;
	char *file;  /* FILE, OPTIONS, COMPRESSED: its path; taken */
	int file_fd; /* FILE: open already, or -1; taken */
	uint64_t size;
	unsigned keep;
	/* WATCH and what is about one */
	uint64_t watch; /* number, the asker's */
	struct ph_output_filter filter;
	uint32_t lines;	 /* the last ones of each instance */
	uint64_t age_ms; /* not 0: those of this time instead */
	bool follow;
	uint64_t bytes;
	/* COMPRESSED */
	bool ok;
	char *made; /* taken */
};

struct ph_output_line {
	struct ph_output_line *next;
	struct ph_key key;
	uint64_t at_ms; /* CLOCK_BOOTTIME; 0: unknown, it was read from a file */
	enum ph_output_stream stream;
	bool cut, gap; /* gap: lines before it are missing */
	size_t n;
	char text[]; /* n bytes and a NUL; a NUL within it is a '?' */
};

enum ph_output_news_kind {
	PH_OUTPUT_NOTE,	   /* a line for the log: `bad`, `text` */
	PH_OUTPUT_LINES,   /* of a watch */
	PH_OUTPUT_COMPRESS /* an old file of `text`: `fd` reads it, since its name may change, and
			      `made_fd` writes what is to be in its place */
};

struct ph_output_news {
	struct ph_output_news *next;
	enum ph_output_news_kind kind;
	bool bad;
	char *text;
	int fd, made_fd; /* or -1 */
	/* LINES */
	uint64_t watch;
	struct ph_output_line *lines;
	uint64_t bytes; /* of credit that they cost */
	size_t open;	/* FIFOs of the filter that are open still */
	bool last;	/* all lines there were at the start; one that does not follow ends here */
	bool more;	/* ... or nearly all: there were too many */
};
void ph_output_news_free(struct ph_output_news *news); /* the whole list; NULL is fine */
/* A zeroed order without descriptors. NULL without memory. */
struct ph_output_order *ph_output_order_new(enum ph_output_order_kind kind);
void ph_output_order_free(struct ph_output_order *order);

struct ph_output_settings {
	struct ph_name node;
	int out, err;	     /* of the daemon */
	const char *journal; /* path of its socket */
};

struct ph_output;
/* Errors: -ENOMEM, -errno of what it needs. `settings` is copied. */
PH_MUST_CHECK int ph_output_new(const struct ph_output_settings *settings, struct ph_output **ret);
void ph_output_free(struct ph_output *output);
/* Carries it out; takes it. */
void ph_output_order(struct ph_output *output, struct ph_output_order *order);
/* Waits for something to happen for at most `timeout_ms` (-1: for ever), and does one turn. */
void ph_output_pump(struct ph_output *output, int timeout_ms);
/* What has come of it since, oldest first; the caller's. */
struct ph_output_news *ph_output_news(struct ph_output *output);
/* Makes a pump in another thread return. */
void ph_output_wake(struct ph_output *output);
size_t ph_output_open_count(const struct ph_output *output);

#endif
