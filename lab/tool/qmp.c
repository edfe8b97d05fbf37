/*
 * labtool qmp: negotiates, sends each command of its arguments, and prints each answer on its
 * own line. Events are left out: without an id, an answer starts with its one key. Whoever calls
 * it has a JSON parser.
 */
#include "tool.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_S = 30 };

static FILE *connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return NULL;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
        close(fd);
        return NULL;
    }
    return fdopen(fd, "r");
}

/* Sends one command and copies its answer to out (NULL: drops it). Returns 0, or -1. */
static int transact(FILE *socket, const char *command, FILE *out)
{
    static char line[1 << 20];

    if (dprintf(fileno(socket), "%s\n", command) < 0)
        return -1;
    while (fgets(line, sizeof(line), socket)) {
        if (!strncmp(line, "{\"return\"", 9) || !strncmp(line, "{\"error\"", 8)) {
            if (out)
                fputs(line, out);
            return 0;
        }
    }
    return -1;
}

int cmd_qmp(int argc, char **argv)
{
    char greeting[4096];
    FILE *socket = argc >= 3 ? connect_to(argv[1]) : NULL;

    if (argc < 3) {
        fprintf(stderr, "qmp: expected a socket and commands\n");
        return 2;
    }
    if (!socket || !fgets(greeting, sizeof(greeting), socket) ||
        transact(socket, "{\"execute\":\"qmp_capabilities\"}", NULL) < 0) {
        perror(argv[1]);
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        if (transact(socket, argv[i], stdout) < 0) {
            fprintf(stderr, "qmp: no answer to %s\n", argv[i]);
            return 1;
        }
    }
    fclose(socket);
    return 0;
}
