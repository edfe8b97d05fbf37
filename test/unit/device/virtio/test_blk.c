/* virtio-blk through a guest's driver, over both transports, on real files and a real io_uring. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device/virtio/vdev.h"

#define IMAGE_SIZE (8U << 20)
#define HEADERS    0x300000U /* request i: 16 bytes at + 32 i, status at + 32 i + 16 */
#define QUEUE      64
#define NOT_DONE   0x77
#define BIT(n)     (1ULL << (n))

/* A page of RAM that is not there yet: who needs it waits, as for a slow disk. */
struct missing {
    int uffd; /* -1: nothing is missing */
    void *host;
};

struct fixture {
    struct rig rig;
    struct missing missing;
    enum rig_transport transport;
    int fd;
    char path[64];
    struct image *image;
    struct device *dev;
    struct driver g;
    uint32_t requests; /* made so far */
};

static struct device *make_disk(struct fixture *f, struct image *image)
{
    struct virtio_device *v;
    struct err e = ERR_INIT;

    if (virtio_blk_new(&f->rig.env, "disk0", image, "serial-0123456789", &v, &e))
        fail_msg("%s", e.text);
    return rig_plug(&f->rig, v, f->transport);
}

static void open_disk(struct fixture *f, bool readonly, bool direct)
{
    struct err e = ERR_INIT;

    if (image_open(f->path, readonly, direct, &f->image, &e))
        fail_msg("%s", e.text);
    f->dev = make_disk(f, f->image);
    driver_probe(&f->g, &f->rig, f->dev, f->transport, 1, QUEUE);
    rig_start(f->dev);
}

static void close_disk(struct fixture *f)
{
    rig_stop(&f->rig, f->dev);
    rig_unplug(f->dev);
    image_close(f->image);
    f->image = NULL;
}

static struct fixture *fixture_new(enum rig_transport t)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->transport = t;
    f->missing.uffd = -1;
    rig_init(&f->rig);
    f->fd = rig_image_file(IMAGE_SIZE, f->path);
    return f;
}

static int setup_pci(void **state)
{
    *state = fixture_new(RIG_PCI);
    open_disk(*state, false, false);
    return 0;
}

static int setup_mmio(void **state)
{
    *state = fixture_new(RIG_MMIO_BUS);
    open_disk(*state, false, false);
    return 0;
}

static void provide_page(struct missing *m)
{
    struct uffdio_range range = {.start = (uintptr_t)m->host, .len = 2 << 20};

    if (m->uffd < 0)
        return;
    /* Unregistered, a missing page is an ordinary zero page; who waits is woken. */
    assert_int_equal(ioctl(m->uffd, UFFDIO_UNREGISTER, &range), 0);
    close(m->uffd);
    m->uffd = -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    provide_page(&f->missing);
    if (f->image)
        close_disk(f);
    close(f->fd);
    rig_fini(&f->rig);
    free(f);
    return 0;
}

/* Requests */

static uint64_t header_of(uint32_t i)
{
    return HEADERS + 32ULL * i;
}

static uint8_t status_of(struct fixture *f, uint32_t i)
{
    return __atomic_load_n((uint8_t *)driver_ram(&f->g, header_of(i) + 16), __ATOMIC_ACQUIRE);
}

/* Makes a request available with n data segments; its number. */
static uint32_t submit(struct fixture *f, uint32_t type, uint64_t sector,
                       const struct driver_seg *data, uint32_t n)
{
    struct virtio_blk_outhdr head = {.type = type, .sector = sector};
    struct driver_seg segs[DRIVER_SEGS];
    uint32_t i = f->requests++ % 1024;

    memcpy(driver_ram(&f->g, header_of(i)), &head, sizeof(head));
    *(uint8_t *)driver_ram(&f->g, header_of(i) + 16) = NOT_DONE;
    segs[0] = (struct driver_seg){.gpa = header_of(i), .len = 16};
    if (n)
        memcpy(&segs[1], data, n * sizeof(*data));
    segs[n + 1] = (struct driver_seg){.gpa = header_of(i) + 16, .len = 1, .in = true};
    driver_add(&f->g, 0, segs, n + 2);
    return i;
}

