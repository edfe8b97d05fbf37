/*
 * The control channel of one side: whole records in, whole records out, and the keep-alive.
 *
 * The migrate thread waits here for whatever comes first: a record, its bell (lanes, door, cancel)
 * or a deadline.  Nothing in it blocks longer, so that a peer that dribbles half a record, or takes
 * none, holds nobody.  The source asks (PING, four in a link-timeout), the destination answers, so
 * either notices a silent link; long callbacks of the destination are bridged by link_nudge from
 * its door.
 */
#ifndef GODWIT_MIGRATE_LINK_H
#define GODWIT_MIGRATE_LINK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "migrate/bell.h"
#include "transport/channel.h"
#include "wire/record.h"

struct link_record {
    uint32_t type;
    const uint8_t *body; /* checked; valid until the next link_wait */
    size_t len;
};

struct link {
    struct channel *channel; /* owned; NULL: no link */
    const struct bell *bell;
    const atomic_bool *stop; /* NULL, or: true ends sending and waiting with -ECANCELED */
    atomic_uint_fast64_t *transferred;
    uint32_t timeout_ms; /* 0: for ever */
    uint64_t send_by_ns; /* no sending past it; 0: none */
    bool asks;
    atomic_bool rung; /* the bell rang while a record went out: link_wait says so */

    pthread_mutex_t write; /* one record after the other: migrate thread and door */
    bool broken;           /* a record was cut short: guarded by write */

    uint64_t heard_ns; /* when the last byte came, or silence began to count */
    uint64_t asked_ns; /* when the last PING went */
    bool asking;       /* it has not been answered */
    uint64_t rtt_ns;   /* the shortest seen; 0: none yet */

    uint8_t head[RECORD_HEADER_SIZE];
    struct record_header header;
    size_t got;   /* bytes of the current record, header included */
    bool garbled; /* a header made no sense: where the next record begins is not known */
    struct buf body;
};

void link_init(struct link *l, const struct bell *bell, const atomic_bool *stop,
               atomic_uint_fast64_t *transferred, bool asks);
void link_fini(struct link *l);
/* Takes a channel (owned from now on), freeing the one before. */
void link_attach(struct link *l, struct channel *c, uint32_t timeout_ms);
void link_drop(struct link *l);
static inline bool link_up(const struct link *l)
{
    return l->channel != NULL;
}

/* 1: *rec is there. 0: the bell rang (it is cleared). -ETIME: deadline_ns (0: none) is over,
 * however much the peer sends that is not for the caller. Else -errno with e: the link is of no
 * more use. With a deadline that is over already it takes one record that is all there, and does
 * not wait. */
int link_wait(struct link *l, uint64_t deadline_ns, struct link_record *rec, struct err *e);
/* Bytes, or an end, wait to be read. */
bool link_has_input(const struct link *l);
/* A whole record, or several. 0 or -errno with e. */
int link_send(struct link *l, const struct buf *b, struct err *e);
/* As link_send, when a record could not even be encoded (encode_ret != 0); frees b in any case. */
int link_post(struct link *l, struct buf *b, int encode_ret, struct err *e);
/* The body of the record just taken becomes *out (to be freed with buf_fini); views stay valid. */
void link_keep_body(struct link *l, struct buf *out);
/* Silence counts from now on: after a callback that took its time. */
void link_touch(struct link *l);
/* Does a new link mend this failure of a channel (this one or a lane's)?  Not when what came was
 * malformed, or when somebody here said stop. */
bool link_is_cut(int code, const struct err *e);
/* Measures the round trip soon. */
int link_ping(struct link *l, struct err *e);
/* Any thread, while the migrate thread is in a callback: tells the peer that somebody lives. */
void link_nudge(struct link *l);
/* After the last word: waits until the peer closes, so that closing does not swallow the word. */
void link_farewell(struct link *l, uint32_t patience_ms);

#endif
