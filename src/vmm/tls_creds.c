#include "vmm/tls_creds.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE "tls"

struct tls_object {
    atomic_uint holders; /* the list is one */
    char id[VMM_ID_MAX];
    bool is_server;
    struct godwit_tls *tls;
    struct tls_object *next;
};

struct tls_creds {
    struct tls_object *first;
};

/* ---- one object ---- */

void tls_object_put(struct tls_object *o)
{
    if (!o || atomic_fetch_sub(&o->holders, 1) != 1)
        return;
    godwit_tls_free(o->tls);
    free(o);
}

const struct godwit_tls *tls_object_tls(const struct tls_object *o)
{
    return o ? o->tls : NULL;
}

static struct tls_object **find(struct tls_creds *t, const char *id)
{
    struct tls_object **o = &t->first;

    while (*o && strcmp((*o)->id, id) != 0)
        o = &(*o)->next;
    return o;
}

static int add(struct tls_creds *t, const struct vmm_tls_option *option, struct err *e)
{
    const struct godwit_tls_config config = {
        .kind = option->psk ? GODWIT_TLS_PSK : GODWIT_TLS_X509,
        .dir = option->dir,
        .is_server = option->is_server,
        .username = option->username[0] ? option->username : NULL,
        .verify_peer = option->verify_peer,
    };
    struct tls_object **place = find(t, option->id), *o;
    int rc;

    if (*place)
        return err_set(e, -EEXIST, STAGE, "attempt to add duplicate object '%s'", option->id);
    o = calloc(1, sizeof(*o));
    if (!o)
        return err_set(e, -ENOMEM, STAGE, "no memory for object '%s'", option->id);
    rc = godwit_tls_new(&config, &o->tls, e);
    if (rc != 0) {
        free(o);
        return err_prefix(e, "object '%s'", option->id);
    }
    atomic_init(&o->holders, 1);
    snprintf(o->id, sizeof(o->id), "%s", option->id);
    o->is_server = option->is_server;
    *place = o;
    return 0;
}

/* ---- what clients say ---- */

static int refuse(const char *name, const char *allowed, struct err *e)
{
    return err_set(e, -EINVAL, STAGE, "Invalid parameter '%.60s' of the object, expected: %s", name,
                   allowed);
}

static int take_text(const char *name, json_t *v, char *out, size_t cap, struct err *e)
{
    if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) >= cap)
        return refuse(name, "a string that is neither empty nor too long", e);
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return 0;
}

/* QEMU's command line has on and off, its QMP true and false. */
static int take_switch(const char *name, json_t *v, bool *out, struct err *e)
{
    if (!json_is_boolean(v))
        return refuse(name, "true or false", e);
    *out = json_is_true(v);
    return 0;
}

static int take_endpoint(json_t *v, bool *is_server, struct err *e)
{
    const char *word = json_string_value(v);

    if (!word || (strcmp(word, "server") != 0 && strcmp(word, "client") != 0))
        return refuse("endpoint", "server or client", e);
    *is_server = word[0] == 's';
    return 0;
}

static int take_type(json_t *v, bool *psk, struct err *e)
{
    const char *word = json_string_value(v);

    *psk = word && strcmp(word, "tls-creds-psk") == 0;
    if (*psk || (word && strcmp(word, "tls-creds-x509") == 0))
        return 0;
    return refuse("qom-type", "tls-creds-x509 or tls-creds-psk", e);
}

static int take(struct vmm_tls_option *o, const char *name, json_t *v, struct err *e)
{
    if (strcmp(name, "qom-type") == 0)
        return take_type(v, &o->psk, e);
    if (strcmp(name, "id") == 0)
        return take_text(name, v, o->id, sizeof(o->id), e);
    if (strcmp(name, "dir") == 0)
        return take_text(name, v, o->dir, sizeof(o->dir), e);
    if (strcmp(name, "username") == 0)
        return take_text(name, v, o->username, sizeof(o->username), e);
    if (strcmp(name, "endpoint") == 0)
        return take_endpoint(v, &o->is_server, e);
    if (strcmp(name, "verify-peer") == 0)
        return take_switch(name, v, &o->verify_peer, e);
    return refuse(name, "qom-type, id, dir, endpoint, username or verify-peer", e);
}

int tls_creds_add(struct tls_creds *t, json_t *args, struct err *e)
{
    struct vmm_tls_option o = {.verify_peer = true};
    const char *name;
    json_t *v;
    int rc;

    json_object_foreach(args, name, v)
    {
        rc = take(&o, name, v, e);
        if (rc != 0)
            return rc;
    }
    if (!json_object_get(args, "qom-type") || !o.id[0] || !o.dir[0])
        return err_set(e, -EINVAL, STAGE, "Parameter '%s' is missing",
                       !json_object_get(args, "qom-type") ? "qom-type"
                       : !o.id[0]                         ? "id"
                                                          : "dir");
    return add(t, &o, e);
}

int tls_creds_del(struct tls_creds *t, json_t *args, struct err *e)
{
    const char *id = json_string_value(json_object_get(args, "id"));
    struct tls_object **place, *o;

    if (!id)
        return err_set(e, -EINVAL, STAGE, "Parameter 'id' is missing");
    place = find(t, id);
    o = *place;
    if (!o)
        return err_set(e, -ENODEV, STAGE, "object '%.100s' not found", id);
    *place = o->next;
    tls_object_put(o);
    return 0;
}

/* ---- all of them ---- */

int tls_creds_new(const struct vmm_options *o, struct tls_creds **out, struct err *e)
{
    struct tls_creds *t = calloc(1, sizeof(*t));
    int rc = 0;

    if (!t)
        return err_set(e, -ENOMEM, STAGE, "no memory for TLS credentials");
    for (uint32_t i = 0; rc == 0 && i < o->ntls; i++)
        rc = add(t, &o->tls[i], e);
    if (rc != 0)
        tls_creds_free(t);
    else
        *out = t;
    return rc;
}

void tls_creds_free(struct tls_creds *t)
{
    struct tls_object *o, *next;

    for (o = t ? t->first : NULL; o; o = next) {
        next = o->next;
        tls_object_put(o);
    }
    free(t);
}

int tls_creds_get(struct tls_creds *t, const char *id, bool is_server, struct tls_object **out,
                  struct err *e)
{
    struct tls_object *o = id[0] ? *find(t, id) : NULL;

    *out = NULL;
    if (!id[0])
        return 0;
    if (!o)
        return err_set(e, -ENODEV, STAGE,
                       "tls-creds: there is no object '%.100s'; add it, or set tls-creds to \"\"",
                       id);
    if (o->is_server != is_server)
        return err_set(e, -EINVAL, STAGE, "tls-creds: object '%s' has endpoint=%s, %s needs %s",
                       o->id, o->is_server ? "server" : "client",
                       is_server ? "a destination" : "a source", is_server ? "server" : "client");
    atomic_fetch_add(&o->holders, 1);
    *out = o;
    return 0;
}