/* One request from beginning to end; its status. */
static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint64_t gpa,
                       uint32_t len)
{
    bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    struct driver_seg data = {.gpa = gpa, .len = len, .in = in};
    uint32_t i = submit(f, type, sector, &data, len ? 1 : 0);
    struct vring_used_elem used;

    driver_kick(&f->g, 0);
    used = driver_wait(&f->g, 0);
    if (status_of(f, i) == VIRTIO_BLK_S_OK)
        assert_int_equal(used.len, (type == VIRTIO_BLK_T_IN ? len : in ? 20 : 0) + 1);
    return status_of(f, i);
}

static void file_read(struct fixture *f, uint64_t offset, void *out, size_t len)
{
    assert_int_equal(pread(f->fd, out, len, (off_t)offset), len);
}

static void fill(struct fixture *f, uint64_t gpa, uint32_t len, uint32_t seed)
{
    uint8_t *p = driver_ram(&f->g, gpa);

    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 31 + seed + (i >> 8));
}

/* What every disk does */

static void tells_what_it_is(void **state)
{
    struct fixture *f = *state;
    uint64_t features;
    struct driver g;

    assert_int_equal(driver_config(&f->g, 0, 8), IMAGE_SIZE / 512);
    assert_int_equal(driver_config(&f->g, offsetof(struct virtio_blk_config, seg_max), 4), 254);
    assert_int_equal(driver_config(&f->g, offsetof(struct virtio_blk_config, blk_size), 4), 512);
    assert_int_equal(driver_config(&f->g, 60, 4), 0); /* behind its end */
    driver_attach(&g, &f->rig, f->dev, f->transport);
    features = driver_offered(&g);
    assert_true(features & BIT(VIRTIO_F_VERSION_1));
    assert_true(features & BIT(VIRTIO_BLK_F_FLUSH));
    assert_true(features & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
    assert_false(features & BIT(VIRTIO_BLK_F_RO));
}

static void reads(void **state)
{
    struct fixture *f = *state;
    uint8_t expect[8192];

    rig_dirty(&f->rig, DRIVER_DATA);
    rig_dirty(&f->rig, DRIVER_DATA + 4096);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 33, DRIVER_DATA, 8192), VIRTIO_BLK_S_OK);
    file_read(f, 33 * 512, expect, sizeof(expect));
    assert_memory_equal(driver_ram(&f->g, DRIVER_DATA), expect, sizeof(expect));
    assert_true(rig_dirty(&f->rig, DRIVER_DATA));
    assert_true(rig_dirty(&f->rig, DRIVER_DATA + 4096));
    assert_false(rig_dirty(&f->rig, DRIVER_DATA + 8192));
    assert_true(driver_interrupts(&f->g, 0) > 0);
}

static void writes(void **state)
{
    struct fixture *f = *state;
    uint8_t got[4096];

    fill(f, DRIVER_DATA, 4096, 7);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 100, DRIVER_DATA, 4096), VIRTIO_BLK_S_OK);
    file_read(f, 100 * 512, got, sizeof(got));
    assert_memory_equal(driver_ram(&f->g, DRIVER_DATA), got, sizeof(got));
    assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
}

/* A driver may cut header, data and status as it likes (virtio 1.2, 2.7.4). */
static void takes_any_framing(void **state)
{
    struct fixture *f = *state;
    struct virtio_blk_outhdr head = {.type = VIRTIO_BLK_T_IN, .sector = 8};
    uint8_t expect[1024];
    struct driver_seg segs[] = {
        {HEADERS,            3,   false},
        {HEADERS + 3,        13,  false},
        {DRIVER_DATA,        1,   true },
        {DRIVER_DATA + 1,    511, true },
        {DRIVER_DATA + 4096, 513, true }, /* the status is its last
  byte */
    };

    memcpy(driver_ram(&f->g, HEADERS), &head, sizeof(head));
    *(uint8_t *)driver_ram(&f->g, DRIVER_DATA + 4096 + 512) = NOT_DONE;
    driver_add(&f->g, 0, segs, 5);
    driver_kick(&f->g, 0);
    assert_int_equal(driver_wait(&f->g, 0).len, 1025);
    assert_int_equal(*(uint8_t *)driver_ram(&f->g, DRIVER_DATA + 4096 + 512), VIRTIO_BLK_S_OK);
    file_read(f, 8 * 512, expect, sizeof(expect));
    assert_memory_equal(driver_ram(&f->g, DRIVER_DATA), expect, 512);
    assert_memory_equal(driver_ram(&f->g, DRIVER_DATA + 4096), expect + 512, 512);
}

