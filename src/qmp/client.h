/*
 * A QMP client that blocks, for tools and tests: one connection, one command at a time.  Events
 * that arrive while an answer is awaited are kept (QMP_CLIENT_EVENTS_MAX of them, then the oldest
 * go) for qmp_client_event.  Not for use by two threads at once.
 */
#ifndef GODWIT_QMP_CLIENT_H
#define GODWIT_QMP_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "qmp/address.h"

#define QMP_CLIENT_EVENTS_MAX 1024

struct qmp_client;

/* Connects, reads the greeting and says qmp_capabilities.  timeout_ms bounds this and every later
 * wait for an answer. */
int qmp_client_connect(const struct qmp_address *a, uint32_t timeout_ms, struct qmp_client **out,
                       struct err *e);
/* The same over a connected stream socket, which is taken over on success. */
int qmp_client_adopt(int fd, uint32_t timeout_ms, struct qmp_client **out, struct err *e);
void qmp_client_free(struct qmp_client *c); /* NULL is fine */

/* The whole greeting, lent. */
const json_t *qmp_client_greeting(const struct qmp_client *c);

/* Runs a command.  args (taken over) may be NULL; *ret (may be NULL) gets the value of "return",
 * the caller's.  fd >= 0 is passed along and stays the caller's.  -EREMOTEIO: the server answered
 * with an error: e has its class as stage and its desc as text; other codes: the connection is no
 * longer of use. */
int qmp_client_command(struct qmp_client *c, const char *name, json_t *args, int fd, json_t **ret,
                       struct err *e);
/* The next event, the caller's; waits up to timeout_ms for it (-ETIMEDOUT). */
int qmp_client_event(struct qmp_client *c, uint32_t timeout_ms, json_t **event, struct err *e);

#endif
