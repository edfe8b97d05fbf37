/*
 * Three panels, one above the other, with the same margins: the whole migration against time, the
 * blackout against its own time, and the decisions in words.
 */
#include "cmd/draw/figure.h"

#include <errno.h>
#include <math.h>

#include "cmd/draw/svg.h"

#define WIDTH    960.0
#define LEFT     70.0
#define RIGHT    900.0
#define TOP      80.0
#define HIGH     240.0 /* of the first panel */
#define STAGES_Y (TOP + HIGH + 26)
#define DARK_Y   (STAGES_Y + 70)
#define WORDS_Y  (DARK_Y + 150)
#define WORD_GAP 16.0
#define MIB      1048576.0

struct scale {
    double time, rate; /* at the right end; at the top, bytes/s */
};

static double x_of(const struct scale *c, double t)
{
    return LEFT + (RIGHT - LEFT) * fmin(t / c->time, 1);
}

static double y_of(const struct scale *c, double rate)
{
    return TOP + HIGH * (1 - fmin(rate / c->rate, 1));
}

/* 1, 2 or 5 times a power of ten, at least v. */
static double round_up(double v)
{
    double unit = pow(10, floor(log10(v > 1e-9 ? v : 1e-9)));

    for (int i = 0; i < 3; i++)
        if (v <= unit * (const double[]){1, 2, 5}[i])
            return unit * (const double[]){1, 2, 5}[i];
    return unit * 10;
}

static double throughput(const struct story_round *r)
{
    return r->duration > 0 ? r->sent / r->duration : 0;
}

static struct scale scale_of(const struct story *s)
{
    double most = MIB;

    for (size_t i = 0; i < s->nrounds; i++)
        most = fmax(most, fmax(throughput(&s->rounds[i]), s->rounds[i].dirty_rate));
    return (struct scale){.time = s->total > 0 ? s->total : 1, .rate = round_up(most / MIB) * MIB};
}

/* ---- the whole migration -------------------------------------------------------------------- */

static void draw_axes(FILE *f, const struct scale *c)
{
    for (int i = 0; i <= 4; i++) {
        double y = TOP + HIGH * i / 4, x = LEFT + (RIGHT - LEFT) * i / 4;

        svg_line(f, LEFT, y, RIGHT, y, "grid");
        svg_text(f, LEFT - 6, y + 4, SVG_END, "small", "%.4g", c->rate / MIB * (4 - i) / 4);
        svg_text(f, RIGHT + 6, y + 4, SVG_START, "small", "%d %%", 25 * (4 - i));
        svg_text(f, x, TOP + HIGH + 14, SVG_MIDDLE, "small", "%.3g s", c->time * i / 4);
    }
    svg_rect(f, LEFT, TOP, RIGHT - LEFT, HIGH, "frame");
    svg_text(f, LEFT, TOP - 8, SVG_START, "small",
             "MiB/s: bars sent, red line dirtied; violet: throttle (right)");
}

static void draw_rounds(FILE *f, const struct scale *c, const struct story *s)
{
    double dirty[4 * STORY_ROUNDS_MAX], throttle[4 * STORY_ROUNDS_MAX];

    for (size_t i = 0; i < s->nrounds; i++) {
        const struct story_round *r = &s->rounds[i];
        double x1 = x_of(c, r->start), x2 = x_of(c, r->start + r->duration);
        double y = y_of(c, throughput(r)), yt = TOP + HIGH * (1 - fmin(r->throttle, 100) / 100);

        svg_rect(f, x1, y, fmax(x2 - x1, 0.7), TOP + HIGH - y, i % 2 ? "sent-other" : "sent");
        dirty[4 * i] = throttle[4 * i] = x1;
        dirty[4 * i + 2] = throttle[4 * i + 2] = x2;
        dirty[4 * i + 1] = dirty[4 * i + 3] = y_of(c, r->dirty_rate);
        throttle[4 * i + 1] = throttle[4 * i + 3] = yt;
    }
    svg_path(f, dirty, 2 * s->nrounds, "dirty");
    svg_path(f, throttle, 2 * s->nrounds, "throttle");
}