static void tells_its_serial(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, DRIVER_DATA, 20), VIRTIO_BLK_S_OK);
    assert_memory_equal(driver_ram(&f->g, DRIVER_DATA), "serial-0123456789\0\0\0", 20);
}

static uint8_t ranges(struct fixture *f, uint32_t type,
                      const struct virtio_blk_discard_write_zeroes *r, uint32_t n)
{
    memcpy(driver_ram(&f->g, DRIVER_DATA), r, n * sizeof(*r));
    return request(f, type, 0, DRIVER_DATA, n * (uint32_t)sizeof(*r));
}

static bool all_zero(struct fixture *f, uint64_t offset, size_t len)
{
    uint8_t *p = malloc(len);
    bool zero = true;

    file_read(f, offset, p, len);
    for (size_t i = 0; i < len; i++)
        zero = zero && !p[i];
    free(p);
    return zero;
}

static void writes_zeroes(void **state)
{
    struct fixture *f = *state;
    const struct virtio_blk_discard_write_zeroes two[] = {
        {.sector = 16,      .num_sectors = 1200                        },
        { .sector = 4096, .num_sectors = 8, .flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP},
    };

    assert_false(all_zero(f, 16 * 512, 512));
    assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, two, 2), VIRTIO_BLK_S_OK);
    assert_true(all_zero(f, 16 * 512, 1200 * 512));
    assert_true(all_zero(f, 4096 * 512, 8 * 512));
    assert_false(all_zero(f, 15 * 512, 512));
    assert_false(all_zero(f, 1216 * 512, 512));
    assert_false(all_zero(f, 4104 * 512, 512));
}

static void discards(void **state)
{
    struct fixture *f = *state;
    const struct virtio_blk_discard_write_zeroes one = {.sector = 2048, .num_sectors = 2048};
    struct stat before, after;

    if (!(f->g.features & BIT(VIRTIO_BLK_F_DISCARD))) {
        print_message("skipped: discards: the file system of /var/tmp punches no holes\n");
        skip();
    }
    fsync(f->fd);
    assert_int_equal(fstat(f->fd, &before), 0);
    assert_int_equal(ranges(f, VIRTIO_BLK_T_DISCARD, &one, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(fstat(f->fd, &after), 0);
    assert_true(after.st_blocks <= before.st_blocks - 2048);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(all_zero(f, 2048 * 512, 2048 * 512));
}

static void refuses_what_it_must(void **state)
{
    struct fixture *f = *state;
    const uint64_t end = IMAGE_SIZE / 512;
    const struct virtio_blk_discard_write_zeroes behind = {.sector = end - 1, .num_sectors = 2},
                                                 flags = {
                                                     .sector = 0, .num_sectors = 8, .flags = 2};

    assert_int_equal(request(f, VIRTIO_BLK_T_IN, end, DRIVER_DATA, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, end - 1, DRIVER_DATA, 1024), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, UINT64_MAX, DRIVER_DATA, 512),
                     VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, UINT64_MAX / 512, DRIVER_DATA, 512),
                     VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 511), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, 99, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, &behind, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, &flags, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DRIVER_DATA, 17), VIRTIO_BLK_S_IOERR);
    /* And goes on. */
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, end - 1, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
}

static void breaks_on_a_request_without_status(void **state)
{
    struct fixture *f = *state;
    struct driver_seg only = {.gpa = HEADERS, .len = 16};

    driver_add(&f->g, 0, &only, 1);
    driver_kick(&f->g, 0);
    for (int i = 0; i < 1000 && !(driver_status(&f->g) & VIRTIO_CONFIG_S_NEEDS_RESET); i++)
        rig_run_ms(&f->rig, 1);
    assert_true(driver_status(&f->g) & VIRTIO_CONFIG_S_NEEDS_RESET);
    /* A reset makes it whole. */
    driver_probe(&f->g, &f->rig, f->dev, f->transport, 1, QUEUE);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
}

