/*
 * The QMP server: several listeners, several clients, one table of commands, on the main loop.
 *
 * Theory of operation.  Each client has an input buffer in which a bounded scanner finds whole
 * messages, and an output buffer.  A message is answered as soon as it is whole; nothing waits for
 * a newline.  Nothing ever blocks: a client that does not read its answers is not read from either
 * until it does (its requests queue in the kernel), and one that lets the events pile up past
 * max_output is dropped.  What is no JSON is answered with an error and skipped to the next
 * newline; a message larger than max_message is answered with an error, and the client dropped.
 *
 * Descriptors that come with a message (SCM_RIGHTS) wait for the command that takes them; what no
 * command of the same batch took is closed.
 *
 * All functions: on the loop's thread (or before it runs); none from inside a command but
 * qmp_server_event and qmp_server_clients.
 */
#ifndef GODWIT_QMP_SERVER_H
#define GODWIT_QMP_SERVER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "qmp/address.h"
#include "qmp/command.h"

#define QMP_MESSAGE_MAX   (1U << 20)
#define QMP_OUTPUT_MAX    (4U << 20)
#define QMP_CLIENTS_MAX   32
#define QMP_LISTENERS_MAX 8
#define QMP_FDS_MAX       16 /* waiting for their command, a client */

struct qmp_server_config {
    struct loop *loop;
    struct qmp_table table; /* the commands stay the owner's and must outlive the server */
    /* The value of "version" in the greeting, in the form of the StratoVirt page:
     * {"StratoVirt": {"micro": 1, "minor": 0, "major": 0}, "package": ""}.  A reference is taken.
     */
    json_t *version;
    size_t max_message, max_output; /* 0: the defaults above */
    uint32_t max_clients;
};

struct qmp_server;

int qmp_server_new(const struct qmp_server_config *config, struct qmp_server **out, struct err *e);
/* Drops every client (what is not written yet is tried once more), closes the listeners and unlinks
 * their unix paths. NULL is fine. */
void qmp_server_free(struct qmp_server *s);

int qmp_server_listen(struct qmp_server *s, const struct qmp_address *a, struct err *e);
/* A listening socket made elsewhere; taken over on success. */
int qmp_server_listen_fd(struct qmp_server *s, int fd, struct err *e);
/* A connected stream socket; taken over on success, greeted at once. */
int qmp_server_adopt(struct qmp_server *s, int fd, struct err *e);
/* The address of the i-th listener made by qmp_server_listen, with its real port; NULL. */
const struct qmp_address *qmp_server_address(const struct qmp_server *s, size_t i);

/* Sends {"event": name, "data": data, "timestamp": ..} to every client. data is taken over; NULL:
 * the event has none. */
void qmp_server_event(struct qmp_server *s, const char *name, json_t *data);
uint32_t qmp_server_clients(const struct qmp_server *s);

#endif
