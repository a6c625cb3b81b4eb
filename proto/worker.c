#include "proto/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define F(word, kind, member) PH_FIELD(word, kind, ph_wmsg, member)
#define HAS(member) PH_HAS(ph_wmsg, member)

#define CODE_MAX 63   /* bytes of a code or a phase */
#define PREFIX_MAX 63 /* bytes of a prefix of names */

/* clang-format off */

/* ---- words */

static const char *const cap_words[] = {"handover", "ask", "rounds", "redirect", "role", NULL};
static const char *const role_words[] = {"", "active", "standby", NULL};
static const char *const standing_words[] = {
	"", "sending", "frozen", "loading", "loaded", "committed", NULL};
static const char *const mode_words[] = {"exclusive", "overlap", NULL};
static const char *const refuse_words[] = {"busy", "never", "incompatible", NULL};
static const char *const reject_words[] = {"format", "version", "too_large", "no_memory", NULL};

/* ---- rows that many ops have */

/* A worker may leave the epoch out: the id says it all. The daemon always writes it. */
#define R_MIGRATION_OF_WORKER \
	{F("id", ID, id), .required = true}, {F("epoch", U64, epoch)}
#define R_MIGRATION_OF_DAEMON \
	{F("id", ID, id), .required = true}, {F("epoch", U64, epoch), .required = true}
#define R_ROUND {F("round", U32, round), .always = true}
#define R_REQ {F("req", REF, req), .required = true, HAS(has_req)}
#define R_RE {F("re", REF, re), .required = true, HAS(has_re)}
#define R_CHILD {F("child", NAME, child), .required = true}
#define R_FORMAT {F("format", STR, format), .required = true}
#define R_VERSION {F("version", U64, version), .required = true}
#define R_REASON {F("reason", TEXT, reason)}
#define R_TEXT {F("text", TEXT, text)}
#define R_META {F("meta", JSON_OBJ, meta), .max = PH_META_MAX}
#define R_ROLE {F("role", ENUM, role), .words = role_words, .required = true}
#define R_EPOCH {F("epoch", U64, epoch), .required = true}
#define R_TOKEN {F("token", HEX, token), .required = true}
#define R_BYTES_ESTIMATE {F("bytes_estimate", U64, bytes_estimate), HAS(has_bytes_estimate)}
#define R_MORE {F("more", BOOL, more)}
#define R_STALE {F("stale", BOOL, stale)}
#define R_INSTANCES {F("instances", JSON_LIST, instances), .required = true}
#define R_END {0}

/* ---- nested objects; their members are the message's own */

static const struct ph_field accepts_fields[] = {
	{PH_FIELD("format", STR, ph_accepts, format), .required = true},
	{PH_FIELD("min", U64, ph_accepts, min), .required = true},
	{PH_FIELD("max", U64, ph_accepts, max), .required = true},
	R_END,
};
static const struct ph_field state_fields[] = {
	R_FORMAT, R_VERSION,
	{F("accepts", ARRAY, accepts), PH_COUNT(ph_wmsg, n_accepts), .max = PH_ACCEPTS_MAX,
		.shape = PH_SHAPE_TUPLE, .sub = accepts_fields,
		.element_size = sizeof(struct ph_accepts)},
	R_END,
};
static const struct ph_field standing_handover_fields[] = {
	{F("id", ID, standing_id), .required = true},
	{F("state", ENUM, standing), .words = standing_words, .required = true},
	R_END,
};
static const struct ph_field standing_fields[] = {
	{F("role", ENUM, standing_role), .words = role_words, .required = true},
	{F("epoch", U64, standing_epoch), .required = true},
	{PH_FIELD_HERE("handover", standing_handover_fields)},
	R_END,
};
static const struct ph_field migration_fields[] = {
	{F("id", ID, migration_id), .required = true},
	{F("epoch", U64, migration_epoch), .required = true},
	{F("phase", TEXT, phase), .required = true, .max = CODE_MAX},
	R_END,
};
static const struct ph_field target_fields[] = {
	{F("node", NAME, target), .required = true},
	R_END,
};
static const struct ph_field startup_fields[] = {
	{F("ok", BOOL, startup_ok), .required = true},
	{F("node", NAME, target), .required = true},
	{F("instance", U32, instance), .always = true, HAS(has_instance)},
	R_END,
};
static const struct ph_field new_fields[] = {
	{F("node", NAME, target), .required = true},
	R_META,
	R_END,
};
static const struct ph_field winner_fields[] = {
	{F("node", NAME, target), .required = true},
	{F("epoch", U64, winner_epoch), .required = true},
	R_END,
};