/* Many in flight at once, each checked. */
static void serves_many(void **state)
{
    struct fixture *f = *state;
    uint8_t expect[512];
    uint32_t first = 0;

    f->g.indirect = true;
    for (uint32_t i = 0; i < 40; i++) {
        struct driver_seg data = {.gpa = DRIVER_DATA + 0x1000 * i, .len = 512, .in = true};
        uint32_t n = submit(f, VIRTIO_BLK_T_IN, 3 * i, &data, 1);

        if (i == 0)
            first = n;
    }
    driver_kick(&f->g, 0);
    for (uint32_t i = 0; i < 40; i++)
        driver_wait(&f->g, 0);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(status_of(f, first + i), VIRTIO_BLK_S_OK);
        file_read(f, 3 * 512 * i, expect, sizeof(expect));
        assert_memory_equal(driver_ram(&f->g, DRIVER_DATA + 0x1000 * i), expect, 512);
    }
}

static void serves_round_after_round(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 300; i++) {
        fill(f, DRIVER_DATA, 512, i);
        f->g.slow_doorbell = i % 2;
        assert_int_equal(request(f, VIRTIO_BLK_T_OUT, i, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
        memset(driver_ram(&f->g, DRIVER_DATA), 0, 512);
        assert_int_equal(request(f, VIRTIO_BLK_T_IN, i, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
        fill(f, DRIVER_DATA + 512, 512, i);
        assert_memory_equal(driver_ram(&f->g, DRIVER_DATA), driver_ram(&f->g, DRIVER_DATA + 512),
                            512);
    }
}

/* Without VIRTIO_BLK_F_FLUSH each write must be stable before it is reported; seen here is that
 * the longer way works. */
static void writes_through(void **state)
{
    struct fixture *f = *state;
    uint8_t got[512];

    driver_attach(&f->g, &f->rig, f->dev, f->transport);
    assert_true(driver_negotiate(&f->g, BIT(VIRTIO_F_VERSION_1)));
    driver_queue(&f->g, 0, 4);
    driver_ok(&f->g);
    fill(f, DRIVER_DATA, 512, 99);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 5, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
    file_read(f, 5 * 512, got, 512);
    assert_memory_equal(got, driver_ram(&f->g, DRIVER_DATA), 512);
    /* Not negotiated: */
    assert_int_equal(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DRIVER_DATA, 16),
                     VIRTIO_BLK_S_UNSUPP);
}

/* Kinds of images */

static void readonly_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    uint8_t before[512], after[512];

    close_disk(f);
    open_disk(f, true, false);
    assert_true(f->g.features & BIT(VIRTIO_BLK_F_RO));
    file_read(f, 0, before, 512);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, DRIVER_DATA, 16), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
    file_read(f, 0, after, 512);
    assert_memory_equal(before, after, 512);
}

/* Buffers that direct I/O cannot take as they are, more of them than there are bounce buffers, and
 * larger than one. */
static void direct_takes_any_buffer(void **state)
{
    struct fixture *f = *state;
    const uint32_t len = 320 * 1024, n = 20;
    struct err e = ERR_INIT;
    struct image *probe;
    uint8_t *got;

    if (image_open(f->path, false, true, &probe, &e)) {
        print_message("skipped: direct_takes_any_buffer: %s\n", e.text);
        skip();
    }
    image_close(probe);
    close_disk(f);
    open_disk(f, false, true);
    got = malloc(len);
    f->g.indirect = true;
    for (uint32_t pass = 0; pass < 2; pass++) { /* write, then read back elsewhere */
        for (uint32_t i = 0; i < n; i++) {
            uint64_t gpa = DRIVER_DATA + (1U << 20) * i + (pass ? 512U << 10 : 0) + 4 * i + 1;
            struct driver_seg data[] = {
                {gpa,       100,       pass == 1},
                {gpa + 100, len - 100, pass == 1},
            };

            if (!pass)
                fill(f, gpa, len, i);
            submit(f, pass ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, len / 512 * i, data, 2);
        }
        driver_kick(&f->g, 0);
        for (uint32_t i = 0; i < n; i++)
            driver_wait(&f->g, 0);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t gpa = DRIVER_DATA + (1U << 20) * i + 4 * i + 1;

        assert_int_equal(status_of(f, i), VIRTIO_BLK_S_OK);
        assert_int_equal(status_of(f, n + i), VIRTIO_BLK_S_OK);
        file_read(f, (uint64_t)len * i, got, len);
        assert_memory_equal(driver_ram(&f->g, gpa), got, len);
        assert_memory_equal(driver_ram(&f->g, gpa + (512 << 10)), got, len);
    }
    free(got);
}

