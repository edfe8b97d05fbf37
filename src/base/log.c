/*
 * Messages always go to descriptor 2; log_open puts the file there.  So what libraries print lands
 * in the same place, and the level stays the one mutable global of the whole program.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 2048

static atomic_int log_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};
_Static_assert(sizeof(level_names) / sizeof(level_names[0]) == LOG_LEVEL_DEBUG + 1,
               "every level has a name");

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

int log_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    int ret = 0;

    if (fd < 0)
        return -errno;
    if (fd == STDERR_FILENO) /* started with descriptor 2 closed: it is in place already */
        return 0;
    if (dup2(fd, STDERR_FILENO) < 0)
        ret = -errno;
    close(fd);
    return ret;
}

static size_t put_prefix(char *line, size_t cap, enum log_level level, const char *subsystem)
{
    uint64_t now = clock_realtime_ns();
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm tm;
    size_t len;
    int n;

    gmtime_r(&seconds, &tm);
    len = strftime(line, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    n = snprintf(line + len, cap - len, ".%03uZ %s %.64s: ", (unsigned)(now % NS_PER_S / NS_PER_MS),
                 level_names[level], subsystem);
    return len + (size_t)n;
}

/* Texts may quote a peer or a guest: they must not forge lines or drive a terminal. */
static void disarm(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
}

void log_msg(enum log_level level, const char *subsystem, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    size_t start, room, len;
    int saved = errno, n;
    va_list ap;

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    start = put_prefix(line, sizeof(line), level, subsystem);
    room = sizeof(line) - start;
    va_start(ap, fmt);
    n = vsnprintf(line + start, room, fmt, ap);
    va_end(ap);
    len = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    disarm(line + start, len);
    line[start + len] = '\n'; /* where the terminator stood: write() takes a length */
    while (write(STDERR_FILENO, line, start + len + 1) < 0 && errno == EINTR)
        ;
    errno = saved;
}
