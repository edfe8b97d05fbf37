#include "vmm/resolver.h"

#include <errno.h>

#include "base/log.h"

static void *resolver_main(void *arg)
{
    struct resolver *r = arg;
    struct err e = ERR_INIT;

    if (r->resolve(r->engine, r->run, &e) != 0)
        log_error("migrate", "migrate-resolve: %s", e.text);
    atomic_store(&r->busy, false);
    return NULL;
}

int resolver_start(struct resolver *r, int (*resolve)(void *engine, bool run, struct err *e),
                   void *engine, bool run, struct err *e)
{
    int rc;

    if (atomic_load(&r->busy))
        return err_set(e, -EBUSY, "migrate", "an earlier migrate-resolve is being carried out");
    resolver_finish(r); /* it has ended: this does not wait */
    r->resolve = resolve;
    r->engine = engine;
    r->run = run;
    atomic_store(&r->busy, true);
    rc = pthread_create(&r->thread, NULL, resolver_main, r);
    r->started = rc == 0;
    if (rc == 0)
        return 0;
    atomic_store(&r->busy, false);
    return err_set_errno(e, -rc, "migrate", "no thread for migrate-resolve");
}

void resolver_finish(struct resolver *r)
{
    if (r->started)
        pthread_join(r->thread, NULL);
    r->started = false;
}
