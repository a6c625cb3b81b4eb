/*
 * fence.h - the memory that prochubd and prochub-fence share: who is to be stopped, and when.
 *
 * A memfd, sealed against a change of its size, is descriptor PH_FENCE_FD of the fence. prochubd
 * alone writes the lease and the table; the fence alone turns the lease into PH_FENCE_FIRED, once,
 * by a compare and exchange against which each renewal is one too: so that both always agree on
 * whether the fence has fired.
 *
 * The head (struct ph_fence_map up to `entries`) is the same in every version, so that a newer
 * daemon can renew the lease of an older fence until it has replaced it. A worker is written beside
 * the one in force, and put in force by the sequence: a daemon that is killed or stopped in the
 * midst of it leaves what was before. Tested in tests/unit/test_fence.c.
 */
#ifndef PH_BASE_FENCE_H
#define PH_BASE_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PH_FENCE_NAME "prochub-fence" /* of the program, as /proc/PID/comm has it too */
#define PH_FENCE_FD 3
#define PH_FENCE_FD_TEXT "3"
#define PH_FENCE_MAGIC UINT64_C(0x65636e6566206870) /* "ph fence" */
#define PH_FENCE_VERSION 2u
#define PH_FENCE_ENTRIES 16384u /* workers at once; of those beyond it people are told */
#define PH_FENCE_FIRED UINT64_MAX
#define PH_FENCE_TOKEN_SIZE 16 /* of a worker's PROCHUB_TOKEN, whose text is its hex */
#define PH_FENCE_PATH_SIZE 1024u

/* A worker that other nodes may take over: the leader of a session and of a group. */
struct ph_fence_worker {
	uint32_t pid;	   /* 0: none */
	uint32_t main_pid; /* another process of its session, by MAINPID=; 0: it is `pid` */
	uint64_t start_time, main_start_time;
	uint8_t token[PH_FENCE_TOKEN_SIZE]; /* by which its session is known when `pid` is gone */
};

#define PH_FENCE_WORDS (sizeof(struct ph_fence_worker) / sizeof(uint64_t))

struct ph_fence_entry {
	_Atomic uint64_t sequence;
	_Atomic uint64_t copies[2][PH_FENCE_WORDS]; /* the one of sequence % 2 is in force */
};

struct ph_fence_map {
	uint64_t magic;
	uint32_t version;
	uint32_t n_entries;
	/* CLOCK_BOOTTIME in ms until which prochubd lives, or the lease of a quorum holds;
	 * PH_FENCE_FIRED: it was over, and the workers are being stopped, or are */
	_Atomic uint64_t lease_until_ms;
	_Atomic uint64_t grace_ms; /* from the end of the lease to SIGKILL */
	/* what the fence says of itself: an errno, 0 where it worked; valid once `ready` counts */
	_Atomic uint32_t ready; /* fences that have started with this memory */
	_Atomic uint32_t lock_error, realtime_error;
	uint32_t reserved[21];
	struct ph_fence_entry entries[PH_FENCE_ENTRIES];
	/* the folder where workers have their cgroups, before there is a worker; empty: they have
	 * none */
	char cgroups[PH_FENCE_PATH_SIZE];
};

#define PH_FENCE_BYTES sizeof(struct ph_fence_map)
#define PH_FENCE_HEAD_BYTES offsetof(struct ph_fence_map, entries)

_Static_assert(sizeof(struct ph_fence_worker) == 5 * sizeof(uint64_t), "whole words");
_Static_assert(PH_FENCE_HEAD_BYTES == 128, "the head never changes");

/* For the one writer. */
static inline void ph_fence_write(
	struct ph_fence_entry *entry, const struct ph_fence_worker *worker)
{
	uint64_t words[PH_FENCE_WORDS];
	uint64_t next = atomic_load_explicit(&entry->sequence, memory_order_relaxed) + 1;
	memcpy(words, worker, sizeof words);
	/* no word of the next copy before the sequence that puts the last one in force */
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < PH_FENCE_WORDS; i++)
		atomic_store_explicit(&entry->copies[next % 2][i], words[i], memory_order_relaxed);
	atomic_store_explicit(&entry->sequence, next, memory_order_release);
}

/* What is in force, whole; false where there is none. */
static inline bool ph_fence_read(struct ph_fence_entry *entry, struct ph_fence_worker *ret)
{
	uint64_t words[PH_FENCE_WORDS], before, after;
	do { /* again only where it was written twice meanwhile */
		before = atomic_load_explicit(&entry->sequence, memory_order_acquire);
		for (unsigned i = 0; i < PH_FENCE_WORDS; i++)
			words[i] = atomic_load_explicit(
				&entry->copies[before % 2][i], memory_order_relaxed);
		atomic_thread_fence(memory_order_seq_cst);
		after = atomic_load_explicit(&entry->sequence, memory_order_relaxed);
	} while (before != after);
	memcpy(ret, words, sizeof words);
	return ret->pid != 0;
}

/* False: the fence has fired, and the lease stays so. */
static inline bool ph_fence_renew(struct ph_fence_map *map, uint64_t until_ms)
{
	uint64_t was = atomic_load(&map->lease_until_ms);
	do {
		if (was == PH_FENCE_FIRED)
			return false;
	} while (!atomic_compare_exchange_weak(&map->lease_until_ms, &was, until_ms));
	return true;
}

#endif
