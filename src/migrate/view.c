#include "migrate/view.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define STAGE "precopy"

_Static_assert(NATIVE_VIEW_MAX <= CHANNEL_FDS_MAX, "all descriptors of a record travel at once");

/* Memory that can be read to the end of the region, and whose reading waits for nobody. */
static bool is_usable(int fd, uint64_t offset, uint64_t size)
{
    struct statfs fs;
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != O_WRONLY && !fstat(fd, &st) &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size >= offset &&
           (uint64_t)st.st_size - offset >= size && !fstatfs(fd, &fs) &&
           (fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC);
}

static int take_one(struct view *v, const struct native_view_file *file, int fd,
                    const struct godwit_region *regions, uint32_t nregions, struct err *e)
{
    if (file->region >= nregions || atomic_load(&v->taken[file->region]))
        return err_set(e, -EPROTO, STAGE, "a file for region %u is offered, which %s", file->region,
                       file->region >= nregions ? "was never announced" : "has one already");
    if (!is_usable(fd, file->offset, regions[file->region].size))
        return -ENOTSUP;
    v->offset[file->region] = file->offset;
    atomic_store(&v->taken[file->region], fd + 1);
    return 0;
}

int view_take(struct view *v, struct channel *c, const struct native_view *offer,
              const struct godwit_region *regions, uint32_t nregions, struct native_view *answer,
              struct err *e)
{
    int fds[NATIVE_VIEW_MAX];
    uint32_t n = channel_take_fds(c, fds, NATIVE_VIEW_MAX);
    int ret = 0;

    answer->n = 0;
    for (uint32_t i = 0; i < n; i++) { /* fewer than offered: somebody in between dropped them */
        int one = ret || n != offer->n ? -ENOTSUP
                                       : take_one(v, &offer->files[i], fds[i], regions, nregions, e);

        if (!one)
            answer->files[answer->n++] =
                (struct native_view_file){.region = offer->files[i].region};
        else
            close(fds[i]);
        if (one && one != -ENOTSUP)
            ret = one;
    }
    return ret;
}

int view_read(const struct view *v, uint32_t region, uint64_t at, void *to, size_t len,
              struct err *e)
{
    int taken = atomic_load(&v->taken[region]);
    size_t done = 0;

    if (!taken)
        return err_set(e, -EPROTO, STAGE, "pages of region %u are to be seen, but no file was given",
                       region);
    while (done < len) {
        ssize_t n = pread(taken - 1, (uint8_t *)to + done, len - done,
                          (off_t)(v->offset[region] + at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(e, -errno, STAGE, "reading the memory of the source");
        if (n == 0)
            return err_set(e, -EPROTO, STAGE, "the file behind region %u was cut short at %" PRIu64,
                           region, at + done);
        done += (size_t)n;
    }
    return 0;
}

void view_close(struct view *v)
{
    for (uint32_t i = 0; i < GODWIT_REGIONS_MAX; i++) {
        int taken = atomic_exchange(&v->taken[i], 0);

        if (taken)
            close(taken - 1);
    }
}

void view_offer(const struct godwit_region *regions, uint32_t nregions, struct native_view *offer,
                int fds[NATIVE_VIEW_MAX])
{
    memset(offer, 0, sizeof(*offer));
    for (uint32_t i = 0; i < nregions && offer->n < NATIVE_VIEW_MAX; i++) {
        if (regions[i].fd <= 0)
            continue;
        fds[offer->n] = regions[i].fd;
        offer->files[offer->n++] =
            (struct native_view_file){.region = i, .offset = regions[i].fd_offset};
    }
}