/* An image that somebody cut shorter: an error of the request, nothing else. */
static void survives_a_shortened_image(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ftruncate(f->fd, 4096), 0);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 8192), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 64, DRIVER_DATA, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 4096), VIRTIO_BLK_S_OK);
}

/* Stopping and moving */

static void stopped_takes_nothing(void **state)
{
    struct fixture *f = *state;
    struct driver_seg data = {.gpa = DRIVER_DATA, .len = 512, .in = true};
    uint32_t i, interrupts;

    driver_ack(&f->g);
    rig_stop(&f->rig, f->dev);
    i = submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
    interrupts = driver_interrupts(&f->g, 0);
    driver_kick(&f->g, 0);
    rig_run_ms(&f->rig, 30);
    assert_int_equal(status_of(f, i), NOT_DONE);
    assert_int_equal(driver_interrupts(&f->g, 0), interrupts);
    rig_start(f->dev);
    driver_wait(&f->g, 0);
    assert_int_equal(status_of(f, i), VIRTIO_BLK_S_OK);
    assert_true(driver_interrupts(&f->g, 0) > interrupts);
}

/* To a machine like this one, at the same place: state through bytes, image and RAM as they are. */
static void move(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct buf b;

    rig_stop(&f->rig, f->dev);
    rig_save(f->dev, &b);
    rig_unplug(f->dev);
    f->dev = make_disk(f, f->image);
    if (rig_load(f->dev, &b, &e))
        fail_msg("%s", e.text);
    buf_fini(&b);
    rig_start(f->dev);
}

/* Numbered writes with moves in their midst: each is done exactly once. */
static void moves_without_losing_a_request(void **state)
{
    struct fixture *f = *state;
    uint32_t total = 0, used[1024] = {0};
    struct vring_used_elem u;
    uint8_t got[512];

    f->g.indirect = true;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 10; i++, total++) {
            struct driver_seg data = {.gpa = DRIVER_DATA + 1024ULL * total, .len = 512};

            fill(f, data.gpa, 512, total);
            submit(f, VIRTIO_BLK_T_OUT, total, &data, 1);
            if (i == 5)
                driver_kick(&f->g, 0); /* some will be done, some not looked at */
        }
        move(f);
        while (f->g.q[0].last_used != (uint16_t)total) {
            u = driver_wait(&f->g, 0);
            used[u.id]++;
        }
    }
    rig_run_ms(&f->rig, 20);
    assert_false(driver_used(&f->g, 0, &u)); /* nothing twice */
    for (uint32_t i = 0; i < total; i++) {
        assert_int_equal(status_of(f, i), VIRTIO_BLK_S_OK);
        file_read(f, 512ULL * i, got, 512);
        assert_memory_equal(got, driver_ram(&f->g, DRIVER_DATA + 1024ULL * i), 512);
    }
    for (uint32_t head = 0; head < QUEUE; head++)
        assert_true(used[head] == total / QUEUE || used[head] == total / QUEUE + 1);
}

static void moves_before_it_is_used(void **state)
{
    struct fixture *f = *state;

    driver_attach(&f->g, &f->rig, f->dev, f->transport);
    move(f);
    driver_probe(&f->g, &f->rig, f->dev, f->transport, 1, QUEUE);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
}

static void refuses_another_disk(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct buf b;

    rig_stop(&f->rig, f->dev);
    rig_save(f->dev, &b);
    rig_unplug(f->dev);
    image_close(f->image);
    assert_int_equal(ftruncate(f->fd, IMAGE_SIZE / 2), 0);
    assert_int_equal(image_open(f->path, false, false, &f->image, &e), 0);
    f->dev = make_disk(f, f->image);
    assert_int_equal(rig_load(f->dev, &b, &e), -EPROTO);
    assert_non_null(strstr(e.text, "16384 sectors"));
    buf_fini(&b);
}

