#include "proto/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec_member.h"

static bool whole(const json_t *object, const char *name, uint64_t *ret)
{
	const json_t *value = json_object_get(object, name);
	json_int_t v = json_integer_value(value);
	if (!json_is_integer(value) || v < 0 || (uint64_t)v > PH_CODEC_WHOLE_MAX)
		return false;
	*ret = (uint64_t)v;
	return true;
}

/* The line of an object that this takes, or NULL with errno. */
static char *finish(json_t *object, bool whole_object, size_t max, size_t *ret_n)
{
	char *line = NULL;
	size_t n = whole_object ? json_dumpb(object, NULL, 0, JSON_COMPACT) : 0;
	if (n && n + 1 > max) {
		errno = EMSGSIZE;
	} else if (!n || !(line = malloc(n + 2))) {
		errno = ENOMEM;
	} else {
		(void)json_dumpb(object, line, n, JSON_COMPACT);
		memcpy(line + n, "\n", 2);
		*ret_n = n + 1;
	}
	json_decref(object);
	return line;
}

/* Adds those fields of `from` that `to` has not got; false: no memory. */
static bool add_missing(json_t *to, const json_t *from)
{
	const char *key;
	json_t *value;
	json_t *iterated = json_incref((json_t *)(uintptr_t)from);
	bool ok = true;
	json_object_foreach(iterated, key, value)
	{
		if (!json_object_get(to, key))
			ok = ok && json_object_set(to, key, value) == 0;
	}
	json_decref(iterated);
	return ok;
}

int ph_request_decode(const char *line, size_t n, struct ph_request *ret, struct ph_err *err)
{
	struct ph_request request = {0};
	int error = ph_json_object(line, n, &request.args, err);
	bool has_req = !error && whole(request.args, "req", &request.req);
	request.op = json_string_value(json_object_get(request.args, "op"));
	if (!error && !has_req)
		error = ph_err_set(
			err, EBADMSG, "req: expected a whole number from 0 to 9007199254740991");
	else if (!error && !request.op)
		error = ph_err_set(err, EBADMSG, "op: expected a text");
	if (error) {
		json_decref(request.args);
		request.args = NULL;
		request.op = NULL;
	}
	*ret = request;
	return error;
}

void ph_request_fini(struct ph_request *request)
{
	json_decref(request->args);
	*request = (struct ph_request){0};
}

char *ph_request_encode(const char *op, uint64_t req, const json_t *args, size_t *ret_n)
{
	json_t *object = json_pack("{s:s,s:I}", "op", op, "req", (json_int_t)req);
	bool ok = object && add_missing(object, args);
	return finish(object, ok, PH_LINE_MAX_ADD, ret_n);
}

int ph_answer_decode(const char *line, size_t n, struct ph_answer *ret, struct ph_err *err)
{
	struct ph_answer a = {0};
	int error = ph_json_object(line, n, &a.body, err);
	if (error)
		return error;
	const json_t *ok = json_object_get(a.body, "ok");
	const json_t *more = json_object_get(a.body, "more");
	if (!whole(a.body, "re", &a.re))
		error = ph_err_set(
			err, EBADMSG, "re: expected a whole number from 0 to 9007199254740991");
	else if (!json_is_boolean(ok))
		error = ph_err_set(err, EBADMSG, "ok: expected true or false");
	else if (more && !json_is_boolean(more))
		error = ph_err_set(err, EBADMSG, "more: expected true or false");
	if (error) {
		json_decref(a.body);
		return error;
	}
	a.ok = json_is_true(ok);
	a.more = json_is_true(more);
	if (!a.ok) {
		a.code = json_string_value(json_object_get(a.body, "code"));
		a.text = json_string_value(json_object_get(a.body, "text"));
	}
	*ret = a;
	return 0;
}

void ph_answer_fini(struct ph_answer *answer)
{
	json_decref(answer->body);
	*answer = (struct ph_answer){0};
}

char *ph_answer_encode(uint64_t re, const json_t *fields, bool more, size_t *ret_n)
{
	json_t *object = json_pack("{s:I,s:b}", "re", (json_int_t)re, "ok", 1);
	bool ok = object && (!more || json_object_set_new(object, "more", json_true()) == 0) &&
		  add_missing(object, fields);
	return finish(object, ok, SIZE_MAX, ret_n);
}

char *ph_answer_encode_error(uint64_t re, const char *code, const char *text, size_t *ret_n)
{
	json_t *object = json_pack("{s:I,s:b,s:s}", "re", (json_int_t)re, "ok", 0, "code", code);
	bool ok = object;
	if (ok && text) {
		/* what is not UTF-8 has no place in JSON: then the code says it alone */
		json_t *sentence = json_string(text);
		ok = !sentence || json_object_set_new(object, "text", sentence) == 0;
	}
	return finish(object, ok, SIZE_MAX, ret_n);
}
