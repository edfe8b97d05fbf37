/*
 * A cut in the wire: forwards every connection between a source and a sink over UNIX sockets,
 * follows the records in both directions, and at one chosen byte of one of them cuts (or silences)
 * everything.  Connections are numbered as they come: 0 is the control channel, 1.. the lanes, then
 * whoever comes back.
 */
#ifndef TEST_PROXY_H
#define TEST_PROXY_H

#include <stdbool.h>
#include <stdint.h>

enum proxy_after {
    PROXY_HEALS,  /* connections are cut, new ones pass */
    PROXY_DEAD,   /* connections are cut, new ones are closed at once */
    PROXY_FLIPS,  /* nothing is cut: the byte passes, but with a bit turned over */
    PROXY_SILENT, /* nothing is closed and nothing passes any more, on new ones neither */
};

enum proxy_place {
    PROXY_BEFORE, /* the record's first byte is held back */
    PROXY_MIDDLE,
    PROXY_LAST, /* its last byte is held back */
    PROXY_PLACE_COUNT
};

struct proxy_rule {
    unsigned connection;
    bool back;       /* from the sink to the source */
    unsigned record; /* which one, counted from 0; or: */
    uint32_t type;   /* the first of this type (0: by number) */
    enum proxy_place place;
    enum proxy_after after;
};

/* In place of a rule: who may connect and what may pass is asked each time, on the proxy's thread.
 * What may not pass cuts everything; new connections pass as far as they are let in. */
struct proxy_law {
    bool (*admits)(void *arg);
    bool (*passes)(void *arg, bool back, uint32_t type); /* at a record's first byte */
    void *arg;
};

struct proxy;

/* Listens on a fresh UNIX path (written to uri) and dials `to` for each caller. rule NULL: none. */
struct proxy *proxy_new(const char *to, const struct proxy_rule *rule, char *uri, unsigned cap);
struct proxy *proxy_new_law(const char *to, const struct proxy_law *law, char *uri, unsigned cap);
/* Cuts every connection, soon. */
void proxy_cut(struct proxy *p);
bool proxy_has_cut(struct proxy *p);
/* "state", ...: the type of the record that was cut. */
uint32_t proxy_cut_type(struct proxy *p);
/* From now on new connections pass. */
void proxy_heal(struct proxy *p);
void proxy_free(struct proxy *p);

#endif
