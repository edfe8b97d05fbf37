/* What the migrate thread takes of what the door has let in. */
#include <string.h>

#include "migrate/sink.h"

struct channel *sink_take_control(struct godwit_sink *s)
{
    struct channel *c;

    pthread_mutex_lock(&s->lock);
    c = s->gate.control;
    s->gate.control = NULL;
    memcpy(s->token, s->gate.token, sizeof(s->token));
    memcpy(s->peer, s->gate.peer, sizeof(s->peer));
    pthread_mutex_unlock(&s->lock);
    return c;
}

void sink_open_lanes(struct godwit_sink *s, uint32_t lanes)
{
    struct channel *left[GODWIT_LANES_MAX];

    pthread_mutex_lock(&s->lock);
    memcpy(left, s->gate.lane, sizeof(left));
    memset(s->gate.lane, 0, sizeof(s->gate.lane));
    s->gate.lanes = lanes;
    s->gate.lanes_in = 0;
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < GODWIT_LANES_MAX; i++)
        channel_free(left[i]);
}

bool sink_take_lanes(struct godwit_sink *s, struct channel **channels)
{
    struct sink_gate *g = &s->gate;
    bool all;

    pthread_mutex_lock(&s->lock);
    all = g->lanes_in == g->lanes;
    for (uint32_t i = 0; all && i < g->lanes; i++) {
        channels[i] = g->lane[i];
        g->lane[i] = NULL;
    }
    if (all)
        g->lanes = 0;
    pthread_mutex_unlock(&s->lock);
    return all;
}

struct channel *sink_take_again(struct godwit_sink *s)
{
    struct channel *c;

    pthread_mutex_lock(&s->lock);
    c = s->gate.again;
    s->gate.again = NULL;
    pthread_mutex_unlock(&s->lock);
    return c;
}

bool sink_has_again(struct godwit_sink *s)
{
    bool has;

    pthread_mutex_lock(&s->lock);
    has = s->gate.again != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}
