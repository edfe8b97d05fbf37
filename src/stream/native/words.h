/*
 * The small records: rounds and marks, the state's head, the words of the handover (each names its
 * migration by token), errors, and the keep-alive.  Texts from a peer come out printable.
 */
#ifndef GODWIT_STREAM_NATIVE_WORDS_H
#define GODWIT_STREAM_NATIVE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"

struct native_round {
    uint64_t round;
    uint64_t remaining; /* bytes this round sends */
};

int native_round_encode(struct buf *out, const struct native_round *v);
int native_round_decode(const void *body, size_t len, struct native_round *v, struct err *e);

struct native_mark {
    uint64_t sequence; /* counts from 1, the same on every lane */
    bool last;         /* nothing follows on this lane */
};

int native_mark_encode(struct buf *out, const struct native_mark *v);
int native_mark_decode(const void *body, size_t len, struct native_mark *v, struct err *e);

struct native_state {
    uint64_t sequence; /* of the marks that must have passed before it is loaded */
    bool was_running;
    const uint8_t *data; /* decoding: a view of the body */
    size_t len;
};

int native_state_encode(struct buf *out, const struct native_state *v);
int native_state_decode(const void *body, size_t len, struct native_state *v, struct err *e);

/* ACCEPT, READY, COMMIT, RUNNING, NEVER_RAN, ABORT, QUERY. */
struct native_word {
    uint8_t token[NATIVE_TOKEN_SIZE];
    char text[ERR_TEXT_MAX]; /* why (NEVER_RAN, ABORT); else empty */
};

int native_word_encode(struct buf *out, enum native_type type, const struct native_word *v);
int native_word_decode(const void *body, size_t len, struct native_word *v, struct err *e);

/* An err as it travels: the code is a positive Linux errno. */
int native_error_encode(struct buf *out, const struct err *v);
/* *v becomes the peer's error, e is filled when the record is malformed. */
int native_error_decode(const void *body, size_t len, struct err *v, struct err *e);

/* PING and PONG; the answer repeats the stamp.  PASSED, whose stamp is a mark's sequence. */
int native_ping_encode(struct buf *out, enum native_type type, uint64_t stamp);
int native_ping_decode(const void *body, size_t len, uint64_t *stamp, struct err *e);

#endif