/* ---- the ops: FIELDS(name, rows) */

#define FIELDS(name, ...) static const struct ph_field name##_fields[] = {__VA_ARGS__, R_END}

FIELDS(hello,
	{F("v", LISTS, v1), .max = 1, .required = true}, R_TOKEN,
	{F("caps", FLAGS, caps), .words = cap_words},
	{PH_FIELD_HERE("state", state_fields), HAS(has_state)},
	{PH_FIELD_HERE("standing", standing_fields), HAS(has_standing)});
FIELDS(welcome,
	{F("v", IS, v1), .max = 1, .required = true},
	{F("node", NAME, node), .required = true}, R_CHILD,
	{F("instance", U32, instance), .required = true, HAS(has_instance)}, R_EPOCH, R_ROLE,
	{PH_FIELD_HERE("migration", migration_fields), HAS(has_migration)});
FIELDS(ready, R_META);
FIELDS(meta, {F("meta", JSON_OBJ, meta), .max = PH_META_MAX, .required = true});
FIELDS(status, {F("text", TEXT, text), .required = true});
static const struct ph_field nothing_fields[] = {R_END};
FIELDS(ping, R_REQ);
FIELDS(pong, R_RE);
FIELDS(role, R_ROLE, R_EPOCH);
FIELDS(lookup, R_REQ, R_CHILD, {F("instance", U32, instance), HAS(has_instance)});
FIELDS(found, R_RE, R_CHILD, R_INSTANCES, R_MORE, R_STALE);
FIELDS(watch, R_REQ,
	{F("child", NAME, child)}, {F("prefix", TEXT, prefix), .max = PREFIX_MAX});
FIELDS(changed,
	{F("re", REF, re), HAS(has_re)}, R_CHILD, R_INSTANCES, R_MORE, R_STALE);
FIELDS(stop,
	{F("grace_ms", U64, grace_ms), .required = true}, R_REASON);
FIELDS(error,
	{F("re", REF, re), HAS(has_re)},
	{F("code", TEXT, code), .required = true, .max = CODE_MAX}, R_TEXT);
FIELDS(data, R_TOKEN, {F("id", ID, id), .required = true}, R_ROUND);
FIELDS(handover_ask, R_MIGRATION_OF_DAEMON,
	{PH_FIELD_HERE("target", target_fields), .required = true});
FIELDS(handover_start, R_MIGRATION_OF_DAEMON,
	{PH_FIELD_HERE("startup", startup_fields), .required = true},
	{F("mode", ENUM, overlap), .words = mode_words, .required = true},
	{F("max_bytes", U64, max_bytes), .required = true},
	{F("timeout_ms", U64, timeout_ms), .required = true},
	{F("downtime_ms", U64, downtime_ms), .required = true},
	{F("rounds_max", U32, rounds_max), .required = true});
/* without a format: that of its hello */
FIELDS(handover_accept, R_MIGRATION_OF_WORKER, R_BYTES_ESTIMATE, {F("format", STR, format)},
	{F("version", U64, version)});
FIELDS(handover_refuse, R_MIGRATION_OF_WORKER,
	{F("code", TEXT, code), .words = refuse_words, .required = true},
	{F("retry_after_ms", U64, retry_after_ms)});
