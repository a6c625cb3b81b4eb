/* nearest.c - the known word that somebody who mistyped most likely meant. */
#include "ctl/nearest.h"

#include <string.h>

enum {
	WORD_MAX = 32
}; /* longer words are nobody's typing error */

struct ph_nearest ph_nearest_start(const char *word)
{
	return (struct ph_nearest){.word = word, .distance = (strlen(word) + 2) / 3 + 1};
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t nearest_distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= n; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		for (size_t j = 1; j <= m; j++) {
			size_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			d[i][j] = least(change, least(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[n][m];
}

void ph_nearest_offer(struct ph_nearest *nearest, const char *known)
{
	size_t n = strlen(nearest->word), m = strlen(known), distance;

	if (n > WORD_MAX || m > WORD_MAX)
		return;
	distance = nearest_distance(nearest->word, n, known, m);
	if (distance < nearest->distance) {
		nearest->distance = distance;
		nearest->best = known;
	}
}
