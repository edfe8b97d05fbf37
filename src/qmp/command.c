#include "qmp/command.h"

#include <errno.h>
#include <string.h>

#define STAGE "qmp"

static const char *const type_names[] = {
    [QMP_TYPE_STRING] = "string",     [QMP_TYPE_BOOL] = "boolean",  [QMP_TYPE_INT] = "integer",
    [QMP_TYPE_UINT] = "integer >= 0", [QMP_TYPE_NUMBER] = "number", [QMP_TYPE_OBJECT] = "object",
    [QMP_TYPE_ARRAY] = "array",       [QMP_TYPE_ANY] = "any",
};
_Static_assert(sizeof(type_names) / sizeof(type_names[0]) == QMP_TYPE_COUNT, "a name a type");

static const char *const class_names[] = {
    [QMP_GENERIC_ERROR] = "GenericError",        [QMP_COMMAND_NOT_FOUND] = "CommandNotFound",
    [QMP_DEVICE_NOT_ACTIVE] = "DeviceNotActive", [QMP_DEVICE_NOT_FOUND] = "DeviceNotFound",
    [QMP_KVM_MISSING_CAP] = "KVMMissingCap",
};
_Static_assert(sizeof(class_names) / sizeof(class_names[0]) == QMP_ERROR_CLASS_COUNT,
               "a name a class");

const char *qmp_type_name(enum qmp_type t)
{
    return type_names[t];
}

const char *qmp_error_class_name(enum qmp_error_class c)
{
    return class_names[c];
}

int qmp_call_take_fd(struct qmp_call *call)
{
    int fd;

    if (call->nfds == 0)
        return -1;
    fd = call->fds[0];
    call->nfds--;
    memmove(call->fds, call->fds + 1, call->nfds * sizeof(call->fds[0]));
    return fd;
}

static bool has_type(enum qmp_type t, const json_t *v)
{
    switch (t) {
    case QMP_TYPE_STRING:
        return json_is_string(v);
    case QMP_TYPE_BOOL:
        return json_is_boolean(v);
    case QMP_TYPE_INT:
        return json_is_integer(v);
    case QMP_TYPE_UINT:
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case QMP_TYPE_NUMBER:
        return json_is_number(v);
    case QMP_TYPE_OBJECT:
        return json_is_object(v);
    case QMP_TYPE_ARRAY:
        return json_is_array(v);
    case QMP_TYPE_ANY:
    case QMP_TYPE_COUNT:
        break;
    }
    return true;
}

const struct qmp_arg qmp_args_any[] = {{0}};

static const struct qmp_arg *find_arg(const struct qmp_arg *args, const char *name)
{
    for (; args && args->name; args++)
        if (!strcmp(args->name, name))
            return args;
    return NULL;
}

int qmp_args_check(const struct qmp_arg *args, json_t *given, struct err *e)
{
    const struct qmp_arg *a;
    const char *name;
    json_t *value;

    if (args == qmp_args_any)
        return 0;
    json_object_foreach(given, name, value)
    {
        a = find_arg(args, name);
        if (!a)
            return err_set(e, -EINVAL, STAGE, "Parameter '%.100s' is unexpected", name);
        if (!has_type(a->type, value))
            return err_set(e, -EINVAL, STAGE, "Invalid parameter type for '%s', expected: %s", name,
                           qmp_type_name(a->type));
    }
    for (a = args; a && a->name; a++)
        if (a->required && !json_object_get(given, a->name))
            return err_set(e, -EINVAL, STAGE, "Parameter '%s' is missing", a->name);
    return 0;
}

/* A message without memory for its id is still better than none. */
static json_t *with_id(json_t *reply, json_t *id)
{
    if (reply && id)
        json_object_set(reply, "id", id);
    return reply;
}

/* Texts may quote paths and names in any bytes; JSON may not. */
json_t *qmp_text(const char *text)
{
    json_t *s = json_string(text);
    char clean[ERR_TEXT_MAX];
    size_t i;

    if (s)
        return s;
    for (i = 0; text[i] && i + 1 < sizeof(clean); i++)
        clean[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    clean[i] = '\0';
    return json_string(clean);
}

json_t *qmp_error_reply(enum qmp_error_class c, const char *desc, json_t *id)
{
    return with_id(json_pack("{s:{s:s,s:o}}", "error", "class", qmp_error_class_name(c), "desc",
                             qmp_text(desc)),
                   id);
}

/* The shape of a request: {"execute": name, "arguments": {}, "id": anything} and nothing else. */
static int check_request(json_t *request, struct err *e)
{
    static const struct qmp_arg members[] = {
        {"execute",   QMP_TYPE_STRING, true},
        {"arguments",       QMP_TYPE_OBJECT, false},
        {"id", QMP_TYPE_ANY, false},
        {0     }
    };
    const struct qmp_arg *m;
    const char *name;
    json_t *value;

    if (!json_is_object(request))
        return err_set(e, -EINVAL, STAGE, "QMP input must be a JSON object");
    json_object_foreach(request, name, value)
    {
        m = find_arg(members, name);
        if (!m)
            return err_set(e, -EINVAL, STAGE, "QMP input member '%.100s' is unexpected", name);
        if (!has_type(m->type, value))
            return err_set(e, -EINVAL, STAGE, "QMP input member '%s' must be of type %s", name,
                           qmp_type_name(m->type));
    }
    if (!json_object_get(request, "execute"))
        return err_set(e, -EINVAL, STAGE, "QMP input lacks member 'execute'");
    return 0;
}

static const struct qmp_command *find_command(const struct qmp_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->commands[i].name, name))
            return &t->commands[i];
    return NULL;
}

static int run(const struct qmp_table *t, json_t *request, struct qmp_call *call, json_t **ret,
               struct err *e)
{
    json_t *args = json_object_get(request, "arguments");
    const struct qmp_command *cmd;
    const char *name;
    int err = check_request(request, e);

    if (err)
        return err;
    name = json_string_value(json_object_get(request, "execute"));
    cmd = find_command(t, name);
    if (!cmd) {
        call->error_class = QMP_COMMAND_NOT_FOUND;
        return err_set(e, -ENOENT, STAGE, "The command %.100s has not been found", name);
    }
    args = args ? json_incref(args) : json_object();
    if (!args)
        return err_set(e, -ENOMEM, STAGE, "no memory");
    err = qmp_args_check(cmd->args, args, e);
    if (!err)
        err = cmd->run(t->opaque, call, args, ret, e);
    json_decref(args);
    return err;
}

json_t *qmp_execute(const struct qmp_table *t, json_t *request, struct qmp_call *call)
{
    json_t *id = json_object_get(request, "id");
    struct err e = ERR_INIT;
    json_t *ret = NULL;
    int err = run(t, request, call, &ret, &e);

    if (err) {
        json_decref(ret);
        return qmp_error_reply(call->error_class, e.text[0] ? e.text : strerror(-err), id);
    }
    return with_id(json_pack("{s:o}", "return", ret ? ret : json_object()), id);
}
