/*
 * codec.h - strict JSON to a struct and back, by a table of fields.
 *
 * Decides how a JSON object of the wire, the bus and the journal becomes a C struct: a row a
 * field, the same row for both directions. Strict: a wrong type, a number out of range, a missing
 * required field, a key that stands twice, U+0000, invalid UTF-8 and a whole number of 2^53 or
 * more are errors that name the field and what was expected. Unknown fields are ignored.
 * It knows no message: the tables are those of proto/worker.c and of the daemon's bus and journal.
 *
 * Whatever a decoded struct points to lives in one struct ph_doc, freed by one call.
 *
 * A table is an array of rows that ends with a row whose name is NULL:
 *
 *	static const struct ph_field member_fields[] = {
 *		{PH_FIELD("name", NAME, member, name), .required = true},
 *		{PH_FIELD("weight", NUM, member, weight)},
 *		{PH_FIELD("slot", U32, member, slot), .max = 0xffffff, PH_HAS(member, has_slot)},
 *		{PH_FIELD("state", ENUM, member, state), .words = state_words, .required = true},
 *		{0},
 *	};
 *	{PH_FIELD("members", LIST, view, members), PH_COUNT(view, n_members), .max = 1024,
 *		.sub = member_fields, .element_size = sizeof(struct member)},
 *
 * Tests: tests/unit/test_codec.c.
 */
#ifndef PH_PROTO_CODEC_H
#define PH_PROTO_CODEC_H

#include "base/err.h"
#include "base/types.h"

#define PH_CODEC_WHOLE_MAX ((UINT64_C(1) << 53) - 1) /* every language's number holds it */

enum ph_ftype {
	PH_F_NONE,
	PH_F_BOOL,     /* bool */
	PH_F_U32,      /* whole number into an unsigned member of 1, 2, 4 or 8 bytes, by its size */
	PH_F_U64,      /* the same; below 2^53 */
	PH_F_I64,      /* int64_t, above -2^53 and below 2^53 */
	PH_F_NUM,      /* double, finite */
	PH_F_NAME,     /* struct ph_name, checked by ph_name_valid; empty means absent */
	PH_F_STR,      /* char[N]: at most N-1 bytes; empty means absent */
	PH_F_HEX,      /* char[N]: exactly N-1 lower-case hex digits; empty means absent */
	PH_F_TEXT,     /* const char *, in the document; NULL means absent. `words`: one of these.
			  Encoding cuts a text of more than `max` bytes at a character's end */
	PH_F_JSON_OBJ, /* const char *: an object carried as compact text; NULL means absent */
	PH_F_JSON_LIST, /* const char *: a list carried as compact text; NULL means absent */
	PH_F_REF,	/* struct ph_ref: any number, or a text; at most PH_REF_MAX bytes of JSON */
	PH_F_ID,	/* struct ph_id, 32 hex digits; all zero means absent */
	PH_F_HEX64,	/* uint64_t as 16 hex digits */
	PH_F_ENUM,	/* a word of `words` into its index: int, enum or (two words) bool.
			   A word "" has no text: as a value it means absent */
	PH_F_FLAGS,	/* list of words into bits of uint32_t; unknown words are ignored */
	PH_F_LISTS,	/* list of whole numbers into bool: is `max` among them? */
	PH_F_IS,	/* a whole number into bool: is it `max`? */
	PH_F_OBJ,	/* object; the offsets of `sub` count from this row's offset */
	PH_F_LIST,	/* list into a pointer (elements in the document) and a count */
	PH_F_ARRAY,	/* list into an inline array of at most `max` elements, and a count */
};

/* How an element of a LIST or ARRAY looks on the wire. */
enum ph_shape {
	PH_SHAPE_OBJECT, /* {"a":1,"b":2} by `sub` */
	PH_SHAPE_TUPLE,	 /* [1,2]: the rows of `sub` in their order, all of them */
	PH_SHAPE_BARE,	 /* a plain value: `sub` has one row (its name is for messages only) */
};

