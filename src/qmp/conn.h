/* One client of a QMP server: its buffers, its descriptors, and the message in progress.  Internal
 * to src/qmp; see server.h for how it behaves. */
#ifndef GODWIT_QMP_CONN_H
#define GODWIT_QMP_CONN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/loop.h"
#include "qmp/command.h"

struct qmp_conn;

struct qmp_conn_config {
    struct loop *loop;
    const struct qmp_table *table;
    size_t max_message, max_output;
    uint64_t id;
    /* The connection is over: take it out of the list and call qmp_conn_free.  Never called from
     * inside one of its own commands. */
    void (*closed)(void *opaque, struct qmp_conn *c);
    void *opaque;
};

/* Takes fd over on success. */
int qmp_conn_new(const struct qmp_conn_config *config, int fd, struct qmp_conn **out);
void qmp_conn_free(struct qmp_conn *c);
/* Queues one line and writes what the socket takes.  A client too slow for it is closed (`closed`
 * is called, unless a command of this very client is running: then after it). */
void qmp_conn_send(struct qmp_conn *c, const char *line, size_t len);

#endif
