/*
 * shell_view_text.h - text of any origin as a JSON string.
 *
 * Decides what becomes of bytes that are no UTF-8, which JSON has no place for. It knows nothing
 * else, so that files that must not know core can use it. Tested by tests/unit/test_view.c.
 */
#ifndef PH_SHELL_VIEW_TEXT_H
#define PH_SHELL_VIEW_TEXT_H

#include <jansson.h>

/* A new string; where `text` is not UTF-8 every byte above 0x7f becomes '?'. NULL gives null; NULL
 * without memory. */
json_t *ph_view_text(const char *text);

#endif
