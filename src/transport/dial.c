#include "transport/dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/mux.h"
#include "transport/tls.h"
#include "transport/tls_creds.h"

#define STAGE "connect"

static int check_tls(struct dialer *d, const char *tls_host, struct err *e)
{
    const char *host = tls_host && tls_host[0] ? tls_host : d->address.host;
    const struct godwit_tls *tls = d->tls;

    if (!tls)
        return 0;
    if (tls->is_server)
        return err_set(
            e, -EINVAL, STAGE,
            "these TLS credentials are a destination's (endpoint=server), and this is the "
            "source");
    if (tls->kind == GODWIT_TLS_X509 && tls->verify_peer && !host[0])
        return err_set(e, -EINVAL, STAGE,
                       "this address names no host to check the destination's certificate for: set "
                       "tls-hostname");
    if (snprintf(d->tls_host, sizeof(d->tls_host), "%s", host) >= (int)sizeof(d->tls_host))
        return err_set(e, -EINVAL, STAGE, "tls-hostname is longer than 255 characters");
    d->tls_host[strcspn(d->tls_host, "%")] = '\0'; /* a scope is no part of who it is */
    return 0;
}

int dialer_init(struct dialer *d, const struct address *a, const struct godwit_tls *tls,
                const char *tls_host, struct err *e)
{
    char name[32];
    int ret;

    *d = (struct dialer){.address = *a, .tls = tls};
    ret = check_tls(d, tls_host, e);
    if (a->kind != ADDRESS_FD)
        return ret;
    if (ret) {
        close(a->fd);
        return ret;
    }
    address_format(a, name, sizeof(name));
    return mux_new(a->fd, a->fd, MUX_OPENS, name, &d->mux, e);
}

void dialer_fini(struct dialer *d)
{
    mux_free(d->mux);
    d->mux = NULL;
}

int dialer_connect(const struct dialer *d, uint32_t timeout_ms, const atomic_bool *cancel,
                   struct channel **out, struct err *e)
{
    uint64_t began = clock_now_ns(), spent_ms;
    struct channel *c;
    int ret =
        d->mux ? mux_open(d->mux, &c, e) : address_connect(&d->address, timeout_ms, cancel, &c, e);

    if (ret)
        return ret;
    if (!d->tls) {
        *out = c;
        return 0;
    }
    spent_ms = (clock_now_ns() - began) / NS_PER_MS;
    if (timeout_ms)
        timeout_ms = spent_ms < timeout_ms ? timeout_ms - (uint32_t)spent_ms : 1;
    return channel_tls_client(c, d->tls, d->tls_host, timeout_ms, cancel, out, e);
}
