/* Any bytes as keys.psk: what is taken has a key for whoever asks, what is not says why. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/tls_creds.h"

static char folder[] = "/tmp/godwit-fuzz-psk-XXXXXX";
static char file[sizeof(folder) + sizeof("/keys.psk")];

static void clean_up(void)
{
    unlink(file);
    rmdir(folder);
}

static void start_once(void)
{
    if (file[0])
        return;
    if (!mkdtemp(folder))
        abort();
    snprintf(file, sizeof(file), "%s/keys.psk", folder);
    atexit(clean_up);
}

static void load(bool is_server)
{
    struct godwit_tls_config config = {
        .kind = GODWIT_TLS_PSK, .dir = folder, .is_server = is_server};
    struct godwit_tls *tls;
    struct err e = ERR_INIT;

    if (godwit_tls_new(&config, &tls, &e)) {
        FUZZ_CHECK(e.code < 0 && e.text[0]);
        return;
    }
    FUZZ_CHECK(tls->npsks > 0);
    FUZZ_CHECK(is_server || (tls->npsks == 1 && !strcmp(tls->psks[0].name, "qemu")));
    godwit_tls_free(tls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd;

    start_once();
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
    load(true);
    load(false);
    return 0;
}
