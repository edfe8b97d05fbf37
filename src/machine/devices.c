#include "machine/devices.h"

#include <errno.h>
#include <string.h>

#include "device/virtio/virtio.h"

#define STAGE "machine"

static struct image *find_image(const struct board_backends *back, const char *id)
{
    for (uint32_t i = 0; i < back->nimages; i++)
        if (!strcmp(back->images[i].id, id))
            return back->images[i].image;
    return NULL;
}

static struct tap *find_tap(const struct board_backends *back, const char *id)
{
    for (uint32_t i = 0; i < back->ntaps; i++)
        if (!strcmp(back->taps[i].id, id))
            return back->taps[i].tap;
    return NULL;
}

static int make(const struct board *b, const struct device_config *c,
                const struct board_backends *back, struct virtio_device **out, struct err *e)
{
    struct virtio_env env = {.mem = b->mem, .vm = b->vm, .loop = b->loop};
    struct image *image = c->kind == DEVICE_BLK ? find_image(back, c->backend) : NULL;
    struct tap *tap = c->kind == DEVICE_NET ? find_tap(back, c->backend) : NULL;

    if ((c->kind == DEVICE_BLK && !image) || (c->kind == DEVICE_NET && !tap))
        return err_set(e, -ENOENT, STAGE, "device '%s': '%s' was not opened", c->id, c->backend);
    switch (c->kind) {
    case DEVICE_BLK:
        return virtio_blk_new(&env, c->id, image, c->serial, out, e);
    case DEVICE_NET:
        return virtio_net_new(&env, c->id, tap, c->mac, out, e);
    default:
        return virtio_rng_new(&env, c->id, out, e);
    }
}

int devices_plug(struct board *b, const struct board_backends *back, struct err *e)
{
    for (uint32_t i = 0; i < b->config->ndevices; i++) {
        const struct device_config *c = &b->config->devices[i];
        struct virtio_device *v;
        int ret = make(b, c, back, &v, e);

        if (!ret)
            ret = b->ops->plug(b, c, v, e);
        if (ret)
            return ret;
    }
    return 0;
}
