#include "tool.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    const char *usage;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"clock",     "ADDR PORT [set]",                    cmd_clock    },
    {"echo",      "PORT",                               cmd_echo     },
    {"mount-nfs", "SERVER PATH DIR CLIENT",             cmd_mount_nfs},
    {"probe",     "INTERVAL_MS FILE NAME=ADDR:PORT...", cmd_probe    },
    {"qmp",       "SOCKET COMMAND...",                  cmd_qmp      },
    {"tsc", "", cmd_tsc},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < N_COMMANDS; i++) {
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(stderr, "labtool %s %s\n", commands[i].name, commands[i].usage);
    return 2;
}
