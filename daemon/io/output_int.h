/*
 * output_int.h - what the files of output share; for nobody else.
 *
 * output.c: FIFOs, turns, orders; output_sink.c: where bytes go; output_watch.c: who asks for
 * lines.
 */
#ifndef PH_IO_OUTPUT_INT_H
#define PH_IO_OUTPUT_INT_H

#define HASH_FUNCTION(bytes, n, ret) \
	((ret) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, (bytes), (n))))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#pragma GCC diagnostic pop
#include <utlist.h>

#include "io/journald.h"
#include "io/logfile.h"
#include "io/output.h"
#include "io/relay.h"

struct ph_output_sink {
	enum ph_output_to to;
	struct ph_logfile file;
	struct ph_relay relay;
	unsigned users;
	bool shared_told;		    /* that it is the file of two */
	const struct ph_output_fifo *owner; /* is in the middle of a line */
	char owed[4];			    /* to be written before anything else */
	size_t n_owed;
	int failed;	     /* errno that was told; 0: it works */
	int lost;	     /* errno for which what comes is lost */
	unsigned pause_ms;   /* it took nothing for so long */
	uint64_t not_before; /* it is not tried again before */
	struct ph_output_sink *prev, *next;
};

/* The lines of one instance that are remembered. */
struct ph_output_memory {
	struct ph_key key;
	struct ph_outring ring;
	unsigned fifos; /* that are open */
	char *file;	/* where older ones are, or NULL */
	unsigned keep;
	UT_hash_handle hh;
};

struct ph_output_fifo {
	struct ph_output *output;
	struct ph_key key;
	int fd;
	char *path;
	enum ph_output_stream stream;
	struct ph_output_sink *sink;
	struct ph_output_memory *memory;
	size_t skip;	     /* bytes at its head that are remembered already */
	size_t partial;	     /* bytes without newline at the last look */
	bool unseen;	     /* ... which were not all that there was */
	uint64_t not_before; /* is not looked at before, whatever happens */
	uint64_t look_at;    /* ... before, unless something happens */
	unsigned pause_ms;
	bool queued, ended;		    /* ended: it is given up */
	struct ph_output_fifo *prev, *next; /* all */
	struct ph_output_fifo *run_next;    /* those to be looked at, in their order */
};

struct ph_output_watch {
	uint64_t number;
	struct ph_output_filter filter;
	bool follow;
	uint64_t cursor; /* seq of the newest line that it got */
	uint64_t unpaid; /* bytes on their way */
	size_t open;	 /* as it was told */
	struct ph_output_watch *prev, *next;
};

struct ph_output {
	struct ph_name node;
	int epoll, wake, peek[2];
	char *buffer; /* PH_OUTPUT_TURN + 1 */
	struct ph_output_sink out, err, journal, *files;
	struct ph_journald journald;
	bool journal_told; /* that nobody is there */
	bool made_told;	   /* that nothing can be compressed */
	struct ph_output_fifo *fifos, *head, **tail;
	size_t n_fifos;
	uint64_t now_ms;
	struct ph_output_memory *memories;
	size_t bytes; /* of all rings */
	uint64_t seq;
	bool changed; /* FIFOs have come or gone */
	struct ph_output_watch *watches;
	struct ph_output_news *news, **news_tail;
};

/* ---- output.c */
void ph_output_note(struct ph_output *output, bool bad, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* An empty one at the end of the list, or NULL. */
struct ph_output_news *ph_output_tell(struct ph_output *output, enum ph_output_news_kind kind);

/* ---- output_sink.c */
PH_MUST_CHECK int ph_output_sinks_init(
	struct ph_output *output, const struct ph_output_settings *settings);
void ph_output_sinks_fini(struct ph_output *output);
/* Where the FIFO of that order goes. Takes order->file_fd. */
struct ph_output_sink *ph_output_sink_get(struct ph_output *output, struct ph_output_order *order);
/* The FIFO has come to go there: two that are not one instance should not have one file. */
void ph_output_sink_met(struct ph_output *output, const struct ph_output_fifo *fifo);
void ph_output_sink_drop(struct ph_output *output, struct ph_output_fifo *fifo);
/* Bytes of whole lines, none too long; how many went, or -errno. */
PH_MUST_CHECK ssize_t ph_output_sink_lines(
	struct ph_output_fifo *fifo, const char *bytes, size_t n);
/* A piece that ends without a newline. */
PH_MUST_CHECK ssize_t ph_output_sink_piece(
	struct ph_output_fifo *fifo, const struct ph_piece *piece);
/* It could not take anything: told once; it is tried again a while later. */
void ph_output_sink_failed(struct ph_output_fifo *fifo, int error);
void ph_output_sink_works(struct ph_output_fifo *fifo);
/* FIFOs of that key which go to a file go by the order from now on. */
void ph_output_sink_options(struct ph_output *output, struct ph_output_order *order);
void ph_output_files_look(struct ph_output *output);
void ph_output_compressed(struct ph_output *output, const struct ph_output_order *order);

/* ---- output_watch.c */
struct ph_output_memory *ph_output_memory_get(struct ph_output *output, const struct ph_key *key);
void ph_output_memories_free(struct ph_output *output);
void ph_output_remember(struct ph_output_fifo *fifo, const struct ph_piece *piece);
void ph_output_watch_order(struct ph_output *output, const struct ph_output_order *order);
/* Gives watches what is new. */
void ph_output_watches_serve(struct ph_output *output);
void ph_output_watches_free(struct ph_output *output);

#endif
