/*
 * shell_bus_relay.c - messages by way of a third member, where a link between two is cut.
 *
 * The message travels sealed for its receiver inside another one (RELAY), as hex; who passes it on
 * cannot read it, and passes on only what came straight from its sender: two hops at most. A copy
 * that has come straight as well is dropped by the receiver's replay window, as any repeat.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/bus.h"
#include "shell_bus_int.h"

#define FRAME_MAX (PH_BMSG_FRAME_MAX / 2) /* bytes of a message that is relayed */

static char *to_hex(const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * n + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * n] = '\0';
	return text;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The caller's, or NULL where it is no hex, too long, or there is no memory. */
static uint8_t *of_hex(const char *text, size_t *ret_n)
{
	size_t n = strlen(text) / 2;
	if (strlen(text) % 2 || !n || n > FRAME_MAX)
		return NULL;
	uint8_t *bytes = malloc(n);
	for (size_t i = 0; bytes && i < n; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0) {
			free(bytes);
			return NULL;
		}
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret_n = n;
	return bytes;
}

void ph_bus_relay(struct ph_shell_bus *bus, const struct ph_name *via, const struct ph_name *to,
	const uint8_t *bytes, size_t n)
{
	char *frame = n <= FRAME_MAX ? to_hex(bytes, n) : NULL;
	struct ph_bmsg message = {.kind = PH_B_RELAY, .target = *to, .frame = frame};
	struct ph_action action = {.kind = PH_ACT_SEND, .to = *via, .message = &message};
	if (frame)
		ph_shell_bus_act(bus, &action);
	free(frame);
}

void ph_bus_relay_got(struct ph_shell_bus *bus, const struct ph_bmsg *message)
{
	size_t n;
	if (bus->in_relay)
		return; /* nothing is wrapped twice */
	if (strcmp(message->target.s, bus->shell->node) != 0) {
		struct ph_bmsg on = *message;
		struct ph_action action = {
			.kind = PH_ACT_SEND, .to = message->target, .message = &on};
		on.passed_on = true;
		if (!message->passed_on)
			ph_shell_bus_act(bus, &action);
		return;
	}
	uint8_t *bytes = message->frame ? of_hex(message->frame, &n) : NULL;
	if (bytes) {
		bus->in_relay = true;
		ph_bus_got(bus, PH_PLANE_DIRECTED, bytes, n);
		bus->in_relay = false;
	}
	free(bytes);
}
