#include "base/types.h"

#include <errno.h>
#include <string.h>

bool ph_name_valid(const char *s)
{
	if (!s || !*s || *s == '.' || *s == '-')
		return false;
	size_t n = 0;
	for (; s[n]; n++) {
		char c = s[n];
		bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			  (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
		if (!ok || n >= PH_NAME_SIZE - 1)
			return false;
	}
	return true;
}

bool ph_name_is_pattern(const char *s)
{
	static const char wild[] = "*?["; /* no name has one of these */
	size_t n = s ? strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				 "0123456789._-*?[]!")
		     : 0;
	return n && n < PH_NAME_SIZE && !s[n] && strpbrk(s, wild);
}

struct ph_name ph_name_of(const char *s)
{
	struct ph_name name;
	memset(&name, 0, sizeof name);
	size_t n = strnlen(s, PH_NAME_SIZE - 1);
	memcpy(name.s, s, n);
	return name;
}

bool ph_name_equal(const struct ph_name *a, const struct ph_name *b)
{
	return strcmp(a->s, b->s) == 0;
}

bool ph_key_equal(const struct ph_key *a, const struct ph_key *b)
{
	return a->instance == b->instance && a->replica == b->replica &&
	       ph_name_equal(&a->child, &b->child);
}

int ph_key_compare(const struct ph_key *a, const struct ph_key *b)
{
	int c = strcmp(a->child.s, b->child.s);
	if (c)
		return c < 0 ? -1 : 1;
	if (a->instance != b->instance)
		return a->instance < b->instance ? -1 : 1;
	if (a->replica != b->replica)
		return a->replica < b->replica ? -1 : 1;
	return 0;
}

uint64_t ph_hash_bytes(uint64_t seed, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	for (size_t i = 0; i < n; i++)
		seed = (seed ^ p[i]) * 0x100000001b3u;
	return seed;
}

uint64_t ph_token_mark(const char *token)
{
	return ph_mix64(ph_hash_bytes(PH_HASH_SEED, token, strlen(token)));
}

uint64_t ph_key_hash(const struct ph_key *key)
{
	uint64_t h = ph_hash_bytes(PH_HASH_SEED, key->child.s, strlen(key->child.s));
	h ^= (uint64_t)key->instance << 32 | key->replica;
	return ph_mix64(h);
}

bool ph_id_equal(const struct ph_id *a, const struct ph_id *b)
{
	return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool ph_id_none(const struct ph_id *id)
{
	static const struct ph_id none;
	return ph_id_equal(id, &none);
}

char *ph_id_text(const struct ph_id *id, char text[PH_ID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < sizeof id->b; i++) {
		text[2 * i] = digits[id->b[i] >> 4];
		text[2 * i + 1] = digits[id->b[i] & 15];
	}
	text[PH_ID_TEXT_SIZE - 1] = '\0';
	return text;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int ph_id_parse(const char *text, struct ph_id *ret)
{
	struct ph_id id;
	if (strnlen(text, PH_ID_TEXT_SIZE) != PH_ID_TEXT_SIZE - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof id.b; i++) {
		int hi = hex_value(text[2 * i]), lo = hex_value(text[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		id.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = id;
	return 0;
}
