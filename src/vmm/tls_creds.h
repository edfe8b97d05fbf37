/*
 * The objects tls-creds-x509 and tls-creds-psk, by -object and object-add: credentials with a name,
 * read when the object is made.  Migrations name one by the parameter tls-creds.
 *
 * A migration holds what it uses: object-del takes the name away at once and the secrets when the
 * last migration that began with them is freed.  The list is the main loop's; tls_object_put may be
 * called by any thread.
 */
#ifndef GODWIT_VMM_TLS_CREDS_H
#define GODWIT_VMM_TLS_CREDS_H

#include <jansson.h>

#include "base/err.h"
#include "godwit/tls.h"
#include "vmm/options.h"

struct tls_creds;
struct tls_object;

/* With the objects of the command line. */
int tls_creds_new(const struct vmm_options *o, struct tls_creds **out, struct err *e);
void tls_creds_free(struct tls_creds *t); /* NULL is fine */

/* object-add and object-del, with their arguments as they came. */
int tls_creds_add(struct tls_creds *t, json_t *args, struct err *e);
int tls_creds_del(struct tls_creds *t, json_t *args, struct err *e);

/* Holds the object `id`, which must be for this end; "": *out is NULL, no TLS. */
int tls_creds_get(struct tls_creds *t, const char *id, bool is_server, struct tls_object **out,
                  struct err *e);
void tls_object_put(struct tls_object *o); /* NULL is fine */
/* NULL for NULL. Valid while held. */
const struct godwit_tls *tls_object_tls(const struct tls_object *o);

#endif
