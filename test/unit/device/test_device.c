/* How a device's state is framed: its id first, and only its own section taken. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct toy_state {
    uint8_t id[DEVICE_ID_MAX];
    uint32_t value;
};

static const struct field toy_fields[] = {
    FIELD_BLOB(struct toy_state, id),
    FIELD(struct toy_state, FIELD_U32, value),
};
static STATE_DESC(toy_desc, "toy", 1, struct toy_state, toy_fields);

static const struct field headless_fields[] = {
    FIELD(struct toy_state, FIELD_U32, value),
};
static STATE_DESC(headless_desc, "headless", 1, struct toy_state, headless_fields);

struct toy {
    struct device dev; /* first */
    uint32_t value;
};

static void toy_save(struct device *d, void *state)
{
    ((struct toy_state *)state)->value = ((struct toy *)d)->value;
}

static int toy_load(struct device *d, const void *state, struct err *e)
{
    const struct toy_state *s = state;

    if (s->value > 100)
        return err_set(e, -EPROTO, "toy", "%u is more than 100", s->value);
    ((struct toy *)d)->value = s->value;
    return 0;
}

static const struct device_ops toy_ops = {
    .type = "toy", .state = &toy_desc, .save = toy_save, .load = toy_load};
static const struct device_ops stateless_ops = {.type = "stateless"};
static const struct device_ops headless_ops = {
    .type = "headless", .state = &headless_desc, .save = toy_save, .load = toy_load};

static struct toy make(const struct device_ops *ops, const char *id, uint32_t value)
{
    struct toy t = {.value = value};

    device_init(&t.dev, ops, id);
    return t;
}

static void state_comes_back(void **unused)
{
    struct toy a = make(&toy_ops, "toy0", 42), b = make(&toy_ops, "toy0", 0);
    struct err e = ERR_INIT;
    struct buf saved;

    (void)unused;
    rig_save(&a.dev, &saved);
    assert_int_equal(rig_restore(&b.dev, &saved, &e), 0);
    assert_int_equal(b.value, 42);
    buf_fini(&saved);
}

static void another_devices_state_is_refused(void **unused)
{
    struct toy a = make(&toy_ops, "toy0", 42), b = make(&toy_ops, "toy1", 7);
    struct err e = ERR_INIT;
    struct buf saved;

    (void)unused;
    rig_save(&a.dev, &saved);
    assert_int_equal(rig_restore(&b.dev, &saved, &e), -EPROTO);
    assert_non_null(strstr(e.text, "toy0"));
    assert_non_null(strstr(e.text, "toy1"));
    assert_int_equal(b.value, 7);
    buf_fini(&saved);
}

static void another_section_is_refused(void **unused)
{
    struct toy a = make(&toy_ops, "toy0", 42), b = make(&stateless_ops, "toy0", 7);
    struct err e = ERR_INIT;
    struct buf saved;

    (void)unused;
    rig_save(&a.dev, &saved);
    assert_int_equal(rig_restore(&b.dev, &saved, &e), -EPROTO);
    buf_fini(&saved);
}

static void the_devices_own_refusal_is_passed_on(void **unused)
{
    struct toy a = make(&toy_ops, "toy0", 101), b = make(&toy_ops, "toy0", 7);
    struct err e = ERR_INIT;
    struct buf saved;

    (void)unused;
    rig_save(&a.dev, &saved);
    assert_int_equal(rig_restore(&b.dev, &saved, &e), -EPROTO);
    assert_non_null(strstr(e.text, "101"));
    assert_int_equal(b.value, 7);
    buf_fini(&saved);
}

static void cut_short_is_refused(void **unused)
{
    struct toy a = make(&toy_ops, "toy0", 42), b = make(&toy_ops, "toy0", 7);
    struct buf saved;

    (void)unused;
    rig_save(&a.dev, &saved);
    for (size_t len = 2 + 3 + 12; len < saved.len; len++) { /* the section's head is the caller's */
        struct buf part = {.data = malloc(len), .len = len};
        struct err e = ERR_INIT;

        memcpy(part.data, saved.data, len);
        assert_int_equal(rig_restore(&b.dev, &part, &e), -EPROTO);
        assert_int_equal(b.value, 7);
        free(part.data);
    }
    buf_fini(&saved);
}

static void nothing_to_move(void **unused)
{
    struct toy a = make(&stateless_ops, "none", 0);
    struct buf saved;

    (void)unused;
    rig_save(&a.dev, &saved);
    assert_int_equal(saved.len, 0);
    buf_fini(&saved);
}

static void a_table_without_id_is_our_mistake(void **unused)
{
    struct toy a = make(&headless_ops, "h", 0);
    struct err e = ERR_INIT;
    struct buf saved;

    (void)unused;
    buf_init(&saved, 0);
    assert_true(device_save(&a.dev, &saved, &e) < 0);
    assert_non_null(strstr(e.text, "headless"));
    buf_fini(&saved);
}

static void long_ids_are_cut(void **unused)
{
    char id[100];
    struct toy a;

    (void)unused;
    memset(id, 'x', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    a = make(&toy_ops, id, 0);
    assert_int_equal(strlen(a.dev.id), DEVICE_ID_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_comes_back),
        cmocka_unit_test(another_devices_state_is_refused),
        cmocka_unit_test(another_section_is_refused),
        cmocka_unit_test(the_devices_own_refusal_is_passed_on),
        cmocka_unit_test(cut_short_is_refused),
        cmocka_unit_test(nothing_to_move),
        cmocka_unit_test(a_table_without_id_is_our_mistake),
        cmocka_unit_test(long_ids_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
