/*
 * labtool mount-nfs: mounts an NFSv4 export with mount(2) alone; mount.nfs would need libraries
 * and name services that the initramfs has no other use for.
 */
#include "tool.h"

#include <stdio.h>
#include <sys/mount.h>

int cmd_mount_nfs(int argc, char **argv)
{
    char source[256], options[512];

    if (argc != 5) {
        fprintf(stderr, "mount-nfs: expected server, path, directory and this host's address\n");
        return 2;
    }
    snprintf(source, sizeof(source), "%s:%s", argv[1], argv[2]);
    /* hard: a guest's disk waits for its server rather than fail. */
    snprintf(options, sizeof(options), "vers=4.2,proto=tcp,sec=sys,hard,addr=%s,clientaddr=%s",
             argv[1], argv[4]);
    if (mount(source, argv[3], "nfs4", 0, options) < 0) {
        perror(source);
        return 1;
    }
    return 0;
}