/*
 * A row. Use PH_FIELD, PH_HAS and PH_COUNT to fill it; what is not named is zero.
 *
 * Decoding an absent optional field leaves its member alone (the caller zeroes the struct first)
 * and its has-flag false. Encoding leaves out an optional field that is absent: has-flag false
 * or, where the row has no flag, zero, empty, NULL or an object without content. `always` writes
 * it all the same (not possible for NULL texts and zero ids). A required one is always written.
 */
struct ph_field {
	const char *name;
	enum ph_ftype type;
	size_t offset, size;	     /* of the member */
	size_t has_at;		     /* offset + 1 of a bool that says present; 0: no flag */
	size_t count_at, count_size; /* LIST, ARRAY: offset + 1 and size (4, 8) of the count */
	bool required;
	bool always;
	uint64_t max; /* largest number, most bytes of a text, most elements; 0: the type's limit */
	enum ph_shape shape;
	const struct ph_field *sub; /* OBJ, LIST, ARRAY */
	size_t element_size;	    /* LIST, ARRAY */
	const char *const *words;   /* ENUM, FLAGS, TEXT: ends with NULL */
};

/* `st` is the struct's tag. For an OBJ whose fields land in the same struct: PH_FIELD_HERE. */
#define PH_FIELD(word, kind, st, member) \
	.name = (word), .type = PH_F_##kind, .offset = offsetof(struct st, member), \
	.size = sizeof(((struct st *)0)->member)
#define PH_FIELD_HERE(word, fields) .name = (word), .type = PH_F_OBJ, .sub = (fields)
#define PH_HAS(st, member) .has_at = offsetof(struct st, member) + 1
#define PH_COUNT(st, member) \
	.count_at = offsetof(struct st, member) + 1, .count_size = sizeof(((struct st *)0)->member)

/* A parsed object and everything that structs decoded from it point to. */
struct ph_doc;

/*
 * Parses `n` bytes as one JSON object (white space around it is allowed).
 * -EBADMSG: not one JSON object, or one of the things named above; -ENOMEM.
 * The caller frees the document with ph_doc_free(), which takes NULL too.
 */
PH_MUST_CHECK int ph_doc_parse(
	const char *text, size_t n, struct ph_doc **ret_doc, struct ph_err *err);
void ph_doc_free(struct ph_doc *doc);

/* `size` zeroed bytes, aligned for any type, that live as long as the document; NULL: no memory. */
void *ph_doc_alloc(struct ph_doc *doc, size_t size);

/* The text of a top-level field, for dispatch by "op"; NULL where it is absent or no text. */
const char *ph_doc_text(const struct ph_doc *doc, const char *name);

/*
 * Fills the members that `table` names. The caller zeroes `ret` first; texts and lists in it
 * belong to `doc`. -EBADMSG with a sentence; -ENOMEM. After an error `ret` is half filled and
 * must not be used.
 */
PH_MUST_CHECK int ph_codec_decode(
	struct ph_doc *doc, const struct ph_field *table, void *ret, struct ph_err *err);

/* ph_doc_parse and ph_codec_decode in one; the document is the caller's only on success. */
PH_MUST_CHECK int ph_codec_read(const char *text, size_t n, const struct ph_field *table, void *ret,
	struct ph_doc **ret_doc, struct ph_err *err);

/*
 * Compact JSON of `from` by `table`, with `"op":op` in front unless `op` is NULL, and `end` (a
 * byte such as '\n', or 0 for none) behind it; then a NUL that does not count.
 * Invalid UTF-8 in texts is written as U+FFFD, so text never makes it fail.
 * Returns memory that the caller frees and its length. NULL with errno: EMSGSIZE longer than
 * `max_bytes` (0: 1 GiB) or a carried JSON text longer than its row's max; EINVAL a required
 * text is NULL, a required name illegal, a word or number out of range, a carried JSON text that
 * is none; ENOMEM.
 */
char *ph_codec_write(const struct ph_field *table, const void *from, const char *op, char end,
	size_t max_bytes, size_t *ret_n);

/* Index of `word` in `words` (ends with NULL), or -1; the empty word is never found. */
int ph_codec_word(const char *const *words, const char *word);

#endif
