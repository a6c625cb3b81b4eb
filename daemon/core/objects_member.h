/* objects_member.h - the members that a hub knows, and those that it knew. */
#ifndef PH_CORE_OBJECTS_MEMBER_H
#define PH_CORE_OBJECTS_MEMBER_H

#include "core/timer.h"

struct ph_known { /* of a member, what each heartbeat of another one is compared with */
	struct ph_name name;
	uint64_t incarnation;
	bool wanted; /* what others say of it */
	struct ph_member *member;
};

struct ph_report { /* what one member says of another */
	struct ph_name name;
	uint64_t incarnation, age_ms;
	uint64_t have;	/* of that one's part of the registry */
	uint32_t flags; /* enum ph_echo_flag */
	bool brief;	/* told in brief: `have` is not known */
};

/*
 * Lists of members that are remembered, those named last: of each heartbeat that may still be
 * echoed one, the base that was in use before them, and a new one.
 */
#define PH_ROLLS (PH_SENT_RING + 2)
#define PH_NO_PLACE SIZE_MAX /* it is not in that list */

struct ph_roll {	 /* such a list; roll.c */
	uint64_t digest; /* 0: none */
	uint64_t named;	 /* number of our newest heartbeat that named it */
	size_t n, cap;
	uint64_t *ids; /* sorted; owned */
};

struct ph_member {
	UT_hash_handle hh; /* first, and beside the state: all are looked at often */
	enum ph_member_state state;
	bool linked;
	uint64_t mend_wait_ms; /* suspect for so long: its link is made anew; 0: it is not suspect
				*/
	bool proven;	       /* this incarnation has answered something fresh of ours */
	struct ph_member_info info; /* labels: owned */
	struct ph_node *node;
	uint32_t no; /* from 1 on, this node's own one is 0; while claims run no other has had it */
	uint64_t since_ms;	/* in this state */
	uint64_t first_ms;	/* this incarnation first heard of */
	uint64_t heard_seq;	/* newest heartbeat heard */
	uint64_t heard_version; /* of its part, as that one said */
	uint64_t heard_at_ms;
	uint64_t back_ms;    /* when it was heard again after a silence */
	uint64_t echo_at_ms; /* when the newest heartbeat of ours that it echoed was sent, or up to
				when its silence is forgiven: it may have been this node's own */
	uint64_t echo_true_ms;	/* ... without what is forgiven; counts once it has echoed us */
	bool echoed;		/* this incarnation has echoed us at least once */
	uint64_t answered_ms;	/* when the newest probe that it answered was sent; 0: none */
	uint64_t probed_ms;	/* last probed */
	uint64_t welcomed_ms;	/* when we last welcomed it ... */
	uint64_t named_ms;	/* ... and told it whom we know */
	uint64_t hears_me_have; /* version of our part that it has */
	uint64_t registry_version, registry_digest, migrations_version; /* as it says */
	uint64_t have, have_migrations; /* what we have of its part */
	/* changes of it that came before what is missing below them */
	uint64_t ahead_since, ahead_until;
	uint64_t sure; /* ... of which nothing that it gave away is missing; never above `have` */
	uint64_t told_sure;    /* the newest `sure` that it was told by way of a third one ... */
	uint64_t told_sure_ms; /* ... and when; 0: never */
	uint64_t digest;       /* of its part as we have it */
	uint64_t fetch_at_ms;  /* last asked, or answered in part; 0: no fetch is out */
	uint64_t fetch_since;  /* ... from there on */
	uint32_t fetch_tries;  /* in a row that brought nothing */
	uint64_t behind_at_ms; /* since when something of it is missing; 0: nothing is */
	uint64_t helper_at_ms; /* last looked for who has its part */
	uint32_t helper_tries; /* ... in a row, and what came was no news */
	bool sweeping;	       /* a whole part is coming */
	uint32_t sweep;	       /* number of that sweep */
	uint64_t sweep_at;     /* ... which has come up to that version */
	bool drained, welcomed;
	bool restarted;	      /* alive under an earlier incarnation a moment ago */
	uint64_t newcomer_ms; /* since when children may move to it; 0: they stay where they are */
	uint32_t children;
	bool kept; /* limit.c: somebody still needs it */
	/* quorum strategies */
	uint64_t view;		   /* number of its view, as it last said */
	uint64_t went_ms;	   /* it was taken out of the view then, and lived as that ... */
	uint64_t went_incarnation; /* ... life: it is about to leave. 0: it was not */
	uint64_t lease_at_ms;	/* when the newest heartbeat was sent whose echo renews our lease */
	uint64_t told_seq;	/* newest number of it that we have echoed ... */
	uint64_t told_at_ms;	/* ... first at; 0: never */
	uint64_t lease_seq;	/* newest number of it whose echo may renew its lease ... */
	uint64_t lease_told_ms; /* ... first told at; 0: never. seat.c */
	uint64_t others_until_ms; /* so long may another node of its name have a lease by ours */
	bool withheld;		  /* our echo renews no lease of it */
	uint64_t seated_view;	  /* a life at its address had its place in that view; 0: none */
	bool adrift;	      /* its place in the view is another one's: it counts for nothing */
	bool grants_known;    /* it has told all that it granted, to us who lost our journal ... */
	uint64_t grants_next; /* ... piece by piece: the next one */
	size_t n_reports;
	size_t reports_cap;
	struct ph_report *reports; /* on those only of whom it is wanted: heartbeat.c */
	uint64_t roll_id;	   /* its place in lists: name and incarnation */
	uint64_t before_id, before_incarnation; /* of the node of its name whose place it took, or
						   0: others may hear that one still */
	uint64_t list, base;			/* digests that it named last; 0: none */
	bool hearer; /* it has no echo for us, another one hears it, and says which lists it named:
		      */
	uint64_t said_list, said_base; /* 0: others */
	uint64_t echo_seq;	       /* number of ours that it echoed last; 0: none is known */
	uint64_t sure_seq;	       /* it knows that we have heard this number of it; 0: none */
	uint64_t mark_seq, mark_heard; /* it will, once it echoes our number `mark_seq`; 0: none */
	uint64_t asked_ms;	       /* somebody wants lines about it, last; 0: nobody ever */
	bool watched;		       /* what others have of its part is wanted: tombstone.c */
};

struct ph_challenge { /* of a HELLO that is not proven yet; join.c */
	struct ph_name name;
	uint64_t incarnation;
	char address[PH_ADDRESS_SIZE];
	struct ph_id nonce; /* none: used */
	uint64_t at_ms;	    /* asked first */
	uint64_t probe_ms;  /* since when the one that has its name is probed; 0: it is not */
	struct ph_challenge *prev, *next;
};

struct ph_tomb { /* of a member that is forgotten; tomb.c */
	struct ph_name name;
	uint64_t incarnation, at_ms;
	char address[PH_ADDRESS_SIZE]; /* empty: not known, or another node's by now */
	bool left;
	bool ordered;	  /* by an operator: it is switched off for good; forget.c */
	bool owed;	  /* ... and this node had no lease then: once it has one again */
	uint64_t told_ms; /* ... and somebody who still spoke of it was told so */
	UT_hash_handle hh;
};

#endif
