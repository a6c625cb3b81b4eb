/*
 * codec_member.h - what the codec's parts share. Private to proto/codec*.c, doc.c and control.c.
 *
 * Members are read and written through memcpy: a row knows only offset and size.
 * Tests: tests/unit/test_codec.c.
 */
#ifndef PH_PROTO_CODEC_MEMBER_H
#define PH_PROTO_CODEC_MEMBER_H

#include <jansson.h>

#include "proto/codec.h"

/* The largest number that a row allows: its max, its member's size, 2^53-1. */
uint64_t ph_member_max(const struct ph_field *f);
/* An unsigned member of 1, 2, 4 or 8 bytes. */
void ph_member_store(char *at, size_t size, uint64_t value);
uint64_t ph_member_load(const char *at, size_t size);
/* Only lower-case hex digits? */
bool ph_member_hex(const char *s);

/* One JSON object, the caller's, as ph_doc_parse() demands it, with the same errors. */
PH_MUST_CHECK int ph_json_object(const char *text, size_t n, json_t **ret, struct ph_err *err);

/* The parsed object; the document's. */
const json_t *ph_doc_root(const struct ph_doc *doc);

#endif
