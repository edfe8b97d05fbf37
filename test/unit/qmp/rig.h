/* A QMP server on a loop on its own thread, and raw clients that talk to it: what the tests of
 * server and client share. */
#ifndef GODWIT_TEST_QMP_RIG_H
#define GODWIT_TEST_QMP_RIG_H

#include <pthread.h>
#include <stdint.h>

#include "base/loop.h"
#include "qmp/server.h"

#define RIG_GREETING                                                                               \
    "{\"QMP\":{\"version\":{\"StratoVirt\":{\"micro\":1,\"minor\":0,\"major\":0},"                 \
    "\"package\":\"\"},\"capabilities\":[]}}"

struct rig {
    struct loop *loop;
    struct qmp_server *server;
    pthread_t thread;
    int taken_fd; /* by command "getfd" */
    int fds_before;
};

/* max_*: 0 for the defaults. Fails the test on any error. */
void rig_start(struct rig *r, size_t max_message, size_t max_output);
/* Also checks that no descriptor was leaked. */
void rig_stop(struct rig *r);

/* A client over a socketpair; greeting read and checked. */
int rig_connect(struct rig *r);
/* As rig_connect, the greeting unread; 0 or the server's error. */
int rig_adopt(struct rig *r, int *client);
void rig_event(struct rig *r, const char *name, json_t *data);
uint32_t rig_clients(struct rig *r);
/* Waits until the server has n clients. */
void rig_expect_clients(struct rig *r, uint32_t n);

void client_send(int fd, const char *text);
/* The next line without its end; NULL at the end of the stream. Static storage. */
const char *client_line(int fd);
void client_expect(int fd, const char *line);
void client_expect_end(int fd);

#endif
