#include "migrate/tape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stream/native/native.h"

#define STAGE   "file"
#define VERSION 1
#define COPY    (64U << 10)

static int fail(const struct tape *t, int code, const char *verb, struct err *e)
{
    return err_set_errno(e, code, STAGE, "%s '%s'", verb, t->part[0] ? t->part : t->path);
}

static void put_le(uint8_t *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get_le(const uint8_t *p, int n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int write_all(struct tape *t, const void *data, size_t len, struct err *e)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = write(t->fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(t, -errno, "cannot write", e);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Somebody else's words before ours. */
static int keep_front(struct tape *t, uint64_t offset, struct err *e)
{
    int ret = 0, from = open(t->path, O_RDONLY | O_CLOEXEC);
    uint8_t data[4096];

    if (from < 0)
        return err_set_errno(e, -errno, STAGE, "offset: cannot read '%s'", t->path);
    while (!ret && offset > 0) {
        ssize_t n = read(from, data, offset < sizeof(data) ? (size_t)offset : sizeof(data));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            ret = err_set(e, n ? -errno : -EINVAL, STAGE, "offset: '%s' is shorter", t->path);
        else
            ret = write_all(t, data, (size_t)n, e);
        offset -= n > 0 ? (uint64_t)n : 0;
    }
    close(from);
    return ret;
}

static int write_head(struct tape *t, struct err *e)
{
    uint8_t head[TAPE_HEAD] = {0};

    put_le(head, NATIVE_MAGIC, 8);
    memcpy(head + 8, "FILE", 4);
    put_le(head + 12, VERSION, 4);
    return write_all(t, head, sizeof(head), e);
}

/* Two that write to one name would spoil each other's file.  Who died leaves a file that nobody
 * holds, and it is written anew; who is about to finish renames it under its lock. */
static int open_part(struct tape *t, struct err *e)
{
    /* The guest's memory is in it: nobody else's to read. */
    int fd = open(t->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat held, named;

    if (fd < 0)
        return err_set_errno(e, -errno, STAGE, "cannot make '%s'", t->part);
    if (flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &held) || stat(t->part, &named) ||
        held.st_ino != named.st_ino || held.st_dev != named.st_dev) {
        close(fd);
        return err_set(e, -EBUSY, STAGE, "'%s' is being written by another migration", t->part);
    }
    if (ftruncate(fd, 0)) {
        int ret = err_set_errno(e, -errno, STAGE, "cannot empty '%s'", t->part);

        close(fd);
        return ret;
    }
    t->fd = fd;
    return 0;
}

int tape_create(struct tape *t, const char *path, uint64_t offset, struct err *e)
{
    int ret;

    *t = (struct tape){.fd = -1};
    pthread_mutex_init(&t->lock, NULL);
    snprintf(t->path, sizeof(t->path), "%s", path);
    snprintf(t->part, sizeof(t->part), "%s.part", path);
    ret = open_part(t, e);
    if (!ret) {
        t->writing = true;
        ret = offset ? keep_front(t, offset, e) : 0;
        if (!ret)
            ret = write_head(t, e);
    }
    if (ret)
        tape_close(t);
    return ret;
}

int tape_write(struct tape *t, uint8_t channel, enum mux_kind kind, const void *data, size_t len,
               struct err *e)
{
    const uint8_t *at = data;
    int ret = 0;

    pthread_mutex_lock(&t->lock);
    do {
        uint32_t part = len < MUX_FRAME ? (uint32_t)len : MUX_FRAME;
        uint8_t head[MUX_HEADER] = {0};

        put_le(head, part, 4);
        head[4] = channel;
        head[5] = (uint8_t)kind;
        ret = write_all(t, head, sizeof(head), e);
        if (!ret)
            ret = write_all(t, at, part, e);
        at += part;
        len -= part;
    } while (!ret && len > 0);
    pthread_mutex_unlock(&t->lock);
    return ret;
}

int tape_sync(struct tape *t, struct err *e)
{
    return fdatasync(t->fd) ? fail(t, -errno, "cannot write", e) : 0;
}

/* The name is on the disk when its folder is. */
static int sync_folder(const struct tape *t, struct err *e)
{
    char folder[TAPE_PATH_MAX];
    char *slash;
    int fd, ret;

    snprintf(folder, sizeof(folder), "%s", t->path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ret = fd < 0 || fsync(fd) ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return ret ? err_set_errno(e, ret, STAGE, "cannot write the folder of '%s'", t->path) : 0;
}

int tape_finish(struct tape *t, struct err *e)
{
    if (rename(t->part, t->path))
        return fail(t, -errno, "cannot rename", e);
    t->writing = false;
    return sync_folder(t, e);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* 1, or 0 when the file ends before the first byte; -EPROTO when it ends after it. */
static int read_all(struct tape *t, void *data, size_t len, struct err *e)
{
    uint8_t *at = data;
    size_t got = 0;

    while (got < len) {
        ssize_t n = read(t->fd, at + got, len - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(t, -errno, "cannot read", e);
        if (n == 0 && got == 0)
            return 0;
        if (n == 0)
            return err_set(e, -EPROTO, STAGE, "'%s' is cut short", t->path);
        got += (size_t)n;
    }
    return 1;
}

static int check_head(struct tape *t, struct err *e)
{
    uint8_t head[TAPE_HEAD];
    int ret = read_all(t, head, sizeof(head), e);

    if (ret < 0)
        return ret;
    if (ret == 0 || get_le(head, 8) != NATIVE_MAGIC || memcmp(head + 8, "FILE", 4) != 0)
        return err_set(e, -EPROTO, STAGE, "'%s' holds no machine (is the offset right?)", t->path);
    if (get_le(head + 12, 4) != VERSION)
        return err_set(e, -EPROTONOSUPPORT, STAGE, "'%s' is of version %llu, this reads %d",
                       t->path, (unsigned long long)get_le(head + 12, 4), VERSION);
    return 0;
}

int tape_open(struct tape *t, const char *path, uint64_t offset, struct err *e)
{
    int ret;

    *t = (struct tape){.fd = -1};
    pthread_mutex_init(&t->lock, NULL);
    snprintf(t->path, sizeof(t->path), "%s", path);
    t->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (t->fd < 0 || lseek(t->fd, (off_t)offset, SEEK_SET) < 0)
        ret = fail(t, -errno, "cannot read", e);
    else
        ret = check_head(t, e);
    if (ret)
        tape_close(t);
    return ret;
}

int tape_read(struct tape *t, struct tape_frame *f, struct err *e)
{
    uint8_t head[MUX_HEADER];
    int ret = read_all(t, head, sizeof(head), e);

    if (ret <= 0)
        return ret;
    f->len = (uint32_t)get_le(head, 4);
    f->channel = head[4];
    f->kind = head[5];
    if (head[5] > MUX_END || head[6] || head[7] || f->len > MUX_FRAME ||
        (f->kind == MUX_DATA) != (f->len > 0))
        return err_set(e, -EPROTO, STAGE, "'%s' holds bytes that are no frame", t->path);
    ret = f->len ? read_all(t, f->data, f->len, e) : 1;
    return ret == 0 ? err_set(e, -EPROTO, STAGE, "'%s' is cut short", t->path) : ret;
}

void tape_discard(struct tape *t)
{
    pthread_mutex_lock(&t->lock);
    if (t->writing)
        unlink(t->part);
    t->writing = false;
    pthread_mutex_unlock(&t->lock);
}

void tape_close(struct tape *t)
{
    tape_discard(t);
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    pthread_mutex_destroy(&t->lock);
}
