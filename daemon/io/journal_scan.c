#include "io/journal_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

/* a longer line is none of ours; it comes in pieces, each of them bad */
#define LINE_BYTES_MAX (PH_JOURNAL_RECORD_MAX + 2 * PH_JOURNAL_LINE_EXTRA)
#define READER_BYTES ((size_t)4 * LINE_BYTES_MAX)

struct reader {
	int fd;
	char *bytes;
	size_t start, end;
	uint64_t offset; /* in the file, of bytes[start] */
};

struct line {
	const char *bytes; /* without its newline */
	size_t n;
	bool whole; /* there is a newline */
};

struct record {
	uint64_t seq, batch;
	const char *bytes;
	size_t n;
};

static int fill(struct reader *reader)
{
	memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
	reader->end -= reader->start;
	reader->start = 0;
	for (;;) {
		ssize_t n = pread(reader->fd, reader->bytes + reader->end,
			READER_BYTES - reader->end, (off_t)(reader->offset + reader->end));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		reader->end += (size_t)n;
		return n > 0;
	}
}

/* 1 a line, 0 the end, or -errno. */
static int next_line(struct reader *reader, struct line *ret)
{
	for (;;) {
		const char *at = reader->bytes + reader->start;
		size_t n = reader->end - reader->start;
		const char *newline = memchr(at, '\n', n);
		int more = newline || n >= LINE_BYTES_MAX ? 0 : fill(reader);
		if (more < 0)
			return more;
		if (more)
			continue;
		if (!newline && !n)
			return 0;
		at = reader->bytes + reader->start;
		*ret = (struct line){at, newline ? (size_t)(newline - at) : n, newline != NULL};
		size_t taken = ret->n + (newline ? 1 : 0);
		reader->start += taken;
		reader->offset += taken;
		return 1;
	}
}

static uint32_t checksum(const struct ph_id *id, const char *bytes, size_t n)
{
	uint64_t seed;
	memcpy(&seed, id->b, sizeof seed);
	return (uint32_t)XXH3_64bits_withSeed(bytes, n, seed);
}

/* A decimal number and the space behind it; *at moves on. */
static bool take_number(const char **at, const char *end, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = *at;
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	if (p == *at || p >= end || *p != ' ')
		return false;
	*at = p + 1;
	*ret = v;
	return true;
}

static bool sum_fits(const char digits[8], uint32_t sum)
{
	char expected[9];
	(void)snprintf(expected, sizeof expected, "%08" PRIx32, sum);
	return memcmp(digits, expected, 8) == 0;
}

static bool parse_record(const struct ph_id *id, const struct line *line, struct record *ret)
{
	if (!line->whole || line->n < 9 || line->bytes[8] != ' ' ||
		!sum_fits(line->bytes, checksum(id, line->bytes + 9, line->n - 9)))
		return false;
	const char *at = line->bytes + 9, *end = line->bytes + line->n;
	if (!take_number(&at, end, &ret->seq) || !take_number(&at, end, &ret->batch) || at >= end)
		return false;
	ret->bytes = at;
	ret->n = (size_t)(end - at);
	return true;
}

static bool parse_header(const struct line *line, struct ph_journal_scan *scan)
{
	static const char magic[] = "prochub-journal 1 ";
	char text[PH_ID_TEXT_SIZE];
	const size_t head = sizeof magic - 1;
	if (!line->whole || line->n < head + 32 + 1 + 8 || memcmp(line->bytes, magic, head) != 0)
		return false;
	memcpy(text, line->bytes + head, 32);
	text[32] = '\0';
	if (ph_id_parse(text, &scan->id) || line->bytes[head + 32] != ' ')
		return false;
	const char *at = line->bytes + head + 33, *end = line->bytes + line->n;
	return take_number(&at, end, &scan->first) && take_number(&at, end, &scan->count) &&
	       end - at == 8 && scan->first > 0 &&
	       sum_fits(at, checksum(&scan->id, line->bytes, line->n - 8));
}

/*
 * Where the newline between two records is what was damaged, the second one stands intact at the
 * end of a bad line. True, and *ret is it. At most 16 places are tried.
 */
static bool find_swallowed(const struct ph_id *id, const struct line *line, struct record *ret)
{
	static const char hex[] = "0123456789abcdef";
	int tries = 0;
	for (size_t at = 1; at + 9 < line->n && tries < 16; at++) {
		const char *p = line->bytes + at;
		if (p[8] != ' ' || p[9] < '0' || p[9] > '9')
			continue;
		size_t digits = 0;
		while (digits < 8 && memchr(hex, p[digits], sizeof hex - 1))
			digits++;
		if (digits < 8)
			continue;
		const struct line rest = {p, line->n - at, line->whole};
		tries++;
		if (parse_record(id, &rest, ret))
			return true;
	}
	return false;
}

static int damaged(const struct ph_journal_scan *scan, struct ph_err *err)
{
	return ph_err_set(err, EBADMSG, "record %" PRIu64 " at byte %" PRIu64 " is damaged",
		scan->seq + 1, scan->good_end);
}

static int scan_records(struct reader *reader, ph_journal_record_fn *fn, void *arg,
	struct ph_journal_scan *scan, struct ph_err *err)
{
	struct line line;
	int r;
	while ((r = next_line(reader, &line)) > 0) {
		struct record record;
		bool intact = parse_record(&scan->id, &line, &record);
		uint64_t next = scan->seq + 1;
		if (intact && !scan->torn && record.seq == next && record.batch <= next) {
			scan->seq = next;
			scan->records++;
			scan->good_end = reader->offset;
			if (fn)
				fn(arg, record.bytes, record.n);
			continue;
		}
		scan->torn = true;
		if (!intact)
			intact = find_swallowed(&scan->id, &line, &record);
		/* its batch began behind the bad record: that one had been synced before */
		if (intact && (record.batch > next || record.seq <= next))
			return damaged(scan, err);
	}
	if (r < 0)
		return ph_err_set(err, -r, "cannot be read: %s", strerror(-r));
	return scan->records < scan->count ? damaged(scan, err) : 0;
}

int ph_journal_scan(int fd, ph_journal_record_fn *fn, void *arg, struct ph_journal_scan *ret,
	struct ph_err *err)
{
	struct ph_journal_scan scan = {0};
	struct reader reader = {.fd = fd, .bytes = malloc(READER_BYTES)};
	struct line line;
	if (!reader.bytes)
		return ph_err_set(err, ENOMEM, "out of memory");
	int r = next_line(&reader, &line);
	if (r < 0) {
		r = ph_err_set(err, -r, "cannot be read: %s", strerror(-r));
	} else if (!r || !parse_header(&line, &scan)) {
		r = ph_err_set(err, EBADMSG, "the header is damaged");
	} else {
		scan.seq = scan.first - 1;
		scan.good_end = reader.offset;
		r = scan_records(&reader, fn, arg, &scan, err);
	}
	free(reader.bytes);
	if (!r)
		*ret = scan;
	return r;
}
