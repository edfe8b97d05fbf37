/* Options about the monitor itself: its sockets, its console, its ways. */
#include "cmd/vmm/handlers.h"

#include <errno.h>
#include <string.h>

#include "qmp/address.h"
#include "transport/address.h"
#include "vmm/uri.h"

#define SERIAL_ALLOWED "stdio, none, pty, file:PATH or unix:PATH,server,nowait"

static void *field(struct option_ctx *c, const struct option_value *v)
{
    return (char *)c->o + v->option->offset;
}

int apply_true(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    *(bool *)field(c, v) = true;
    return 0;
}

int apply_false(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    *(bool *)field(c, v) = false;
    return 0;
}

int apply_text(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    size_t len = strlen(v->text);

    if (len >= v->option->size || (len == 0 && strcmp(v->option->name, "append")))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-%s %.64s%s: not a valid value (allowed: 1 to %zu bytes)", v->option->name,
                       v->text, len > 64 ? "..." : "", v->option->size - 1);
    memcpy(field(c, v), v->text, len + 1);
    return 0;
}

int apply_ignored(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    option_warn(c->warnings, "-%s %s has no effect here", v->option->name, v->text);
    return 0;
}

int apply_sandbox(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    c->o->sandbox = keyval_bool(v->kv, "enable", true);
    c->o->spawn = !strcmp(keyval_string(v->kv, "spawn", "deny"), "allow");
    return 0;
}

int apply_object(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct vmm_options *o = c->o;
    struct vmm_tls_option *t = &o->tls[o->ntls];

    if (v->kind->kind == OBJECT_RNG)
        return 0; /* entropy is the host kernel's in any case */
    if (o->ntls == VMM_TLS_MAX)
        return err_set(e, -EINVAL, OPTIONS_STAGE, "at most %d -object tls-creds-... are possible",
                       VMM_TLS_MAX);
    *t = (struct vmm_tls_option){
        .psk = v->kind->kind == OBJECT_TLS_PSK,
        .is_server = !strcmp(keyval_string(v->kv, "endpoint", "client"), "server"),
        .verify_peer = v->kind->kind == OBJECT_TLS_PSK || keyval_bool(v->kv, "verify-peer", true),
    };
    keyval_copy(v->kv, "id", t->id, sizeof(t->id));
    keyval_copy(v->kv, "dir", t->dir, sizeof(t->dir));
    if (t->psk)
        keyval_copy(v->kv, "username", t->username, sizeof(t->username));
    o->ntls++;
    return 0;
}

/* "unix:PATH,server,nowait": listening at once without waiting for a client is all there is. */
static int parse_socket(const char *option, const char *text, struct keyval *kv, struct err *e)
{
    static const struct key keys[] = {
        {.name = "address",                  .type = KEY_STRING, .flags = KEY_FIRST | KEY_REQUIRED},
        {.name = "server", .type = KEY_BOOL},
        {.name = "wait",                   .type = KEY_BOOL},
        {0                                 }
    };
    int ret = keyval_parse(kv, option, keys, text, e);

    if (ret)
        return ret;
    if (keyval_bool(kv, "server", false) && !keyval_bool(kv, "wait", true))
        return 0;
    keyval_fini(kv);
    return err_set(e, -EINVAL, OPTIONS_STAGE,
                   "%s %.160s: the socket is listened on, and start-up never waits for a client: "
                   "end the value with ,server,nowait",
                   option, text);
}

int apply_qmp(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct vmm_options *o = c->o;
    struct err cause = ERR_INIT;
    struct qmp_address a;
    const char *text;
    struct keyval kv;
    int ret;

    if (o->nqmp == VMM_QMP_MAX)
        return err_set(e, -EINVAL, OPTIONS_STAGE, "-qmp may be given at most %d times",
                       VMM_QMP_MAX);
    ret = parse_socket("-qmp", v->text, &kv, e);
    if (ret)
        return ret;
    text = keyval_string(&kv, "address", "");
    ret = qmp_address_parse(text, &a, &cause);
    if (ret)
        err_set(e, ret, OPTIONS_STAGE, "-qmp %.100s: %.350s", v->text, cause.text);
    else
        snprintf(o->qmp[o->nqmp++], sizeof(o->qmp[0]), "%s", text);
    keyval_fini(&kv);
    return ret;
}

static int bad_serial(const char *text, struct err *e)
{
    return err_set(e, -EINVAL, OPTIONS_STAGE, "-serial %.160s: not a valid value (allowed: %s)",
                   text, SERIAL_ALLOWED);
}

static int serial_unix(struct vmm_options *o, const char *text, struct err *e)
{
    struct qmp_address a;
    struct keyval kv;
    int ret = parse_socket("-serial", text, &kv, e);

    if (ret)
        return ret;
    /* The limits of a unix socket's path are the same as QMP's. */
    ret = qmp_address_parse(keyval_string(&kv, "address", ""), &a, NULL);
    if (ret)
        bad_serial(text, e);
    else
        snprintf(o->serial_path, sizeof(o->serial_path), "%s", a.path);
    o->serial = SERIAL_UNIX;
    keyval_fini(&kv);
    return ret;
}

int apply_serial(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    static const struct {
        const char *word;
        enum serial_kind kind;
    } words[] = {
        {"stdio", SERIAL_STDIO},
        {"pty",   SERIAL_PTY  },
        {"none",  SERIAL_NONE },
        {"null",  SERIAL_NONE }
    };
    struct vmm_options *o = c->o;

    c->serial_given = true;
    o->serial_path[0] = '\0';
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(v->text, words[i].word))
            continue;
        o->serial = words[i].kind;
        return 0;
    }
    if (!strncmp(v->text, "unix:", 5))
        return serial_unix(o, v->text, e);
    if (strncmp(v->text, "file:", 5) || !v->text[5] || strlen(v->text + 5) >= VMM_PATH_MAX)
        return bad_serial(v->text, e);
    o->serial = SERIAL_FILE;
    strcpy(o->serial_path, v->text + 5);
    return 0;
}

/* QEMU's: no display, and the console on the terminal unless -serial says otherwise. */
int apply_nographic(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    if (!c->serial_given)
        c->o->serial = SERIAL_STDIO;
    return 0;
}

int apply_incoming(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct vmm_options *o = c->o;
    struct address a;
    int ret = 0;

    o->incoming_uri[0] = '\0';
    if (uri_is_local(v->text)) {
        if (snprintf(o->incoming_uri, sizeof(o->incoming_uri), "%s", v->text) >=
            (int)sizeof(o->incoming_uri))
            return err_set(e, -EINVAL, OPTIONS_STAGE, "-incoming %.60s...: too long", v->text);
    } else if (strcmp(v->text, "defer")) {
        ret = address_parse(v->text, &a, e);
        if (ret)
            return err_set(e, ret, OPTIONS_STAGE,
                           "-incoming %.160s: not a valid value (allowed: tcp:HOST:PORT, "
                           "tcp:[IPV6]:PORT, unix:PATH, fd:FD, exec:COMMAND, file:PATH, defer)",
                           v->text);
        address_format(&a, o->incoming_uri, sizeof(o->incoming_uri));
    }
    o->incoming = true;
    return 0;
}
