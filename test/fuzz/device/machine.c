#include "machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/virtio/tap.h"
#include "fuzz.h"

#define IMAGE_SIZE (1U << 20)

static struct image *make_image(void)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    struct image *i;
    char path[64];

    FUZZ_CHECK(fd >= 0 && !ftruncate(fd, IMAGE_SIZE));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    FUZZ_CHECK(!image_open(path, false, false, &i, NULL));
    return i;
}

static void make_devices(struct machine *m)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
    static struct tap tap = {.ifname = "socket", .ctl_fd = -1, .spare_fd = -1, .vnet_hdr = true};
    struct virtio_env env = {.mem = m->mem, .vm = m->vm, .loop = m->loop};
    struct virtio_device *v[MACHINE_DEVICES];
    int pair[2];

    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    tap.fd = pair[0];
    m->world = pair[1];
    FUZZ_CHECK(!virtio_blk_new(&env, "disk", make_image(), "serial", &v[0], NULL));
    FUZZ_CHECK(!virtio_net_new(&env, "nic", &tap, mac, &v[1], NULL));
    FUZZ_CHECK(!virtio_rng_new(&env, "rng", &v[2], NULL));
    for (uint32_t i = 0; i < MACHINE_DEVICES; i++)
        FUZZ_CHECK(
            !virtio_mmio_new(v[i], m->mmio, MACHINE_REGS + 512 * i, 5 + i, &m->devices[i], NULL));
}

struct machine *machine_get(void)
{
    static struct machine m;
    struct guest_mem_config mc = {.size = MACHINE_RAM, .low_max = 1ULL << 30};
    struct hv_vm_config vc = {.vcpus = 1};

    if (m.mem)
        return &m;
    log_set_level(LOG_LEVEL_ERROR);
    FUZZ_CHECK(!guest_mem_new(&mc, &m.mem, NULL));
    vc.mem = m.mem;
    FUZZ_CHECK(!hv_vm_new(&vc, &m.vm, NULL));
    m.loop = loop_new();
    m.mmio = bus_new("mmio");
    FUZZ_CHECK(m.loop && m.mmio);
    make_devices(&m);
    return &m;
}

static void leave(void *opaque)
{
    loop_quit(opaque);
}

void machine_turn(struct machine *m)
{
    for (int i = 0; i < 3; i++) {
        FUZZ_CHECK(!loop_post(m->loop, leave, m->loop));
        FUZZ_CHECK(!loop_run(m->loop));
    }
    clock_sleep_ns(20 * NS_PER_US);
}

void machine_start(struct machine *m)
{
    for (uint32_t i = 0; i < MACHINE_DEVICES; i++)
        FUZZ_CHECK(!m->devices[i]->ops->start(m->devices[i], NULL));
}

void machine_reset(struct machine *m)
{
    char frame[128];

    for (uint32_t i = 0; i < MACHINE_DEVICES; i++) {
        struct device *d = m->devices[i];

        d->ops->stop(d);
        for (int ms = 0; !d->ops->idle(d); ms++) {
            FUZZ_CHECK(ms < 10000);
            clock_sleep_ns(NS_PER_MS / 10);
        }
        pthread_mutex_lock(&d->lock);
        d->ops->reset(d);
        pthread_mutex_unlock(&d->lock);
    }
    machine_turn(m);
    while (recv(m->world, frame, sizeof(frame), 0) >= 0)
        ;
    memset(m->mem->host, 0, MACHINE_RAM);
}