FIELDS(progress, R_MIGRATION_OF_WORKER, R_ROUND,
	{F("bytes", U64, bytes), .required = true}, {F("dirty_bytes", U64, dirty_bytes)});
FIELDS(state_end, R_MIGRATION_OF_WORKER, R_ROUND,
	{F("bytes", U64, bytes), .required = true}, {F("final", BOOL, final), .always = true});
FIELDS(next_round, R_MIGRATION_OF_DAEMON, {F("round", U32, round), .required = true});
FIELDS(freeze, R_MIGRATION_OF_DAEMON, {F("deadline_ms", U64, deadline_ms), .required = true});
FIELDS(resume, R_MIGRATION_OF_DAEMON, R_REASON);
FIELDS(of_worker, R_MIGRATION_OF_WORKER);
FIELDS(committed, R_MIGRATION_OF_DAEMON,
	{PH_FIELD_HERE("new", new_fields), .required = true},
	{F("retention_ms", U64, retention_ms), .required = true});
FIELDS(conflict, R_MIGRATION_OF_DAEMON,
	{PH_FIELD_HERE("winner", winner_fields), .required = true});
FIELDS(handover, R_MIGRATION_OF_DAEMON,
	{F("from", NAME, from), .required = true}, R_FORMAT, R_VERSION, R_BYTES_ESTIMATE,
	{F("max_bytes", U64, max_bytes), .required = true}, R_ROUND);
FIELDS(handover_reject, R_MIGRATION_OF_WORKER,
	{F("code", TEXT, code), .words = reject_words, .required = true}, R_TEXT);
FIELDS(handover_loaded, R_MIGRATION_OF_WORKER, R_ROUND,
	{F("bytes", U64, bytes), .required = true}, {F("digest", HEX64, digest), HAS(has_digest)});
FIELDS(activate, {F("id", ID, id)}, R_EPOCH);
FIELDS(abort, {F("id", ID, id)}, {F("epoch", U64, epoch)}, R_REASON);

struct op {
	const char *word;
	enum ph_wdir from;
	const struct ph_field *fields;
};

static const struct op ops[PH_WOP_COUNT] = {
	[PH_W_NONE] = {"", 0, nothing_fields},
#define OP(name, from, fields) [PH_W_##name] = {NULL, PH_FROM_##from, fields##_fields}
	OP(HELLO, WORKER, hello),
	OP(WELCOME, DAEMON, welcome),
	OP(READY, WORKER, ready),
	OP(META, WORKER, meta),
	OP(STATUS, WORKER, status),
	OP(WATCHDOG, WORKER, nothing),
	OP(PING, EITHER, ping),
	OP(PONG, EITHER, pong),
	OP(ROLE, DAEMON, role),
	OP(LOOKUP, WORKER, lookup),
	OP(FOUND, DAEMON, found),
	OP(WATCH, WORKER, watch),
	OP(UNWATCH, WORKER, watch),
	OP(CHANGED, DAEMON, changed),
	OP(STOP, DAEMON, stop),
	OP(ERROR, EITHER, error),
	OP(DATA, WORKER, data),
	OP(HANDOVER_ASK, DAEMON, handover_ask),
	OP(HANDOVER_START, DAEMON, handover_start),
	OP(HANDOVER_ACCEPT, WORKER, handover_accept),
	OP(HANDOVER_REFUSE, WORKER, handover_refuse),
	OP(PROGRESS, WORKER, progress),
	OP(STATE_END, EITHER, state_end),
	OP(NEXT_ROUND, DAEMON, next_round),
	OP(FREEZE, DAEMON, freeze),
	OP(RESUME, DAEMON, resume),
	OP(RESUMED, WORKER, of_worker),
	OP(COMMITTED, DAEMON, committed),
	OP(RETENTION_HANDLED, WORKER, of_worker),
	OP(CONFLICT, DAEMON, conflict),
	OP(HANDOVER, DAEMON, handover),
	OP(HANDOVER_REJECT, WORKER, handover_reject),
	OP(HANDOVER_LOADED, WORKER, handover_loaded),
	OP(ACTIVATE, DAEMON, activate),
	OP(ABORT, DAEMON, abort),
#undef OP
};

