#include "io/journald.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/outline.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

#define HEAD_BYTES 512 /* all fields but the message: two names of 63 and three numbers */

/* The text as a binary field, since it may hold anything: name, newline, length, bytes, newline. */
static size_t put_message(char *to, const char *text, size_t n)
{
	static const char name[] = "MESSAGE\n";
	size_t at = sizeof name - 1;
	memcpy(to, name, at);
	for (size_t i = 0; i < 8; i++)
		to[at++] = (char)(((uint64_t)n >> (8 * i)) & 0xff);
	if (n)
		memcpy(to + at, text, n);
	to[at + n] = '\n';
	return at + n + 1;
}

char *ph_journald_encode(const struct ph_journald_line *line, size_t *ret_n)
{
	int priority = ph_piece_priority(line->text, line->n);
	size_t skip = priority < 0 ? 0 : 3;
	char *bytes = malloc(HEAD_BYTES + line->n + 32);
	if (!bytes)
		return NULL;
	int n = snprintf(bytes, HEAD_BYTES,
		"PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nPROCHUB_CHILD=%s\nPROCHUB_INSTANCE=%u\n"
		"PROCHUB_NODE=%s\n%s",
		priority < 0 ? 6 : priority, line->child, line->child, line->instance, line->node,
		line->cut ? "PROCHUB_LINE_BREAK=max\n" : "");
	size_t head = n > 0 && n < HEAD_BYTES ? (size_t)n : 0;
	*ret_n = head + put_message(bytes + head, line->text + skip, line->n - skip);
	return bytes;
}

int ph_journald_open(struct ph_journald *journal, const char *path)
{
	journal->fd = -1;
	if (strlen(path) >= sizeof journal->path)
		return -ENAMETOOLONG;
	(void)snprintf(journal->path, sizeof journal->path, "%s", path);
	journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return journal->fd < 0 ? -errno : 0;
}

void ph_journald_close(struct ph_journald *journal)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = -1;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return address;
}

int ph_journald_there(const char *path)
{
	struct sockaddr_un address = address_of(path);
	struct ph_journald journal;
	int error = ph_journald_open(&journal, path);
	if (!error && connect(journal.fd, (struct sockaddr *)&address, sizeof address) < 0)
		error = -errno;
	ph_journald_close(&journal);
	return error;
}

/* A sealed file in memory with the bytes, or -errno. */
static int make_file(const char *bytes, size_t n)
{
	int fd = memfd_create("line", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	ssize_t written = write(fd, bytes, n);
	if (written == (ssize_t)n &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) ==
			0)
		return fd;
	int error = written < 0 || written == (ssize_t)n ? -errno : -ENOSPC;
	close(fd);
	return error;
}

static int send_large(struct ph_journald *journal, const char *bytes, size_t n)
{
	struct sockaddr_un address = address_of(journal->path);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	int fd = make_file(bytes, n);
	if (fd < 0)
		return fd;
	memset(&control, 0, sizeof control);
	struct msghdr message = {.msg_name = &address,
		.msg_namelen = sizeof address,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	int error = sendmsg(journal->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
	close(fd);
	return error;
}

/* Takes `bytes`, NULL where there was no memory for them. */
static int send_bytes(struct ph_journald *journal, char *bytes, size_t n)
{
	struct sockaddr_un address = address_of(journal->path);
	if (!bytes)
		return -EAGAIN;
	int error = 0;
	if (sendto(journal->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
		    sizeof address) < 0)
		error = -errno;
	if (error == -EMSGSIZE || error == -ENOBUFS)
		error = send_large(journal, bytes, n);
	free(bytes);
	return error;
}

int ph_journald_send(struct ph_journald *journal, const struct ph_journald_line *line)
{
	size_t n = 0;
	if (journal->fd < 0)
		return -ENOENT;
	char *bytes = ph_journald_encode(line, &n);
	return send_bytes(journal, bytes, n);
}

static size_t put_head(char *to, const struct ph_journald_event *event)
{
	char child[96] = "", instance[40] = "", migration[64] = "";
	if (event->child)
		(void)snprintf(child, sizeof child, "PROCHUB_CHILD=%.63s\n", event->child);
	if (event->child && event->has_instance)
		(void)snprintf(instance, sizeof instance, "PROCHUB_INSTANCE=%u\n", event->instance);
	if (event->migration)
		(void)snprintf(
			migration, sizeof migration, "PROCHUB_MIGRATION=%.32s\n", event->migration);
	int n = snprintf(to, HEAD_BYTES,
		"PRIORITY=%d\nSYSLOG_IDENTIFIER=prochubd\nPROCHUB_EVENT=%.63s\n"
		"PROCHUB_NODE=%.63s\n%s%s%s",
		event->priority, event->event, event->node, child, instance, migration);
	return n > 0 && n < HEAD_BYTES ? (size_t)n : 0;
}

int ph_journald_send_event(struct ph_journald *journal, const struct ph_journald_event *event)
{
	size_t length = strlen(event->text), n = 0;
	if (journal->fd < 0)
		return -ENOENT;
	char *bytes = malloc(HEAD_BYTES + length + 32);
	if (bytes)
		n = put_head(bytes, event);
	if (bytes)
		n += put_message(bytes + n, event->text, length);
	return send_bytes(journal, bytes, n);
}
