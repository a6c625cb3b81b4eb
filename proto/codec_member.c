#include "proto/codec_member.h"

#include <string.h>

uint64_t ph_member_max(const struct ph_field *f)
{
	uint64_t max = PH_CODEC_WHOLE_MAX;
	if (f->size < sizeof max) {
		uint64_t fits = (UINT64_C(1) << (8 * f->size)) - 1;
		max = fits < max ? fits : max;
	}
	return f->max && f->max < max ? f->max : max;
}

void ph_member_store(char *at, size_t size, uint64_t value)
{
	uint8_t v1 = (uint8_t)value;
	uint16_t v2 = (uint16_t)value;
	uint32_t v4 = (uint32_t)value;
	const void *from = size == 1   ? (const void *)&v1
			   : size == 2 ? (const void *)&v2
			   : size == 4 ? (const void *)&v4
				       : (const void *)&value;
	memcpy(at, from, size);
}

uint64_t ph_member_load(const char *at, size_t size)
{
	uint8_t v1 = 0;
	uint16_t v2 = 0;
	uint32_t v4 = 0;
	uint64_t v8 = 0;
	void *to = size == 1   ? (void *)&v1
		   : size == 2 ? (void *)&v2
		   : size == 4 ? (void *)&v4
			       : (void *)&v8;
	memcpy(to, at, size);
	return v8 | v4 | v2 | v1;
}

bool ph_member_hex(const char *s)
{
	return s[strspn(s, "0123456789abcdef")] == '\0';
}

int ph_codec_word(const char *const *words, const char *word)
{
	if (!*word)
		return -1;
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return -1;
}
