#include "device/virtio/vdev.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define STAGE  "virtio"
#define BIT(n) (1ULL << (n))

#define DRAIN_NS (2 * NS_PER_S)

#define FEATURES_ALWAYS                                                                            \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))

#define STATUS_DRIVER                                                                              \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |            \
     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)
#define STATUS_ALL (STATUS_DRIVER | VIRTIO_CONFIG_S_NEEDS_RESET)

/* Making */

static int open_doorbells(struct virtio_device *v, struct err *e)
{
    for (uint32_t i = 0; i < v->type->nqueues; i++) {
        v->doorbells[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (v->doorbells[i] < 0)
            return err_set_errno(e, -errno, STAGE, "cannot make a doorbell for '%s'", v->id);
    }
    return 0;
}

int vdev_init(struct virtio_device *v, const struct virtio_type *type, const struct virtio_env *env,
              const char *id, uint64_t offered, struct err *e)
{
    int ret;

    v->type = type;
    snprintf(v->id, sizeof(v->id), "%s", id);
    v->mem = env->mem;
    v->vm = env->vm;
    v->loop = env->loop;
    v->offered = offered | FEATURES_ALWAYS;
    pthread_cond_init(&v->drained, NULL);
    for (uint32_t i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        v->doorbells[i] = -1;
        virtq_init(&v->queues[i], env->mem, type->queue_size[i]);
    }
    ret = open_doorbells(v, e);
    if (ret)
        vdev_fini(v);
    return ret;
}

void vdev_fini(struct virtio_device *v)
{
    for (uint32_t i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        if (v->doorbells[i] >= 0)
            close(v->doorbells[i]);
        v->doorbells[i] = -1;
    }
    pthread_cond_destroy(&v->drained);
}

void virtio_device_free(struct virtio_device *v)
{
    if (v)
        v->type->free(v);
}

int vdev_attach(struct virtio_device *v, const struct virtio_transport *t, struct device *dev,
                struct err *e)
{
    v->transport = t;
    v->dev = dev;
    return v->type->attached ? v->type->attached(v, e) : 0;
}

void vdev_lock(struct virtio_device *v)
{
    pthread_mutex_lock(&v->dev->lock);
}

void vdev_unlock(struct virtio_device *v)
{
    pthread_mutex_unlock(&v->dev->lock);
}

/* Serving */

bool vdev_accepted(const struct virtio_device *v, unsigned bit)
{
    return v->accepted & BIT(bit);
}

bool vdev_queue_ready(const struct virtio_device *v, uint32_t queue)
{
    const uint8_t bad = VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;

    return v->running && (v->status & VIRTIO_CONFIG_S_DRIVER_OK) && !(v->status & bad) &&
           v->queues[queue].enabled;
}

void vdev_warn(struct virtio_device *v, const char *fmt, ...)
{
    uint64_t now = clock_now_ns();
    char text[ERR_TEXT_MAX];
    va_list ap;

    if (v->last_log_ns && now - v->last_log_ns < NS_PER_S) {
        v->unlogged++;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (v->unlogged)
        log_warn(v->type->name, "'%s': %s (%llu lines before were left out)", v->id, text,
                 (unsigned long long)v->unlogged);
    else
        log_warn(v->type->name, "'%s': %s", v->id, text);
    v->last_log_ns = now;
    v->unlogged = 0;
}

void vdev_break(struct virtio_device *v, const struct err *why)
{
    if (v->status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    vdev_warn(v, "%s; the guest must reset it", why->text);
    v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        vdev_config_changed(v);
}

bool vdev_pop(struct virtio_device *v, uint32_t queue, struct chain *c)
{
    struct err e = ERR_INIT;
    int ret;

    if (!vdev_queue_ready(v, queue))
        return false;
    ret = virtq_pop(&v->queues[queue], c, &e);
    if (ret < 0) {
        err_prefix(&e, "queue %u", queue);
        vdev_break(v, &e);
    }
    return ret == 1;
}

void vdev_signal(struct virtio_device *v, uint32_t queue)
{
    if (virtq_should_interrupt(&v->queues[queue]))
        v->transport->interrupt(v, (int)queue);
}

void vdev_config_changed(struct virtio_device *v)
{
    v->generation++;
    v->transport->interrupt(v, VDEV_CONFIG_CHANGE);
}

void vdev_doorbell_clear(struct virtio_device *v, uint32_t queue)
{
    uint64_t count;

    while (read(v->doorbells[queue], &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

void vdev_kick(struct virtio_device *v, uint32_t queue)
{
    uint64_t one = 1;

    if (queue >= v->type->nqueues)
        return;
    /* A full counter has been rung often enough. */
    while (write(v->doorbells[queue], &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void kick_all(struct virtio_device *v)
{
    for (uint32_t i = 0; i < v->type->nqueues; i++)
        vdev_kick(v, i);
}

/* Negotiation (virtio 1.2, sec. 2.1, 3.1.1) */

uint32_t vdev_offered(const struct virtio_device *v, uint32_t half)
{
    return half < 2 ? (uint32_t)(v->offered >> (32 * half)) : 0;
}

uint32_t vdev_accepted_half(const struct virtio_device *v, uint32_t half)
{
    return half < 2 ? (uint32_t)(v->accepted >> (32 * half)) : 0;
}

void vdev_accept(struct virtio_device *v, uint32_t half, uint32_t bits)
{
    if (half >= 2 || (v->status & VIRTIO_CONFIG_S_FEATURES_OK))
        return;
    v->accepted &= ~((uint64_t)UINT32_MAX << (32 * half));
    v->accepted |= (uint64_t)bits << (32 * half);
}

static bool features_fit(const struct virtio_device *v)
{
    return !(v->accepted & ~v->offered) && vdev_accepted(v, VIRTIO_F_VERSION_1);
}

static void take_features(struct virtio_device *v)
{
    for (uint32_t i = 0; i < v->type->nqueues; i++) {
        v->queues[i].event_idx = vdev_accepted(v, VIRTIO_RING_F_EVENT_IDX);
        v->queues[i].indirect = vdev_accepted(v, VIRTIO_RING_F_INDIRECT_DESC);
    }
    if (v->type->negotiated)
        v->type->negotiated(v);
}

void vdev_reset(struct virtio_device *v)
{
    if (v->status)
        v->status_before_reset = v->status;
    v->status = 0;
    v->accepted = 0;
    v->epoch++;
    for (uint32_t i = 0; i < v->type->nqueues; i++)
        virtq_reset(&v->queues[i]);
    if (v->type->reset)
        v->type->reset(v);
}

void vdev_power_on(struct virtio_device *v)
{
    uint64_t deadline = clock_now_ns() + DRAIN_NS;
    struct timespec until = {.tv_sec = (time_t)(deadline / NS_PER_S),
                             .tv_nsec = (long)(deadline % NS_PER_S)};
    int ret = 0;

    while (ret == 0 && v->type->idle && !v->type->idle(v))
        ret = pthread_cond_clockwait(&v->drained, &v->dev->lock, CLOCK_MONOTONIC, &until);
    if (ret)
        vdev_warn(v, "reset with requests in flight, which its storage does not end");
    vdev_reset(v);
}

bool vdev_resetting(struct virtio_device *v)
{
    return v->status == 0 && v->type->idle && !v->type->idle(v);
}

/* Bits are only added, in order; zero resets (sec. 2.1.1). */
void vdev_set_status(struct virtio_device *v, uint8_t status)
{
    uint8_t added = status & STATUS_DRIVER & ~v->status;

    if (status == 0) {
        vdev_reset(v);
        return;
    }
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !features_fit(v)) {
        vdev_warn(v, "the guest's driver wants features %#llx, offered are %#llx",
                  (unsigned long long)v->accepted, (unsigned long long)v->offered);
        added &= (uint8_t) ~(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
    }
    v->status |= added;
    if (!(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
        v->status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
    if (added & VIRTIO_CONFIG_S_FEATURES_OK)
        take_features(v);
    /* Doorbells may have been rung before; the queues were not looked at then. */
    if (added & v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        kick_all(v);
}

/* Queues */

struct virtq *vdev_queue(struct virtio_device *v, uint32_t index)
{
    return index < v->type->nqueues ? &v->queues[index] : NULL;
}

void vdev_enable_queue(struct virtio_device *v, uint32_t index)
{
    struct virtq *q = vdev_queue(v, index);
    struct err e = ERR_INIT;

    if (!q || q->enabled)
        return;
    if (virtq_enable(q, &e)) {
        err_prefix(&e, "queue %u", index);
        vdev_break(v, &e);
    }
}

void vdev_set_address(struct virtio_device *v, uint32_t index, uint64_t *address, bool high,
                      uint32_t value)
{
    struct virtq *q = vdev_queue(v, index);

    if (!q || q->enabled)
        return;
    if (high)
        *address = (*address & UINT32_MAX) | (uint64_t)value << 32;
    else
        *address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

uint64_t vdev_config_read(const struct virtio_device *v, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i++)
        if (offset + i < v->config_len)
            value |= (uint64_t)v->config[offset + i] << (8 * i);
    return value;
}

/* Moving */

void vdev_save(const struct virtio_device *v, struct virtio_state *s)
{
    s->device_id = v->type->id;
    s->offered = v->offered;
    s->accepted = v->accepted;
    s->status = v->status;
    s->generation = v->generation;
    s->nqueues = v->type->nqueues;
    for (uint32_t i = 0; i < v->type->nqueues; i++)
        virtq_save(&v->queues[i], &s->queues[i]);
    s->config_len = v->config_len;
    memcpy(s->config, v->config, v->config_len);
}

static int check_negotiation(const struct virtio_device *v, const struct virtio_state *s,
                             struct err *e)
{
    if (s->device_id != v->type->id || s->nqueues != v->type->nqueues)
        return err_set(e, -EPROTO, STAGE,
                       "device type %u with %u queues came where %s (type %u) has %u", s->device_id,
                       s->nqueues, v->type->name, v->type->id, v->type->nqueues);
    if (s->offered & ~v->offered)
        return err_set(e, -EPROTO, STAGE,
                       "the source offers its guest features %#llx, here only %#llx can be had",
                       (unsigned long long)s->offered, (unsigned long long)v->offered);
    if (s->status & ~STATUS_ALL)
        return err_set(e, -EPROTO, STAGE, "unknown bits in device status %#x", s->status);
    if ((s->status & VIRTIO_CONFIG_S_DRIVER_OK) && !(s->status & VIRTIO_CONFIG_S_FEATURES_OK))
        return err_set(e, -EPROTO, STAGE, "device status %#x: DRIVER_OK without FEATURES_OK",
                       s->status);
    if ((s->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
        ((s->accepted & ~s->offered) || !(s->accepted & BIT(VIRTIO_F_VERSION_1))))
        return err_set(e, -EPROTO, STAGE, "features %#llx were accepted of %#llx offered",
                       (unsigned long long)s->accepted, (unsigned long long)s->offered);
    return 0;
}

static int load_parts(struct virtio_device *v, const struct virtio_state *s, struct err *e)
{
    if (s->config_len != v->config_len)
        return err_set(e, -EPROTO, STAGE, "%u bytes of configuration came, %s has %u",
                       s->config_len, v->type->name, v->config_len);
    for (uint32_t i = 0; i < v->type->nqueues; i++)
        if (virtq_load(&v->queues[i], &s->queues[i], e))
            return err_prefix(e, "queue %u", i);
    return v->type->load_config(v, s->config, s->config_len, e);
}

int vdev_load(struct virtio_device *v, const struct virtio_state *s, struct err *e)
{
    int ret = check_negotiation(v, s, e);

    if (ret)
        return ret;
    vdev_reset(v);
    ret = load_parts(v, s, e);
    if (ret) {
        vdev_reset(v);
        return ret;
    }
    v->offered = s->offered;
    v->accepted = s->accepted;
    v->status = s->status;
    v->generation = s->generation;
    if (v->status & VIRTIO_CONFIG_S_FEATURES_OK)
        take_features(v);
    return 0;
}

/* An interrupt too many is harmless, one too few hangs the guest: all are raised once. */
void vdev_start(struct virtio_device *v)
{
    vdev_lock(v);
    v->running = true;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK) {
        for (uint32_t i = 0; i < v->type->nqueues; i++)
            if (v->queues[i].enabled)
                v->transport->interrupt(v, (int)i);
        v->transport->interrupt(v, VDEV_CONFIG_CHANGE);
    }
    vdev_unlock(v);
    kick_all(v);
}

void vdev_stop(struct virtio_device *v)
{
    vdev_lock(v);
    v->running = false;
    vdev_unlock(v);
    if (v->type->stopped)
        v->type->stopped(v);
}

bool vdev_idle(struct virtio_device *v)
{
    bool idle;

    vdev_lock(v);
    idle = !v->type->idle || v->type->idle(v);
    vdev_unlock(v);
    return idle;
}
