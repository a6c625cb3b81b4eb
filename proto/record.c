#include "proto/record.h"
#include "proto/bus.h"

#include <errno.h>
#include <string.h>

#define X(name, word) word,
static const char *const kind_words[] = {PH_RECORDS(X) NULL};
#undef X

#define KEY(must) \
	{PH_FIELD("child", NAME, ph_record, key.child), .required = (must)}, \
		{PH_FIELD("instance", U32, ph_record, key.instance)}, \
	{ \
		PH_FIELD("replica", U32, ph_record, key.replica) \
	}

static const struct ph_field seen_rows[] = {
	KEY(true),
	{PH_FIELD("epoch", U64, ph_record, epoch)},
	{PH_FIELD("born", U64, ph_record, born_ms)},
	{PH_FIELD("stopped", BOOL, ph_record, stopped_by_wish)},
	{PH_FIELD("wishes", U32, ph_record, wishes)}, /* without: none */
	{PH_FIELD("forced", U64, ph_record, forced)},
	{PH_FIELD("peer", NAME, ph_record, peer)}, /* placement local: whose it is */
	{PH_FIELD("granted", U64, ph_record, granted)},
	{PH_FIELD("to", NAME, ph_record, to)},
	{PH_FIELD("by", NAME, ph_record, by)},
	{PH_FIELD("past", NAME, ph_record, past)},
	{0},
};

static const struct ph_field spec_rows[] = {
	KEY(true),
	{PH_FIELD("revision", U64, ph_record, revision), .required = true},
	{PH_FIELD("hash", HEX64, ph_record, hash)},
	{PH_FIELD("text", TEXT, ph_record, text)}, /* without: the child was removed */
	{0},
};

static const struct ph_field declared_rows[] = {
	KEY(true),
	{PH_FIELD("revision", U64, ph_record, revision)},
	{PH_FIELD("hash", HEX64, ph_record, hash), .required = true},
	{PH_FIELD("peer", NAME, ph_record, peer)}, /* dropped here, and that node declares it */
	{0},
};

/* A migration's step: `id` names it, the rest is what a hub that restarts must know again. */
static const struct ph_field step_rows[] = {
	{PH_FIELD("id", ID, ph_record, id), .required = true},
	KEY(false),
	{PH_FIELD("epoch", U64, ph_record, epoch)},
	{PH_FIELD("revision", U64, ph_record, revision)},
	{PH_FIELD("peer", NAME, ph_record, peer)},
	{PH_FIELD("asked", BOOL, ph_record, asked)},
	{PH_FIELD("overlap", BOOL, ph_record, overlap)},
	{PH_FIELD("ok", BOOL, ph_record, ok)},
	{PH_FIELD("result", ENUM, ph_record, result), .words = ph_words_result},
	{PH_FIELD("reason", TEXT, ph_record, text)},
	{0},
};

/* The view in force, and the life of this node that it lets in, or let in last. */
static const struct ph_field view_rows[] = {
	{PH_FIELD("number", U64, ph_record, epoch), .required = true},
	{PH_FIELD("seat", U64, ph_record, revision)},
	{PH_FIELD("value", TEXT, ph_record, text)},
	{0},
};

static const struct ph_field ballot_rows[] = {
	{PH_FIELD("number", U64, ph_record, epoch), .required = true},
	{PH_FIELD("promised", HEX64, ph_record, hash)},
	{PH_FIELD("accepted", U64, ph_record, revision)},
	{PH_FIELD("value", TEXT, ph_record, text)},
	{0},
};

static const struct ph_field draining_rows[] = {
	{PH_FIELD("ok", BOOL, ph_record, ok), .required = true},
	{0},
};

/* Something is (or is not any more) so of a node, as it was in that life. */
static const struct ph_field node_rows[] = {
	{PH_FIELD("node", NAME, ph_record, peer), .required = true},
	{PH_FIELD("incarnation", U64, ph_record, epoch)},
	{PH_FIELD("address", TEXT, ph_record, text)},
	{PH_FIELD("ok", BOOL, ph_record, ok), .required = true},
	{0},
};

static const struct ph_field *const tables[PH_RECORD_COUNT] = {
	[PH_RECORD_SEEN] = seen_rows,
	[PH_RECORD_SPEC] = spec_rows,
	[PH_RECORD_DECLARED] = declared_rows,
	[PH_RECORD_BEGUN] = step_rows,
	[PH_RECORD_FINAL] = step_rows,
	[PH_RECORD_VOID] = step_rows,
	[PH_RECORD_COMMIT] = step_rows,
	[PH_RECORD_DONE] = step_rows,
	[PH_RECORD_PREPARED] = step_rows,
	[PH_RECORD_ACTIVE] = step_rows,
	[PH_RECORD_NEVER] = step_rows,
	[PH_RECORD_FORGET] = step_rows,
	[PH_RECORD_VIEW] = view_rows,
	[PH_RECORD_BALLOT] = ballot_rows,
	[PH_RECORD_CONFLICT] = step_rows,
	[PH_RECORD_LOST] = draining_rows,
	[PH_RECORD_DRAINING] = draining_rows,
	[PH_RECORD_FORGOTTEN] = node_rows,
	[PH_RECORD_CLASHED] = node_rows,
};

const char *ph_record_word(enum ph_record_kind kind)
{
	return (unsigned)kind < PH_RECORD_COUNT ? kind_words[kind] : "";
}

static int decode(struct ph_doc *doc, struct ph_record *record, struct ph_err *err)
{
	const char *word = ph_doc_text(doc, "op");
	int kind = word ? ph_codec_word(kind_words, word) : -1;
	if (kind < 0 || !tables[kind])
		return ph_err_set(err, EBADMSG, "%s kind of record", word ? "unknown" : "no");
	int error = ph_codec_decode(doc, tables[kind], record, err);
	record->kind = (enum ph_record_kind)kind;
	if (error)
		ph_err_prefix(err, "%s", kind_words[kind]);
	return error;
}

int ph_record_decode(const char *line, size_t n, struct ph_record *ret, struct ph_doc **ret_doc,
	struct ph_err *err)
{
	struct ph_doc *doc = NULL;
	struct ph_record record;
	if (n > PH_RECORD_MAX)
		return ph_err_set(err, EMSGSIZE, "a record of %zu bytes is too long", n);
	int error = ph_doc_parse(line, n, &doc, err);
	if (error)
		return error;
	memset(&record, 0, sizeof record);
	error = decode(doc, &record, err);
	if (error) {
		ph_doc_free(doc);
		return error;
	}
	*ret = record;
	*ret_doc = doc;
	return 0;
}

char *ph_record_encode(const struct ph_record *record, size_t *ret_n)
{
	if ((unsigned)record->kind >= PH_RECORD_COUNT || !tables[record->kind]) {
		errno = EINVAL;
		return NULL;
	}
	return ph_codec_write(
		tables[record->kind], record, kind_words[record->kind], 0, PH_RECORD_MAX, ret_n);
}
