#include "vmm/flush.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "block/image.h"

#define FLUSH_STEP_NS (2 * NS_PER_MS)

/* Shared by the flushing thread and the one that waits; the last to let go frees it. */
struct flush {
    atomic_int holders;
    atomic_bool done;
    uint32_t n;
    int fds[MACHINE_DRIVES_MAX];
};

static void flush_let_go(struct flush *f)
{
    if (atomic_fetch_sub(&f->holders, 1) == 1)
        free(f);
}

static void *flush_thread(void *arg)
{
    struct flush *f = arg;

    pthread_setname_np(pthread_self(), "flush");
    for (uint32_t i = 0; i < f->n; i++) {
        if (fdatasync(f->fds[i]) != 0)
            log_warn("block", "flushing a disk before the stop: %m");
        close(f->fds[i]);
    }
    atomic_store(&f->done, true);
    flush_let_go(f);
    return NULL;
}

static struct flush *flush_new(const struct board_backends *b)
{
    struct flush *f = calloc(1, sizeof(*f));

    for (uint32_t i = 0; f && i < b->nimages; i++) {
        const struct image *image = b->images[i].image;
        int fd = image->readonly ? -1 : fcntl(image->fd, F_DUPFD_CLOEXEC, 0);

        if (fd >= 0)
            f->fds[f->n++] = fd;
    }
    return f;
}

static bool flush_start(struct flush *f)
{
    pthread_t thread;

    atomic_init(&f->holders, 2);
    if (pthread_create(&thread, NULL, flush_thread, f) != 0)
        return false;
    pthread_detach(thread);
    return true;
}

void flush_images(const struct board_backends *b, uint64_t limit_ns, const atomic_bool *cancel)
{
    uint64_t deadline = clock_now_ns() + limit_ns;
    struct flush *f = flush_new(b);

    if (!f)
        return; /* the stop flushes as well */
    if (f->n == 0 || !flush_start(f)) {
        for (uint32_t i = 0; i < f->n; i++)
            close(f->fds[i]);
        free(f);
        return;
    }
    while (!atomic_load(&f->done) && clock_now_ns() < deadline && !(cancel && atomic_load(cancel)))
        clock_sleep_ns(FLUSH_STEP_NS);
    flush_let_go(f);
}
