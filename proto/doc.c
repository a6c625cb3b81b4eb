#include "proto/codec.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>

#include "proto/codec_member.h"

#define BLOCK_BYTES 2048

struct block {
	struct block *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

struct ph_doc {
	json_t *root;
	struct block *blocks;
};

const json_t *ph_doc_root(const struct ph_doc *doc)
{
	return doc->root;
}

void *ph_doc_alloc(struct ph_doc *doc, size_t size)
{
	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	struct block *b = doc->blocks;
	if (!b || b->size - b->used < size) {
		size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
		b = calloc(1, sizeof *b + bytes);
		if (!b)
			return NULL;
		b->size = bytes;
		b->next = doc->blocks;
		doc->blocks = b;
	}
	void *at = b->bytes + b->used;
	b->used += size;
	return at;
}

void ph_doc_free(struct ph_doc *doc)
{
	if (!doc)
		return;
	while (doc->blocks) {
		struct block *b = doc->blocks;
		doc->blocks = b->next;
		free(b);
	}
	json_decref(doc->root);
	free(doc);
}

int ph_json_object(const char *text, size_t n, json_t **ret, struct ph_err *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
	if (!root && json_error_code(&why) == json_error_out_of_memory)
		return ph_err_set(err, ENOMEM, "out of memory");
	if (!root)
		return ph_err_set(
			err, EBADMSG, "not valid JSON: %s (byte %d)", why.text, why.position);
	if (!json_is_object(root)) {
		json_decref(root);
		return ph_err_set(err, EBADMSG, "expected a JSON object");
	}
	*ret = root;
	return 0;
}

int ph_doc_parse(const char *text, size_t n, struct ph_doc **ret_doc, struct ph_err *err)
{
	json_t *root = NULL;
	int error = ph_json_object(text, n, &root, err);
	if (error)
		return error;
	struct ph_doc *doc = calloc(1, sizeof *doc);
	if (!doc) {
		json_decref(root);
		return ph_err_set(err, ENOMEM, "out of memory");
	}
	doc->root = root;
	*ret_doc = doc;
	return 0;
}

const char *ph_doc_text(const struct ph_doc *doc, const char *name)
{
	return json_string_value(json_object_get(doc->root, name));
}
