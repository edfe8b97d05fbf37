#include "cmd/draw/story.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STAGE "record"

const char *const story_phase_names[STORY_PHASES] = {"pause", "drain",  "last-pages",
                                                     "state", "commit", "resume"};

/* A number that is not there, or is none, is 0: older records know less. */
static double number(const json_t *o, const char *name, double unit)
{
    double v = json_number_value(json_object_get(o, name)) * unit;

    return v > 0 && v < 1e18 ? v : 0;
}

static void text(const json_t *o, const char *name, char *out, size_t cap)
{
    const char *s = json_string_value(json_object_get(o, name));

    snprintf(out, cap, "%s", s ? s : "");
}

static void read_rounds(const json_t *a, struct story *s)
{
    size_t i;
    json_t *v;

    json_array_foreach(a, i, v) {
        if (s->nrounds == STORY_ROUNDS_MAX)
            return;
        s->rounds[s->nrounds++] = (struct story_round){
            .start = number(v, "start-us", 1e-6),
            .duration = number(v, "duration-us", 1e-6),
            .sent = number(v, "sent-bytes", 1),
            .dirty_rate = number(v, "dirty-rate", 1),
            .throttle = number(v, "throttle", 1),
        };
    }
}

static void read_decisions(const json_t *a, struct story *s)
{
    size_t i;
    json_t *v;

    json_array_foreach(a, i, v) {
        struct story_decision *d = &s->decisions[s->ndecisions];

        if (s->ndecisions == STORY_DECISIONS_MAX)
            return;
        s->ndecisions++;
        d->at = number(v, "at-ms", 1e-3);
        text(v, "what", d->what, sizeof(d->what));
        text(v, "why", d->why, sizeof(d->why));
    }
}

static void read_stages(const json_t *a, struct story *s)
{
    size_t i;
    json_t *v;

    json_array_foreach(a, i, v) {
        struct story_stage *g = &s->stages[s->nstages];

        if (s->nstages == STORY_STAGES_MAX)
            return;
        s->nstages++;
        text(v, "stage", g->name, sizeof(g->name));
        g->start = number(v, "start-us", 1e-6);
        g->duration = number(v, "duration-us", 1e-6);
    }
}

static void read_migration(const json_t *m, struct story *s)
{
    const json_t *prediction = json_object_get(m, "prediction");
    const json_t *phases = json_object_get(m, "phases");

    text(m, "id", s->id, sizeof(s->id));
    text(m, "status", s->status, sizeof(s->status));
    text(m, "verified", s->verified, sizeof(s->verified));
    text(m, "error-desc", s->error, sizeof(s->error));
    s->total = number(m, "total-time", 1e-3);
    s->blackout = number(m, "blackout-us", 1e-6);
    s->downtime = number(m, "downtime-us", 1e-6);
    s->transferred = number(json_object_get(m, "ram"), "transferred", 1);
    s->predicted_downtime = number(prediction, "downtime-us", 1e-6);
    s->predicted_total = number(prediction, "total-ms", 1e-3);
    for (size_t i = 0; i < STORY_PHASES; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%s-us", story_phase_names[i]);
        s->phases[i] = number(phases, name, 1e-6);
    }
    read_rounds(json_object_get(m, "rounds"), s);
    read_decisions(json_object_get(m, "decisions"), s);
    read_stages(json_object_get(m, "stages"), s);
}

int story_read(const char *path, struct story *out, struct err *e)
{
    json_error_t why;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    const json_t *migration = json_object_get(root, "migration");
    int ret = 0;

    memset(out, 0, sizeof(*out));
    if (!root)
        return err_set(e, -EINVAL, STAGE, "%s: %s (line %d)", path, why.text, why.line);
    if (!json_is_object(migration) || json_integer_value(json_object_get(root, "format")) != 1)
        ret = err_set(e, -EINVAL, STAGE,
                      "%s is not the record of a migration in format 1: \"format\" and "
                      "\"migration\" are wanted",
                      path);
    if (!ret) {
        text(json_object_get(root, "machine"), "name", out->machine, sizeof(out->machine));
        text(root, "role", out->role, sizeof(out->role));
        text(root, "started", out->started, sizeof(out->started));
        read_migration(migration, out);
    }
    json_decref(root);
    return ret;
}
