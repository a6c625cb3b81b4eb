/*
 * places.h - echoes in brief: two characters for each member of a list that both sides know.
 *
 * Twelve bits: the last eight of the newest number heard, and which of the heartbeat's ages is the
 * echo's, counted from 1; 0: this one is not told of in brief. Eight bits are enough because they
 * are never read alone: its own number is read by its author only, upwards from the one that the
 * same sender echoed last, and only while fewer than 256 have been sent since. So exactly one
 * number can be meant, however late the heartbeat comes, and none can wrap into looking fresh.
 */
#ifndef PH_BASE_PLACES_H
#define PH_BASE_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#define PH_PLACE_CHARS 2
#define PH_PLACE_DIGITS "A-Z a-z 0-9 - _"
#define PH_PLACE_NUMBERS 256u /* are told apart */
#define PH_PLACE_AGES 15u     /* of a heartbeat, at most */

struct ph_place {
	uint8_t number; /* its last eight bits */
	uint8_t age;	/* 0: nothing is told here */
};

static inline int ph_place_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static inline void ph_place_put(char *at, const struct ph_place *place)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	at[0] = digits[(place->age & 15) << 2 | place->number >> 6];
	at[1] = digits[place->number & 63];
}

/* False: there are no two digits. */
static inline bool ph_place_get(const char *at, struct ph_place *ret)
{
	int high = ph_place_digit(at[0]), low = high < 0 ? -1 : ph_place_digit(at[1]);
	if (low < 0)
		return false;
	ret->age = (uint8_t)(high >> 2);
	ret->number = (uint8_t)((high & 3) << 6 | low);
	return true;
}

#endif
