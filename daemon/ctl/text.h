/*
 * text.h - a growing string, and how values are written for people.
 *
 * Decides how durations, sizes and foreign text look. Foreign text (whatever the daemon or a worker
 * said) is only ever added escaped: no control character and no character that turns the direction
 * of writing reaches a terminal. Running out of memory ends the program (ctl.h).
 * Tested by tests/e2e/test_ctl_fake.py.
 */
#ifndef PH_CTL_TEXT_H
#define PH_CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/* `s` is NULL while nothing was added; always ends in NUL otherwise. Zeroed is valid and empty. */
struct ph_text {
	char *s;
	size_t n, size;
};

void ph_text_fini(struct ph_text *text);
/* Makes it empty and keeps the memory. */
void ph_text_clear(struct ph_text *text);
/* The string, "" where nothing was added; lives until the next change. */
const char *ph_text_string(const struct ph_text *text);

void ph_text_add_bytes(struct ph_text *text, const char *bytes, size_t n);
void ph_text_addf(struct ph_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Adds `s` with every character escaped that a terminal would act on. */
void ph_text_add_escaped(struct ph_text *text, const char *s, bool keep_newlines);
/* 340ms, 1.2s, 12s, 4m05s, 3h12m, 2d3h */
void ph_text_add_duration(struct ph_text *text, uint64_t ms);
/* 812B, 12.3M: powers of 1024, as in the configuration */
void ph_text_add_size(struct ph_text *text, uint64_t bytes);
/* Compact JSON in the order received, still the same value when a terminal has seen it. */
void ph_text_add_json(struct ph_text *text, const json_t *value);
/* For people: strings escaped, yes and no, "-" for null and NULL, objects as compact JSON. */
void ph_text_add_value(struct ph_text *text, const json_t *value);

#endif
