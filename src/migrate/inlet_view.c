/* The destination's lane where it sees the source's memory (view.h). */
#include <errno.h>

#include "migrate/inlet.h"

#define STAGE "precopy"

int inlet_hear_view(struct inlet *in, const uint8_t *body, size_t len, struct err *e)
{
    struct place *p = in->place;
    struct native_view offer, answer;
    struct buf b;
    int ret;

    if (in->index != 0) /* one thread takes them: nothing is taken twice */
        return err_set(e, -EPROTO, STAGE, "lane %u offers files, which lane 0 may", in->index);
    ret = native_view_decode(body, len, &offer, e);
    if (!ret)
        ret = view_take(&p->view, in->channel, &offer, p->regions, p->nregions, &answer, e);
    if (ret)
        return ret;
    buf_init(&b, 0);
    ret = native_view_encode(&b, &answer);
    if (ret)
        err_set_errno(e, ret, STAGE, "building an answer");
    else
        ret = channel_write(in->channel, b.data, b.len, e);
    buf_fini(&b);
    return ret;
}

int inlet_look(struct inlet *in, uint32_t region, int niov, struct err *e)
{
    const uint8_t *host = in->place->regions[region].host;
    int ret = 0;

    for (int i = 0; !ret && i < niov; i++) {
        uint8_t *to = in->iov[i].iov_base;

        ret = view_read(&in->place->view, region, (uint64_t)(to - host), to, in->iov[i].iov_len, e);
    }
    return ret;
}
