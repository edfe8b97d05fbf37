/*
 * A wire that does wrong, once: forwards every connection between a source and a sink over UNIX
 * sockets, follows the records in both directions, and at one chosen byte of one of them acts.
 * Connections are numbered as they come: 0 is the control channel, 1.. the lanes, then whoever
 * comes back.  Afterwards it is a good wire again, for what it left open and for new connections.
 */
#ifndef TEST_WIRE_H
#define TEST_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_act {
    WIRE_NOTHING,
    WIRE_CUT,       /* every connection is closed */
    WIRE_STALL,     /* this direction of this connection stands still for a while, then goes on */
    WIRE_STALL_ALL, /* all do: both sides may have given up by then, and hear it all the same */
    WIRE_SHORTEN,   /* the reader sees the end there, the writer does not notice */
    WIRE_FLIP,      /* bits of one byte change */
    WIRE_SWAP,      /* the record and the one behind it change places */
    WIRE_REPEAT,    /* the record comes twice */
    WIRE_ACT_COUNT
};

#define WIRE_BY_BYTE UINT32_MAX

struct wire_fault {
    enum wire_act act;
    bool back;           /* from the sink to the source */
    uint8_t mask;        /* WIRE_FLIP */
    unsigned connection; /* which one, counted from 0 */
    uint32_t record;     /* of this direction, counted from 0; WIRE_BY_BYTE: `at` counts from the
                            connection's first byte, and nothing is taken for records */
    uint64_t at;         /* this byte of the record is the first concerned */
    unsigned ms;         /* WIRE_STALL*; how long WIRE_SWAP waits for the other */
};

/* What passed in one direction of one connection. */
#define WIRE_RECORDS_KEPT 128
struct wire_flow_log {
    uint64_t bytes;
    uint32_t n; /* whole records; of the first the header: */
    struct {
        uint32_t type;
        uint64_t size; /* header and padding included */
    } records[WIRE_RECORDS_KEPT];
};

struct wire;

const char *wire_act_name(enum wire_act act);
/* Listens on a fresh UNIX path (written to uri) and dials `to` for each caller. */
struct wire *wire_new(const char *to, const struct wire_fault *fault, char *uri, size_t cap);
/* It acted. */
bool wire_struck(struct wire *w);
/* Closes everything and frees; log may be NULL, else it gets the first `n` connections, each out
 * and back. */
void wire_free(struct wire *w, struct wire_flow_log (*log)[2], unsigned n);

#endif