/* Bytes from a stranger: each state here would have the device reach where it must not. */
static void refuses_hostile_state(void **state)
{
    struct fixture *f = *state;
    const struct device_ops *ops = f->dev->ops;
    uint32_t at =
        f->transport == RIG_PCI ? 0 : (uint32_t)offsetof(struct virtio_mmio_state, virtio);
    uint8_t *good = calloc(1, ops->state->size), *bad = malloc(ops->state->size);
    struct err e = ERR_INIT;
    const char *taken = NULL; /* judged without the lock, which a failed assertion would keep */
    struct virtio_state *v;
    int good_ret;

    /* Where struct virtio_state lies in a PCI device's state is told by its table. */
    for (uint32_t i = 0; i < ops->state->nfields; i++)
        if (ops->state->fields[i].sub == &virtio_state_desc)
            at = ops->state->fields[i].offset;
    rig_stop(&f->rig, f->dev);
    pthread_mutex_lock(&f->dev->lock);
    ops->save(f->dev, good);
    v = (struct virtio_state *)(void *)(bad + at);
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        memcpy(bad, good, ops->state->size);                                                       \
        change;                                                                                    \
        taken = ops->load(f->dev, bad, &e) ? taken : #change;                                      \
    } while (0)
    REFUSED(v->device_id = 1);
    REFUSED(v->nqueues = 2);
    REFUSED(v->nqueues = UINT32_MAX);
    REFUSED(v->offered = UINT64_MAX);
    REFUSED(v->accepted = UINT64_MAX);
    REFUSED(v->accepted = 0);
    REFUSED(v->status = 0xff);
    REFUSED(v->status = VIRTIO_CONFIG_S_DRIVER_OK);
    REFUSED(v->config_len = 0);
    REFUSED(v->config_len = 64);
    REFUSED(v->config[0] ^= 1);
    REFUSED(v->queues[0].size = 65535);
    REFUSED(v->queues[0].desc = UINT64_MAX - 15);
    REFUSED(v->queues[0].last_avail += QUEUE + 1);
    if (f->transport == RIG_PCI)
        REFUSED(v->queues[0].vector = 2);
#undef REFUSED
    good_ret = ops->load(f->dev, good, &e);
    pthread_mutex_unlock(&f->dev->lock);
    if (taken)
        fail_msg("taken: %s", taken);
    assert_int_equal(good_ret, 0);
    free(good);
    free(bad);
    rig_start(f->dev);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
}

/* Resets in flight: a write whose data the kernel cannot get yet hangs as a slow disk would. */

static bool miss_page(struct fixture *f, uint64_t gpa)
{
    struct missing *m = &f->missing;
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM};
    struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};

    m->host = driver_ram(&f->g, gpa);
    m->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (m->uffd < 0 || ioctl(m->uffd, UFFDIO_API, &api))
        return false;
    /* Never touched so far; a huge page may have brought it along. */
    if (fallocate(f->rig.mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (uint8_t *)m->host - f->rig.mem->host, 2 << 20))
        return false;
    reg.range.start = (uintptr_t)m->host;
    reg.range.len = 2 << 20;
    return !ioctl(m->uffd, UFFDIO_REGISTER, &reg);
}

static bool begin_slow_write(struct fixture *f)
{
    struct driver_seg data = {.gpa = DRIVER_DATA + (8 << 20), .len = 4096};

    if (!miss_page(f, data.gpa)) {
        print_message("skipped: no userfaultfd for shared memory here\n");
        return false;
    }
    submit(f, VIRTIO_BLK_T_OUT, 8, &data, 1);
    driver_kick(&f->g, 0);
    for (int i = 0; i < 1000 && f->dev->ops->idle(f->dev); i++)
        rig_run_ms(&f->rig, 1);
    assert_false(f->dev->ops->idle(f->dev));
    return true;
}

static void waits_for_what_is_in_flight(void **state)
{
    struct fixture *f = *state;

    if (!begin_slow_write(f))
        skip();
    f->dev->ops->stop(f->dev);
    rig_run_ms(&f->rig, 20);
    assert_false(f->dev->ops->idle(f->dev));
    assert_int_equal(status_of(f, 0), NOT_DONE);
    provide_page(&f->missing);
    rig_stop(&f->rig, f->dev);
    assert_int_equal(status_of(f, 0), VIRTIO_BLK_S_OK);
    rig_start(f->dev);
}

