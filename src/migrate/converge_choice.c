#include "migrate/converge_choice.h"

#include "base/clock.h"

#define PERCENT_MAX 99
/* The least throttle that costs at most this times the work that the best one does: a guest held at
 * 99 % for a moment loses least, but is away like a paused one. */
#define THRIFT 1.25
/* A throttle that turned out to cost more than this times the best is changed. */
#define WASTE 1.6

static double lost_s(const struct converge_forecast *f, uint32_t percent)
{
    return (double)f->ns / (double)NS_PER_S * percent / 100;
}

static void forecast(const struct converge *c, const struct converge_goal *g, uint32_t percent,
                     struct converge_forecast *out)
{
    converge_forecast(c, g->dirty, percent / 100.0, g->limit_ns, out);
}

static bool in_time(const struct converge_goal *g, const struct converge_forecast *f)
{
    return f->reached && f->ns <= g->left_ns;
}

/* The least loss of work that is possible in time within the ceiling; < 0: it is not. */
static double least_loss(const struct converge *c, const struct converge_goal *g, uint32_t *needed)
{
    struct converge_forecast f;
    double best = -1;

    for (uint32_t p = 1; p <= PERCENT_MAX; p++) {
        forecast(c, g, p, &f);
        if (f.reached && !*needed)
            *needed = p;
        if (p <= g->ceiling && in_time(g, &f) && (best < 0 || lost_s(&f, p) < best))
            best = lost_s(&f, p);
    }
    return best;
}

void converge_choose(const struct converge *c, const struct converge_goal *g,
                     struct converge_choice *out)
{
    *out = (struct converge_choice){.percent = 0};
    out->lost_s = least_loss(c, g, &out->needed);
    for (uint32_t p = 1; out->lost_s >= 0 && p <= g->ceiling; p++) {
        forecast(c, g, p, &out->forecast);
        if (in_time(g, &out->forecast) && lost_s(&out->forecast, p) <= THRIFT * out->lost_s) {
            out->percent = p;
            return;
        }
    }
    if (out->needed && out->needed <= g->ceiling) { /* too late, but in the end */
        out->percent = g->ceiling;
        forecast(c, g, out->percent, &out->forecast);
    }
}

bool converge_is_fine(const struct converge *c, const struct converge_goal *g,
                      const struct converge_choice *best, uint32_t percent)
{
    struct converge_forecast f;

    if (!percent || percent > g->ceiling)
        return false;
    forecast(c, g, percent, &f);
    return f.reached && (in_time(g, &f) || percent == g->ceiling) &&
           (best->lost_s < 0 || lost_s(&f, percent) <= WASTE * best->lost_s);
}