static const char *const words[PH_WOP_COUNT + 1] = {
#define X(name, word) [PH_W_##name] = word,
	PH_WOPS(X)
#undef X
};
/* clang-format on */

const char *ph_wmsg_word(enum ph_wop op)
{
	return words[op];
}

enum ph_wdir ph_wmsg_from(enum ph_wop op)
{
	return ops[op].from;
}

const struct ph_field *ph_wmsg_fields(enum ph_wop op)
{
	return ops[op].fields;
}

/* What a table cannot say. */
static int check_rest(const struct ph_wmsg *m, struct ph_err *err)
{
	if ((m->op == PH_W_WATCH || m->op == PH_W_UNWATCH) && !m->child.s[0] == !m->prefix)
		return ph_err_set(err, EBADMSG, "expected either child or prefix");
	for (size_t i = 0; i < m->n_accepts; i++) {
		if (m->accepts[i].min > m->accepts[i].max)
			return ph_err_set(
				err, EBADMSG, "state.accepts[%zu]: expected min of at most max", i);
	}
	for (const struct ph_field *f = ops[m->op].fields; f->name; f++) {
		if (f->type == PH_F_ID && f->required && ph_id_none(&m->id))
			return ph_err_set(err, EBADMSG, "id: expected one that is not all zero");
	}
	return 0;
}

static int find_op(
	const struct ph_doc *doc, enum ph_wdir from, enum ph_wop *ret, struct ph_err *err)
{
	const char *word = ph_doc_text(doc, "op");
	if (!word)
		return ph_err_set(err, EBADMSG, "op: expected a text");
	int op = *word ? ph_codec_word(words + 1, word) + 1 : 0;
	*ret = (enum ph_wop)op;
	if (!op)
		return ph_err_set(err, ENOMSG, "unknown op \"%.63s\"", word);
	if (!(ops[op].from & from))
		return ph_err_set(err, EPROTO, "%s: not a message that a %s sends", word,
			from == PH_FROM_WORKER ? "worker" : "daemon");
	return 0;
}

/* The number of a request that is not understood: to be answered. */
static int read_req(struct ph_doc *doc, struct ph_wmsg *ret, struct ph_err *err)
{
	static const struct ph_field req_fields[] = {{F("req", REF, req), HAS(has_req)}, R_END};
	return ph_codec_decode(doc, req_fields, ret, err);
}

int ph_wmsg_decode(const char *line, size_t n, enum ph_wdir from, struct ph_wmsg *ret,
	struct ph_doc **ret_doc, struct ph_err *err)
{
	struct ph_doc *doc = NULL;
	struct ph_wmsg m;
	memset(&m, 0, sizeof m);
	int error = ph_doc_parse(line, n, &doc, err);
	if (error)
		return error;
	error = find_op(doc, from, &m.op, err);
	if (error == -ENOMSG && read_req(doc, &m, err))
		error = -EBADMSG;
	else if (error == -ENOMSG || error == -EPROTO)
		*ret = m;
	if (!error) {
		error = ph_codec_decode(doc, ops[m.op].fields, &m, err);
		if (!error)
			error = check_rest(&m, err);
		if (error == -EBADMSG)
			ph_err_prefix(err, "%s", words[m.op]);
	}
	if (error) {
		ph_doc_free(doc);
		return error;
	}
	*ret = m;
	*ret_doc = doc;
	return 0;
}

char *ph_wmsg_encode(const struct ph_wmsg *msg, size_t *ret_n)
{
	struct ph_err err;
	if (msg->op <= PH_W_NONE || msg->op >= PH_WOP_COUNT || check_rest(msg, &err)) {
		errno = EINVAL;
		return NULL;
	}
	return ph_codec_write(ops[msg->op].fields, msg, words[msg->op], '\n', PH_LINE_MAX, ret_n);
}
