#include "device/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE "device"

void device_init(struct device *d, const struct device_ops *ops, const char *id)
{
    d->ops = ops;
    d->instance = 0;
    memset(d->id, 0, sizeof(d->id));
    snprintf(d->id, sizeof(d->id), "%s", id);
    pthread_mutex_init(&d->lock, NULL);
}

void device_fini(struct device *d)
{
    pthread_mutex_destroy(&d->lock);
}

/* The id comes first in every device's table: see device.h. */
static const struct field *id_field(const struct state_desc *desc)
{
    const struct field *f = desc->fields;

    return desc->nfields && !strcmp(f->name, "id") && f->type == FIELD_BYTES &&
                   f->count == DEVICE_ID_MAX
               ? f
               : NULL;
}

/* Room for one state; NULL with the error set. */
static uint8_t *state_alloc(const struct device *d, struct err *e)
{
    const struct state_desc *desc = d->ops->state;
    uint8_t *state;

    if (!id_field(desc)) {
        err_set(e, -EINVAL, STAGE, "device '%s': state '%s' does not begin with an id", d->id,
                desc->name);
        return NULL;
    }
    state = calloc(1, desc->size);
    if (!state)
        err_set(e, -ENOMEM, STAGE, "device '%s': no memory for %u bytes of state", d->id,
                desc->size);
    return state;
}

int device_save(struct device *d, struct buf *out, struct err *e)
{
    const struct state_desc *desc = d->ops->state;
    uint8_t *state;
    int ret;

    if (!desc)
        return 0;
    state = state_alloc(d, e);
    if (!state)
        return -ENOMEM;
    pthread_mutex_lock(&d->lock);
    d->ops->save(d, state);
    pthread_mutex_unlock(&d->lock);
    memcpy(state + id_field(desc)->offset, d->id, sizeof(d->id));
    ret = state_encode(desc, d->instance, state, out);
    free(state);
    if (ret)
        return err_set_errno(e, ret, STAGE, "device '%s': cannot write its state", d->id);
    return 0;
}

static int take(struct device *d, const uint8_t *state, struct err *e)
{
    const char *id = (const char *)state + id_field(d->ops->state)->offset;
    int ret;

    if (memcmp(id, d->id, sizeof(d->id)) != 0)
        return err_set(e, -EPROTO, STAGE, "the state of device '%.63s' came for device '%s'", id,
                       d->id);
    pthread_mutex_lock(&d->lock);
    ret = d->ops->load(d, state, e);
    pthread_mutex_unlock(&d->lock);
    return ret;
}

int device_load(struct device *d, const struct state_section *s, struct reader *r, struct err *e)
{
    const struct state_desc *desc = d->ops->state;
    uint8_t *state;
    int ret;

    if (!desc || strcmp(desc->name, s->name) != 0)
        return err_set(e, -EPROTO, STAGE, "section '%s' is not the state of device '%s' (%s)",
                       s->name, d->id, d->ops->type);
    state = state_alloc(d, e);
    if (!state)
        return -ENOMEM;
    ret = state_decode(desc, s, r, state, e);
    if (!ret)
        ret = take(d, state, e);
    free(state);
    return ret;
}