static void draw_stages(FILE *f, const struct scale *c, const struct story *s)
{
    for (size_t i = 0; i < s->nstages; i++) {
        const struct story_stage *g = &s->stages[i];
        double x1 = x_of(c, g->start), x2 = x_of(c, g->start + g->duration);

        svg_rect(f, x1, STAGES_Y, x2 - x1, 18, "stage");
        if (x2 - x1 > 50)
            svg_text(f, (x1 + x2) / 2, STAGES_Y + 13, SVG_MIDDLE, "small", "%s", g->name);
    }
}

static void draw_marks(FILE *f, const struct scale *c, const struct story *s)
{
    for (size_t i = 0; i < s->ndecisions; i++) {
        double x = x_of(c, s->decisions[i].at);

        svg_line(f, x, TOP, x, TOP + HIGH, "mark");
        svg_text(f, x + 2, TOP + 10 + 11.0 * (double)(i % 4), SVG_START, "small", "%zu", i + 1);
    }
}

/* ---- the blackout --------------------------------------------------------------------------- */

static void draw_blackout(FILE *f, const struct story *s)
{
    double sum = 0, x = LEFT, all;

    for (size_t i = 0; i < STORY_PHASES; i++)
        sum += s->phases[i];
    all = fmax(fmax(sum, s->blackout), s->predicted_downtime);
    if (all <= 0)
        return;
    svg_text(f, LEFT, DARK_Y - 10, SVG_START, "head",
             "The blackout: %.2f ms (by phases %.2f, predicted %.2f)",
             1e3 * (s->blackout > 0 ? s->blackout : s->downtime), 1e3 * sum,
             1e3 * s->predicted_downtime);
    for (size_t i = 0; i < STORY_PHASES; i++) {
        double w = (RIGHT - LEFT) * s->phases[i] / all;
        char style[] = {'p', (char)('0' + i), 0};

        svg_rect(f, x, DARK_Y, w, 40, style);
        svg_rect(f, LEFT + 140 * (double)i, DARK_Y + 56, 10, 10, style);
        svg_text(f, LEFT + 140 * (double)i + 15, DARK_Y + 65, SVG_START, "small", "%s %.2f ms",
                 story_phase_names[i], 1e3 * s->phases[i]);
        x += w;
    }
    x = LEFT + (RIGHT - LEFT) * s->predicted_downtime / all;
    svg_line(f, x, DARK_Y - 5, x, DARK_Y + 45, "limit");
}

/* ---- words ---------------------------------------------------------------------------------- */

static void draw_title(FILE *f, const struct story *s)
{
    svg_text(f, LEFT, 28, SVG_START, "title", "%s: %s", s->machine[0] ? s->machine : "a machine",
             s->status);
    svg_text(f, LEFT, 48, SVG_START, "small",
             "%s  %s  %s   %.2f s, %.0f MiB on the wire, memory %s%s%s", s->started, s->role, s->id,
             s->total, s->transferred / MIB, s->verified[0] ? s->verified : "not compared",
             s->error[0] ? "; " : "", s->error);
}

static void draw_words(FILE *f, const struct story *s)
{
    if (s->ndecisions)
        svg_text(f, LEFT, WORDS_Y - 16, SVG_START, "head", "Decisions");
    for (size_t i = 0; i < s->ndecisions; i++)
        svg_text(f, LEFT, WORDS_Y + WORD_GAP * (double)i, SVG_START, "small",
                 "%zu  %.3f s  %s: %s", i + 1, s->decisions[i].at, s->decisions[i].what,
                 s->decisions[i].why);
}

int figure_draw(FILE *f, const struct story *s)
{
    struct scale c = scale_of(s);

    svg_begin(f, WIDTH, WORDS_Y + WORD_GAP * (double)s->ndecisions + 10);
    draw_title(f, s);
    draw_axes(f, &c);
    draw_rounds(f, &c, s);
    draw_stages(f, &c, s);
    draw_marks(f, &c, s);
    draw_blackout(f, s);
    draw_words(f, s);
    svg_end(f);
    return fflush(f) || ferror(f) ? -EIO : 0;
}