static void reset_in_flight_touches_nothing(void **state)
{
    struct fixture *f = *state;

    if (!begin_slow_write(f))
        skip();
    driver_set_status(&f->g, 0);
    if (f->transport == RIG_PCI)
        assert_int_not_equal(driver_status(&f->g), 0); /* not before it has drained */
    memset(driver_used_ring(&f->g, 0), 0x5a, 64);
    provide_page(&f->missing);
    for (int i = 0; i < 1000 && !f->dev->ops->idle(f->dev); i++)
        rig_run_ms(&f->rig, 1);
    assert_true(f->dev->ops->idle(f->dev));
    assert_int_equal(driver_status(&f->g), 0);
    assert_int_equal(status_of(f, 0), NOT_DONE);
    for (int i = 0; i < 64; i++)
        assert_int_equal(((uint8_t *)driver_used_ring(&f->g, 0))[i], 0x5a);
    driver_probe(&f->g, &f->rig, f->dev, f->transport, 1, QUEUE);
    assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
}

/* How much of the file waits in this host's page cache for a place on its disk. */
static uint32_t unplaced_extents(int fd)
{
    _Alignas(struct fiemap) uint8_t room[sizeof(struct fiemap) + 64 * sizeof(struct fiemap_extent)];
    struct fiemap *m = (struct fiemap *)(void *)room;
    uint32_t n = 0;

    memset(room, 0, sizeof(room));
    m->fm_length = FIEMAP_MAX_OFFSET;
    m->fm_extent_count = 64;
    if (ioctl(fd, FS_IOC_FIEMAP, m))
        return 0;
    for (uint32_t i = 0; i < m->fm_mapped_extents; i++)
        n += (m->fm_extents[i].fe_flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN)) != 0;
    return n;
}

/* Who starts the machine elsewhere reads the storage and not this host's memory. */
static void idle_means_stable(void **state)
{
    struct fixture *f = *state;

    /* A fresh hole: it has no place before it is written out. */
    assert_int_equal(fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20), 0);
    fsync(f->fd);
    fill(f, DRIVER_DATA, 65536, 3);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, DRIVER_DATA, 65536), VIRTIO_BLK_S_OK);
    if (!unplaced_extents(f->fd)) {
        print_message("skipped: idle_means_stable: the file system of /var/tmp does not tell\n");
        skip();
    }
    rig_stop(&f->rig, f->dev);
    assert_int_equal(unplaced_extents(f->fd), 0);
    rig_start(f->dev);
    assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, DRIVER_DATA, 512), VIRTIO_BLK_S_OK);
}

static void *provide_soon(void *opaque)
{
    usleep(50000);
    provide_page(opaque);
    return NULL;
}

/* A machine's reset writes its RAM anew: nothing may reach into it from before. */
static void power_on_waits_for_what_is_in_flight(void **state)
{
    struct fixture *f = *state;
    pthread_t t;

    if (!begin_slow_write(f))
        skip();
    f->dev->ops->stop(f->dev);
    assert_int_equal(pthread_create(&t, NULL, provide_soon, &f->missing), 0);
    pthread_mutex_lock(&f->dev->lock);
    f->dev->ops->reset(f->dev);
    pthread_mutex_unlock(&f->dev->lock);
    assert_true(f->dev->ops->idle(f->dev));
    pthread_join(t, NULL);
}

int main(void)
{
#define BOTH(f)                                                                                    \
    cmocka_unit_test_setup_teardown(f, setup_pci, teardown),                                       \
        cmocka_unit_test_setup_teardown(f, setup_mmio, teardown)
    const struct CMUnitTest tests[] = {
        BOTH(tells_what_it_is),
        BOTH(reads),
        BOTH(writes),
        BOTH(takes_any_framing),
        BOTH(tells_its_serial),
        BOTH(writes_zeroes),
        BOTH(discards),
        BOTH(refuses_what_it_must),
        BOTH(breaks_on_a_request_without_status),
        BOTH(serves_many),
        BOTH(serves_round_after_round),
        BOTH(writes_through),
        BOTH(readonly_stays_as_it_is),
        BOTH(direct_takes_any_buffer),
        BOTH(survives_a_shortened_image),
        BOTH(stopped_takes_nothing),
        BOTH(moves_without_losing_a_request),
        BOTH(moves_before_it_is_used),
        BOTH(refuses_another_disk),
        BOTH(refuses_hostile_state),
        BOTH(waits_for_what_is_in_flight),
        BOTH(reset_in_flight_touches_nothing),
        BOTH(power_on_waits_for_what_is_in_flight),
        BOTH(idle_means_stable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
